import { equalBytes, type LogOffset, logOffset, type MemberId, toHex } from '@kvorum/base';
import type { EngineMeta } from '@kvorum/mvcc';
import type { StoreImage } from '@kvorum/ports';
import type { ReplicaOptions } from './replica-options.ts';
import {
  parseSnapshotRequest,
  SNAPSHOT_FORM,
  type SnapshotAnswer,
  type SnapshotRefusal,
  type SnapshotRequest,
} from './snapshot-messages.ts';

const ID_BYTES = 16;
const DIGEST_BYTES = 32;

export interface SnapshotSourceHost {
  readonly options: Pick<
    ReplicaOptions,
    'shardUid' | 'generation' | 'clock' | 'rng' | 'limits' | 'sha256' | 'logger'
  >;
  /** This replica follows its log and is neither halted nor stopped. */
  readonly follows: () => boolean;
  /** Last offset that this replica has judged; what it has applied may be less yet. */
  readonly acceptedOffset: () => LogOffset;
  /** Its state is one of this generation. */
  readonly isBegun: () => boolean;
  readonly image: () => Promise<{ readonly image: StoreImage; readonly meta: EngineMeta }>;
  /** `pin` is another one now. */
  readonly pinned: () => void;
}

interface Session {
  readonly id: string;
  readonly to: MemberId;
  readonly offset: LogOffset;
  readonly image: StoreImage;
  readonly chunkBytes: number;
  /** `whole` before each chunk that may be asked for: those sent, and the next. */
  readonly marks: Uint8Array[];
  expiresAtMs: number;
  sentBytes: number;
  /** Chunks are read one after the other. */
  tail: Promise<unknown>;
}

/**
 * Gives snapshots of this replica to others: each from one pinned image of the store, chunk by chunk as it is asked for. While a
 * snapshot is on its way, and a while after, the log behind its position is pinned, so that who installed it can follow.
 */
export class SnapshotSource {
  readonly #host: SnapshotSourceHost;
  readonly #sessions = new Map<string, Session>();
  /** Positions whose transfer is over but whose receiver has not followed the log for long. */
  #lingering: { readonly offset: LogOffset; readonly untilMs: number }[] = [];
  #opening = 0;

  constructor(host: SnapshotSourceHost) {
    this.#host = host;
  }

  /** Number of snapshots on their way from here. */
  get sending(): number {
    return this.#sessions.size;
  }

  /** The log behind this offset is needed by a receiver. */
  get pin(): LogOffset | undefined {
    const offsets = [...this.#sessions.values(), ...this.#lingering].map(({ offset }) => offset);
    return offsets.length === 0 ? undefined : logOffset(Math.min(...offsets));
  }

  /** Answers a request; undefined when it is none that this version knows. */
  async answer(from: MemberId, payload: unknown): Promise<SnapshotAnswer | undefined> {
    const request = parseSnapshotRequest(payload);
    switch (request?.kind) {
      case 'snapshot-begin':
        return this.#begin(from, request);
      case 'snapshot-chunk':
        return this.#chunk(request.id, request.seq);
      case 'snapshot-end':
        this.#end(request.id);
        return { kind: 'ended' };
      default:
        return undefined;
    }
  }

  /** Gives up what nobody has asked for in a while. */
  expire(nowMs: number): void {
    for (const session of [...this.#sessions.values()]) {
      if (nowMs >= session.expiresAtMs) this.#end(session.id);
    }
    const kept = this.#lingering.filter(({ untilMs }) => nowMs < untilMs);
    if (kept.length === this.#lingering.length) return;
    this.#lingering = kept;
    this.#host.pinned();
  }

  /** Ends everything at once: the replica no longer stands for what it holds. */
  stop(): void {
    for (const { id } of [...this.#sessions.values()]) this.#end(id);
    this.#lingering = [];
  }

  async #begin(
    from: MemberId,
    request: Extract<SnapshotRequest, { kind: 'snapshot-begin' }>,
  ): Promise<SnapshotAnswer> {
    const refusal = this.#refusal(from, request);
    if (refusal !== undefined) return { kind: 'refused', why: refusal };
    const { clock, limits, logger, rng } = this.#host.options;
    this.#opening += 1;
    try {
      const { image, meta } = await this.#host.image();
      // Accepted but not applied yet, or stopped meanwhile.
      const isOther = meta.generation !== this.#host.options.generation;
      if (isOther || meta.offset + 1 < request.start || meta.offset < 0 || !this.#host.follows()) {
        await image.close();
        return { kind: 'refused', why: 'busy' };
      }
      const id = toHex(rng.bytes(ID_BYTES));
      this.#sessions.set(id, {
        id,
        to: from,
        offset: meta.offset,
        image,
        // With room for what is around it in a frame.
        chunkBytes: Math.min(limits.snapshotChunkBytes, Math.floor(limits.peerFrameBytesMax / 2)),
        marks: [new Uint8Array(DIGEST_BYTES)],
        expiresAtMs: clock.nowMs() + limits.snapshotIdleMs,
        sentBytes: 0,
        tail: Promise.resolve(),
      });
      this.#host.pinned();
      logger.info({ to: from.toString(16), offset: meta.offset, id }, 'snapshot begins to leave');
      const { bytes, layout } = image;
      return { kind: 'snapshot', id, offset: meta.offset, bytes, layout };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ to: from.toString(16), reason }, 'no snapshot can be given');
      throw error;
    } finally {
      this.#opening -= 1;
    }
  }

  #refusal(
    from: MemberId,
    request: Extract<SnapshotRequest, { kind: 'snapshot-begin' }>,
  ): SnapshotRefusal | undefined {
    const { generation, limits, logger, shardUid } = this.#host.options;
    if (request.form !== SNAPSHOT_FORM) {
      const fields = { to: from.toString(16), form: request.form };
      logger.warn(
        fields,
        'a member of another version asks for a snapshot in its own form: upgrade it',
      );
      return 'other-form';
    }
    if (!equalBytes(request.shardUid, shardUid) || request.generation !== generation) {
      return 'wrong-shard';
    }
    if (!this.#host.isBegun()) return 'not-following';
    if (this.#host.acceptedOffset() + 1 < request.start) return 'behind';
    if (!this.#host.follows()) return 'not-following';
    // Whoever begins anew wants nothing of the earlier one any more.
    for (const session of [...this.#sessions.values()]) {
      if (session.to === from) this.#end(session.id);
    }
    return this.#sessions.size + this.#opening >= limits.snapshotSendsMax ? 'busy' : undefined;
  }

  async #chunk(id: string, seq: number): Promise<SnapshotAnswer> {
    const session = this.#sessions.get(id);
    if (session === undefined) return { kind: 'expired' };
    const { clock, limits } = this.#host.options;
    session.expiresAtMs = clock.nowMs() + limits.snapshotIdleMs;
    const reading = session.tail.then(() => this.#read(session, seq));
    session.tail = reading.catch(() => undefined);
    return reading;
  }

  async #read(session: Session, seq: number): Promise<SnapshotAnswer> {
    const before = session.marks[seq];
    if (before === undefined || !this.#sessions.has(session.id)) return { kind: 'expired' };
    const { chunkBytes, image, marks } = session;
    const { sha256 } = this.#host.options;
    const bytes = await image.read(seq * chunkBytes, chunkBytes);
    const digest = sha256(bytes);
    const whole = sha256(before, digest);
    const done = seq * chunkBytes + bytes.length === image.bytes;
    if (!done && seq === marks.length - 1) marks.push(whole);
    session.sentBytes += bytes.length;
    return { kind: 'chunk', seq, bytes, digest, whole, done };
  }

  #end(id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    const { clock, limits, logger } = this.#host.options;
    const untilMs = clock.nowMs() + limits.snapshotIdleMs;
    this.#lingering.push({ offset: session.offset, untilMs });
    logger.info({ id, bytes: session.sentBytes }, 'snapshot transfer over');
    // A chunk that is being read needs the image to its end.
    void session.tail.then(() => session.image.close()).catch(() => undefined);
  }
}
