import type { KeyValue, Limits } from '@kvorum/base';
import { type Engine, validate } from '@kvorum/mvcc';
import type { Clock, StateReader } from '@kvorum/ports';
import type { CommandResult } from './api.ts';
import type { LoadCounter } from './load-counter.ts';
import type { PendingRead, ReadGroup } from './read-path.ts';
import { drive } from './reading.ts';
import { Turns } from './turns.ts';

/** Values that are read at once and held until they are answered: as many as this, or as come to so many bytes by those before. */
const GETS_MAX = 256;
const GETS_BYTES_TARGET = 8 * 1024 * 1024;
/** After so many bytes of answers others get the event loop, and those who wait for them a chance to be sent. */
const ANSWERED_BYTES_MAX = 8 * 1024 * 1024;
/** What is read at a time: each may take as much memory as an answer may have. */
const SMALL_READS_MAX = 4;
const RANGES_MAX = 8;

export interface StoreReadsParts {
  readonly engine: Pick<Engine, 'getBatch' | 'range' | 'readTxn'>;
  readonly store: StateReader;
  readonly limits: Limits;
  readonly load: LoadCounter | undefined;
  readonly clock: Pick<Clock, 'setTimer'>;
}

/** Answers reads from the store, a bounded number at a time. */
export class StoreReads {
  readonly #parts: StoreReadsParts;
  readonly #small = new Turns(SMALL_READS_MAX);
  readonly #ranges = new Turns(RANGES_MAX);
  #getsMax = GETS_MAX;
  /** Since the event loop last turned for this. */
  #answeredBytes = 0;

  constructor(parts: StoreReadsParts) {
    this.#parts = parts;
  }

  /**
   * Answers reads whose index is applied: the point gets together, the rest one by one. What was failed meanwhile is gone
   * from the group.
   */
  async serve(group: ReadGroup): Promise<void> {
    for (const barrier of group.barriers.splice(0)) barrier.done(undefined);
    while (group.gets.length > 0) {
      await this.#small.run(() => this.#serveGets(group));
      if (this.#answeredBytes > ANSWERED_BYTES_MAX) await this.#letOthersRun();
    }
    for (let [read] = group.reads; read !== undefined; [read] = group.reads) {
      const result = await this.#inTurn(read);
      this.#parts.load?.read(read.request, result);
      group.reads.shift()?.done(result);
      if (result.ok && result.response.op === 'range') this.#count(result.response.kvs);
      if (this.#answeredBytes > ANSWERED_BYTES_MAX) await this.#letOthersRun();
    }
  }

  #count(kvs: readonly KeyValue[]): void {
    for (const { value } of kvs) this.#answeredBytes += value.length;
  }

  /** Reads that find everything in memory are answered without the event loop turning in between. */
  #letOthersRun(): Promise<void> {
    this.#answeredBytes = 0;
    return new Promise((resolve) => {
      this.#parts.clock.setTimer(0, resolve);
    });
  }

  async #serveGets(group: ReadGroup): Promise<void> {
    const { engine, store, load } = this.#parts;
    const count = Math.min(group.gets.length, this.#getsMax);
    const keys = group.gets.slice(0, count).map(({ key }) => key);
    const { revision, kvs, refused } = await drive(engine.getBatch(keys), store);
    let bytes = 0;
    for (const [i, get] of group.gets.splice(0, count).entries()) {
      const error = refused?.[i];
      const kv = kvs[i];
      bytes += kv?.value.length ?? 0;
      if (error === undefined) load?.get(get.key, kv);
      if (error === undefined) get.done({ ok: true, kv, revision });
      else get.done({ ok: false, error });
    }
    this.#answeredBytes += bytes;
    const bytesEach = Math.max(1, bytes / Math.max(1, count));
    this.#getsMax = Math.max(1, Math.min(GETS_MAX, Math.floor(GETS_BYTES_TARGET / bytesEach)));
  }

  #inTurn(read: PendingRead): Promise<CommandResult> {
    const { request } = read;
    const isSmall = request.op === 'range' && (request.rangeEnd?.length ?? 0) === 0;
    return (isSmall ? this.#small : this.#ranges).run(() => this.#read(read));
  }

  async #read({ request, mapVersion }: PendingRead): Promise<CommandResult> {
    const { engine, store, limits } = this.#parts;
    const fault = validate(request, limits);
    if (fault !== undefined) return { ok: false, error: fault };
    const result =
      request.op === 'range'
        ? await drive(engine.range(request, mapVersion), store)
        : await drive(engine.readTxn(request, mapVersion), store);
    return result.ok ? { ok: true, response: result.value } : { ok: false, error: result.error };
  }
}
