import {
  assert,
  type LeaderId,
  type Limits,
  type LogOffset,
  type MemberId,
  type Term,
} from '@kvorum/base';
import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { Clock, LogEntry, Rng, SharedLog, StateStore } from '@kvorum/ports';
import type {
  Raft,
  RaftEffect,
  RaftInput,
  RaftMessage,
  ReadRecord,
  UnreadableRecord,
} from '@kvorum/raft';
import { decodeLogRecord, encodeLogRecord } from '@kvorum/wire';
import { encodeHardState } from './hard-state-codec.ts';
import { LogFollower } from './log-follower.ts';

export interface EffectRunnerOptions {
  readonly raft: Raft;
  readonly log: SharedLog;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits: Limits;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly leaderId: LeaderId;
  readonly sha256: (...parts: readonly Uint8Array[]) => Uint8Array;
  readonly send: (to: MemberId, message: RaftMessage) => void;
  /** Effects that concern commands, reads and the store: everything but messages, votes and the log. */
  readonly handle: (effect: ReplicaEffect) => void;
  /** Resolves when more accepted records may be read from the log. */
  readonly room: () => Promise<void>;
  /** Nobody here waits for the next record of the log. */
  readonly patient: () => boolean;
  /** A record lies in the log, appended from here or read. */
  readonly seen: (offset: LogOffset, bytes: number) => void;
  readonly appended: (ms: number, outcome: 'appended' | 'absent' | 'unknown') => void;
  readonly broken: (error: unknown) => void;
  /** Another append of this process may be under way until this resolves. */
  readonly appendsAfter: () => Promise<void> | undefined;
}

/** The effects that are not about messages, votes or the log. */
export type ReplicaEffect = Exclude<
  RaftEffect,
  { readonly kind: 'persist-hard-state' | 'send' | 'append' | 'follow-log' | 'stop-following' }
>;

/**
 * Steps the pure core and carries out its effects in order: the only place where consensus meets I/O.
 *
 * Ordering: a message marked `after: 'persist'` leaves only when every vote written before it is synced.
 */
export class EffectRunner {
  readonly #options: EffectRunnerOptions;
  readonly #follower: LogFollower;
  readonly #inputs: RaftInput[] = [];
  #stepping = false;
  #stopped = false;
  #probing = false;
  #persisting = 0;
  #persistChain: Promise<void> = Promise.resolve();
  #heldMessages: { readonly to: MemberId; readonly message: RaftMessage }[] = [];
  #lastAppend: { readonly bytes: Uint8Array; readonly digest: Uint8Array } | undefined;
  #appending: Promise<void> = Promise.resolve();

  constructor(options: EffectRunnerOptions) {
    this.#options = options;
    const { log, clock, rng, limits } = options;
    this.#follower = new LogFollower(
      log,
      {
        entries: (entries, nextOffset) => this.#onEntries(entries, nextOffset),
        outOfRange: (start, end) => this.input({ kind: 'log-out-of-range', start, end }),
        reachable: (reachable) => this.input({ kind: 'log-reachable', reachable }),
        known: (offset) => options.raft.accepted.lastOffset === offset,
        patient: options.patient,
        broken: options.broken,
      },
      { clock, rng, limits },
    );
  }

  start(): void {
    this.#runAll(this.#options.raft.start());
  }

  /** Feeds one input; inputs that effects cause are queued behind it. */
  input(input: RaftInput): void {
    this.#inputs.push(input);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        if (this.#stopped) continue;
        this.#runAll(this.#options.raft.step(next, this.#options.clock.nowMs()));
      }
    } catch (error) {
      // A core that broke an invariant must not take another step but the one that halts it.
      this.#inputs.length = 0;
      this.#stepping = false;
      this.#options.broken(error);
    } finally {
      this.#stepping = false;
    }
  }

  /** Somebody waits for a record that is not read yet. */
  hurry(): void {
    this.#follower.hurry();
  }

  /** Stops reading and stepping; resolves when no append, vote or read is outstanding. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#follower.stopped(), this.#appending, this.#persistChain]);
  }

  #runAll(effects: readonly RaftEffect[]): void {
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'persist-hard-state':
        this.#persist(effect.term, effect.vote);
        break;
      case 'send':
        if (effect.after === 'persist' && this.#persisting > 0) {
          this.#heldMessages.push({ to: effect.to, message: effect.message });
        } else {
          this.#options.send(effect.to, effect.message);
        }
        break;
      case 'append':
        this.#append(effect);
        break;
      case 'follow-log':
        this.#follower.follow(effect.from);
        break;
      case 'stop-following':
        this.#follower.stop();
        break;
      default:
        this.#options.handle(effect);
    }
  }

  #persist(term: Term, vote: MemberId | undefined): void {
    this.#persisting += 1;
    this.#persistChain = this.#persistChain
      .then(() =>
        this.#options.store.write(
          (batch) => batch.put(HARD_STATE_KEY, encodeHardState({ term, vote })),
          {
            sync: true,
          },
        ),
      )
      .then(() => {
        this.#persisting -= 1;
        if (this.#persisting === 0) {
          for (const held of this.#heldMessages.splice(0))
            this.#options.send(held.to, held.message);
        }
        this.input({ kind: 'hard-state-persisted', term, vote });
      })
      .catch((error: unknown) => this.#options.broken(error));
  }

  #append(effect: Extract<RaftEffect, { kind: 'append' }>): void {
    const sent = effect.again ? this.#lastAppend : this.#encode(effect.record);
    assert(sent !== undefined, 'asked to append again before any append');
    this.#lastAppend = sent;
    const startedMs = this.#options.clock.nowMs();
    const { appendsAfter, log } = this.#options;
    const earlier = appendsAfter();
    this.#appending = (
      earlier === undefined ? log.append(sent.bytes) : earlier.then(() => log.append(sent.bytes))
    )
      .then((outcome) => {
        this.#options.appended(this.#options.clock.nowMs() - startedMs, outcome.kind);
        if (outcome.kind === 'appended') this.#options.seen(outcome.offset, sent.bytes.length);
        this.input({ kind: 'append-settled', outcome, digest: sent.digest });
        if (outcome.kind === 'absent' && !outcome.oversize) this.#probe();
      })
      .catch((error: unknown) => this.#options.broken(error));
  }

  /**
   * A leader whose appends are refused reads nothing, so nobody would tell the core whether the log answers at all: ask the log
   * until it does. The core hands leadership over when that takes too long and others do reach the log.
   */
  #probe(): void {
    if (this.#probing || this.#stopped) return;
    this.#probing = true;
    this.input({ kind: 'log-reachable', reachable: false });
    this.#options.clock.setTimer(this.#options.limits.logPollMs, () => {
      this.#askLog().catch((error: unknown) => this.#options.broken(error));
    });
  }

  async #askLog(): Promise<void> {
    const bounds = await this.#options.log.bounds();
    this.#probing = false;
    if ('kind' in bounds) this.#probe();
    else this.input({ kind: 'log-reachable', reachable: true });
  }

  #encode(record: Extract<RaftEffect, { kind: 'append' }>['record']): {
    readonly bytes: Uint8Array;
    readonly digest: Uint8Array;
  } {
    const { shardUid, generation, leaderId, clock, sha256 } = this.#options;
    const bytes = encodeLogRecord({
      ...record,
      shardUid,
      generation,
      leaderId,
      leaderTimeMs: clock.wallMs(),
    });
    return { bytes, digest: sha256(bytes) };
  }

  async #onEntries(entries: readonly LogEntry[], nextOffset: LogEntry['offset']): Promise<void> {
    for (const { bytes, offset } of entries) this.#options.seen(offset, bytes.length);
    const records = entries.map((entry) => this.#decode(entry));
    this.input({ kind: 'records', records, nextOffset });
    await this.#options.room();
  }

  #decode(entry: LogEntry): ReadRecord | UnreadableRecord {
    const decoded = decodeLogRecord(entry.bytes);
    if (!decoded.ok) return { offset: entry.offset, unreadable: decoded.error };
    return { ...decoded.value, offset: entry.offset, digest: this.#options.sha256(entry.bytes) };
  }
}
