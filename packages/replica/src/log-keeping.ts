import type { LogOffset, MemberId } from '@kvorum/base';
import type { RaftStatus } from '@kvorum/raft';
import { DurablePosition } from './durable-position.ts';
import { LogTruncation, type TruncationStatus } from './log-truncation.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { SnapshotSource } from './snapshot-source.ts';
import type { StateMachine } from './state-machine.ts';

export interface LogKeepingHost {
  readonly options: ReplicaOptions;
  readonly machine: Pick<StateMachine, 'offset' | 'image'>;
  readonly raft: () => RaftStatus;
  /** This replica follows its log and is neither halted nor stopped. */
  readonly follows: () => boolean;
  /** What the core is to tell its leader: synced up to `offset`; the log behind `pin` is needed. */
  readonly tell: (offset: LogOffset, pin: LogOffset | undefined) => void;
  readonly broken: (error: unknown) => void;
}

/** What of the log a replica can do without: what it holds durably, what it gives to others, and what it deletes when it leads. */
export class LogKeeping {
  readonly #host: LogKeepingHost;
  readonly #durable: DurablePosition;
  readonly #source: SnapshotSource;
  readonly #truncation: LogTruncation;

  constructor(host: LogKeepingHost) {
    const { machine, options, raft, broken } = host;
    const { clock, limits } = options;
    const tell = (): void => host.tell(this.#durable.offset, this.#source.pin);
    this.#host = host;
    this.#durable = new DurablePosition(
      {
        nowMs: () => clock.nowMs(),
        appliedOffset: () => machine.offset,
        sync: () => options.store.sync(),
        changed: tell,
        broken,
      },
      limits,
    );
    this.#source = new SnapshotSource({
      ...host,
      acceptedOffset: () => raft().accepted.offset,
      isBegun: () => raft().accepted.generation === options.generation,
      image: () => machine.image(),
      pinned: tell,
    });
    this.#truncation = new LogTruncation(
      { ...options, status: raft, broken },
      machine.offset,
      clock.nowMs(),
    );
  }

  get snapshotsSending(): number {
    return this.#source.sending;
  }

  get truncation(): TruncationStatus {
    return this.#truncation.status;
  }

  /** A record lies in the log. */
  seen(offset: LogOffset, bytes: number): void {
    this.#truncation.note(offset, bytes, this.#host.options.clock.nowMs());
  }

  /** Records of so many bytes are written to the store. */
  applied(bytes: number): void {
    this.#durable.applied(bytes);
  }

  /** Answers a request for a snapshot of this replica. */
  answer(from: MemberId, payload: unknown): Promise<unknown> {
    return this.#source.answer(from, payload);
  }

  exclude(members: readonly MemberId[]): void {
    this.#truncation.exclude(members);
  }

  tick(nowMs: number): void {
    this.#source.expire(nowMs);
    if (!this.#host.follows()) return;
    this.#durable.tick();
    this.#truncation.tick(nowMs);
  }

  /** Nobody gets a snapshot from here any more. */
  stopGiving(): void {
    this.#source.stop();
  }

  /** Nothing touches log or store any more. */
  async stop(): Promise<void> {
    this.#source.stop();
    await Promise.all([this.#durable.stop(), this.#truncation.stop()]);
  }
}
