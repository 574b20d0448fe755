import { isKvError } from '@kvorum/base';
import { decodeHead, HEADS, keyAfter, revisionKey } from '@kvorum/mvcc';
import type { StoreRow } from '@kvorum/ports';
import type { ReplicaOptions } from './replica-options.ts';

/** Heads read at a time; small, so that nobody waits behind it. */
const ROWS_MAX = 512;
const BYTES_MAX = 256 * 1024;
/** Of so many keys of a slot the size of one is read. */
const SAMPLE_EVERY = 8;
/** Between two scans at least, and so many times the time that the last one took. */
const REST_MS = 5000;
const REST_FACTOR = 4;

interface Found {
  keys: number;
  samples: number;
  sampledBytes: number;
}

/**
 * Finds out how many keys each slot has and about how many bytes their newest versions take: every head of the store is visited, a
 * piece at each tick, and of every eighth key of a slot the row is read. Only the leader's is wanted, so only it scans.
 */
export class SlotSizes {
  readonly #options: ReplicaOptions;
  #found = new Map<number, Found>();
  #from: Uint8Array = HEADS.gte;
  #beganMs = 0;
  #restsUntilMs = 0;
  #busy = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** Goes on with the scan, or begins the next; nothing while the last piece is being read. */
  tick(nowMs: number): void {
    const { slots, load, logger } = this.#options;
    if (slots === undefined || load === undefined) return;
    if (this.#busy || nowMs < this.#restsUntilMs) return;
    if (this.#from === HEADS.gte) this.#beganMs = nowMs;
    this.#busy = true;
    this.#piece(nowMs)
      .catch((error: unknown) => {
        const stopped = isKvError(error) && error.code === 'KV_STOPPED';
        if (!stopped) logger.debug({ error: String(error) }, 'the sizes of slots are not known');
        this.#rest(nowMs);
      })
      .finally(() => {
        this.#busy = false;
      });
  }

  async #piece(nowMs: number): Promise<void> {
    const { store } = this.#options;
    const range = { gte: this.#from, lt: HEADS.lt };
    const rows = await store.scan(range, { limit: ROWS_MAX, bytesMax: BYTES_MAX });
    const last = rows.at(-1);
    if (last === undefined) {
      this.#tell();
      this.#rest(nowMs);
      return;
    }
    this.#from = keyAfter(last[0]);
    const sampled = this.#count(rows);
    const values = await store.getMany(sampled.map(({ row }) => row));
    for (const [i, { found }] of sampled.entries()) {
      found.samples += 1;
      found.sampledBytes += values[i]?.length ?? 0;
    }
  }

  /** Returns the rows whose size is to be read. */
  #count(
    rows: readonly StoreRow[],
  ): readonly { readonly row: Uint8Array; readonly found: Found }[] {
    const sampled: { row: Uint8Array; found: Found }[] = [];
    for (const [storeKey, value] of rows) {
      const { deleted, modMain, modSub } = decodeHead(value);
      const slot = this.#options.slots?.ofKey(storeKey.subarray(1));
      if (deleted || slot === undefined) continue;
      const found = this.#found.get(slot) ?? { keys: 0, samples: 0, sampledBytes: 0 };
      this.#found.set(slot, found);
      if (found.keys % SAMPLE_EVERY === 0)
        sampled.push({ row: revisionKey(modMain, modSub), found });
      found.keys += 1;
    }
    return sampled;
  }

  #tell(): void {
    const sizes = [...this.#found].map(([slot, { keys, samples, sampledBytes }]) => {
      const bytes = Math.round((keys * sampledBytes) / Math.max(1, samples));
      return [slot, { keys, bytes }] as const;
    });
    this.#options.load?.setSizes(this.#options.shard, new Map(sizes));
  }

  #rest(nowMs: number): void {
    this.#found = new Map();
    this.#from = HEADS.gte;
    this.#restsUntilMs = nowMs + Math.max(REST_MS, REST_FACTOR * (nowMs - this.#beganMs));
  }
}
