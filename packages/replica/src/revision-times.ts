import { assert, KvError } from '@kvorum/base';

/** Every revision up to `revision` was made at or before `timeMs` (the shard's time). */
export interface RevisionTime {
  readonly timeMs: number;
  readonly revision: number;
}

const FORMAT = 1;
const HEADER_BYTES = 1;
const SAMPLE_BYTES = 16;

/** Samples in one retention: how exactly an age is known, in parts of it. */
const SAMPLES_PER_RETENTION = 10;

export function encodeRevisionTimes(samples: readonly RevisionTime[]): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + samples.length * SAMPLE_BYTES);
  const view = new DataView(out.buffer);
  out[0] = FORMAT;
  for (const [i, { timeMs, revision }] of samples.entries()) {
    const at = HEADER_BYTES + i * SAMPLE_BYTES;
    view.setBigUint64(at, BigInt(timeMs));
    view.setBigUint64(at + 8, BigInt(revision));
  }
  return out;
}

/** Throws KV_CORRUPT when the row is damaged. */
export function decodeRevisionTimes(row: Uint8Array | undefined): readonly RevisionTime[] {
  if (row === undefined) return [];
  const bytes = row.length - HEADER_BYTES;
  if (row[0] !== FORMAT || bytes % SAMPLE_BYTES !== 0) throw unreadable();
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
  const samples: RevisionTime[] = [];
  for (let at = HEADER_BYTES; at < row.length; at += SAMPLE_BYTES) {
    const timeMs = Number(view.getBigUint64(at));
    const revision = Number(view.getBigUint64(at + 8));
    const last = samples.at(-1);
    const sound = Number.isSafeInteger(timeMs) && Number.isSafeInteger(revision);
    const follows = last === undefined || (timeMs >= last.timeMs && revision > last.revision);
    if (!sound || !follows) throw unreadable();
    samples.push({ timeMs, revision });
  }
  return samples;
}

const unreadable = (): KvError => new KvError('KV_CORRUPT', 'unreadable revision times row');

/**
 * How old the revisions of one shard are, by a few samples of the shard's time.
 *
 * Every replica takes them from the records it applies and stores them beside the state, so a new leader knows the age of
 * history that it did not write, also after a restart of all members. The row is local: replicas may hold different samples.
 *
 * Invariants: times ascend, revisions ascend strictly; at most about two samples for each tenth of the retention.
 */
export class RevisionTimes {
  readonly #retentionMs: number;
  #samples: readonly RevisionTime[];

  constructor(samples: readonly RevisionTime[], retentionMs: number) {
    assert(retentionMs > 0, 'a retention is positive');
    this.#samples = samples;
    this.#retentionMs = retentionMs;
  }

  get samples(): readonly RevisionTime[] {
    return this.#samples;
  }

  /**
   * The samples to store together with a batch of the shard's time `nowMs`, or undefined when none is due.
   *
   * @param before - what was known of the state under the batch: it ends there for certain.
   */
  due(before: RevisionTime, nowMs: number): readonly RevisionTime[] | undefined {
    const last = this.#samples.at(-1);
    const spacingMs = this.#retentionMs / SAMPLES_PER_RETENTION;
    if (last !== undefined && nowMs < last.timeMs + spacingMs) return undefined;
    if (last !== undefined && before.revision <= last.revision) return undefined;
    const samples = [...this.#samples, before];
    // Of those beyond the retention only the newest can still be a target.
    const cutoffMs = nowMs - this.#retentionMs;
    const from = samples.findIndex((_, i) => (samples[i + 1]?.timeMs ?? nowMs) > cutoffMs);
    return samples.slice(from);
  }

  take(samples: readonly RevisionTime[]): void {
    this.#samples = samples;
  }

  /** The newest revision known to be at least the retention old; undefined = none is. */
  expired(newest: RevisionTime, nowMs: number): number | undefined {
    const cutoffMs = nowMs - this.#retentionMs;
    if (newest.timeMs <= cutoffMs) return newest.revision;
    return this.#samples.findLast(({ timeMs }) => timeMs <= cutoffMs)?.revision;
  }
}
