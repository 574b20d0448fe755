import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '@kvorum/base';
import { seededRng } from '@kvorum/testkit';
import { Level } from 'level';
import { expect, it } from 'vitest';
import { LevelStateStore } from '../src/level-state-store.ts';

const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(16).fill(0xff) };
const KEYS = Array.from({ length: 14 }, (_, i) => `k${i}`);
const BIG_BYTES = 9000;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const versionOf = (value: Uint8Array | undefined): number =>
  value === undefined ? 0 : Number(fromUtf8(value).trim());

/** A store whose writes to LevelDB begin, and are heard of, when a gate is opened; and what its writers were told. */
class Interleaving {
  readonly #store: LevelStateStore;
  readonly #gates: (() => void)[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  /** Version of each key whose write has ended. */
  readonly #written = new Map<string, number>();
  /** What a reader missed. */
  readonly missed: string[] = [];
  #version = 0;

  constructor(level: Level<Uint8Array, Uint8Array>) {
    const original = level.batch.bind(level);
    const gate = (): Promise<void> => new Promise((resolve) => this.#gates.push(resolve));
    const gated = (): ReturnType<typeof original> => {
      const batch = original();
      const write = batch.write.bind(batch);
      const begins = gate();
      batch.write = async () => {
        await begins;
        await write({ sync: false });
        await gate();
      };
      return batch;
    };
    Object.defineProperty(level, 'batch', { value: gated });
    this.#store = new LevelStateStore(
      level,
      (step) => step(),
      () => undefined,
    );
  }

  write(keys: readonly string[], options: { readonly sync: boolean; readonly big: boolean }): void {
    this.#version += 1;
    const version = this.#version;
    const value = utf8(String(version).padEnd(options.big ? BIG_BYTES : 1));
    const written = this.#store.write((batch) => {
      for (const key of keys) batch.put(utf8(key), value);
    }, options);
    const ended = (): void => {
      for (const key of keys) this.#written.set(key, version);
    };
    this.#track(written.then(ended));
  }

  sync(): void {
    this.#track(this.#store.sync());
  }

  get(keys: readonly string[]): void {
    const check = this.#expecting('get', keys);
    const values = this.#store.getMany(keys.map(utf8));
    this.#track(values.then((found) => check(new Map(keys.map((key, i) => [key, found[i]])))));
  }

  scan(of: 'store' | 'view'): void {
    const check = this.#expecting(of, KEYS);
    const rows = (of === 'view' ? this.#store.readView() : this.#store).scan(ALL, {
      limit: KEYS.length + 1,
      bytesMax: 1 << 20,
    });
    this.#track(rows.then((found) => check(new Map(found.map(([k, v]) => [fromUtf8(k), v])))));
  }

  async openGate(): Promise<void> {
    this.#gates.shift()?.();
    await turn();
  }

  async end(): Promise<void> {
    while (this.#underWay.size > 0) await this.openGate();
    this.#track(this.#store.close());
    while (this.#underWay.size > 0) await this.openGate();
  }

  /** What has been written by now must be found. */
  #expecting(
    how: string,
    keys: readonly string[],
  ): (found: ReadonlyMap<string, Uint8Array | undefined>) => void {
    const due = [...this.#written].filter(([key]) => keys.includes(key));
    return (found) => {
      for (const [key, version] of due) {
        const at = versionOf(found.get(key));
        if (at < version) this.missed.push(`${how} of ${key}: ${at}, not ${version}`);
      }
    };
  }

  #track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }
}

it('readers miss nothing that was written, in whatever order writes reach LevelDB', async () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const rng = seededRng(seed);
    const directory = await mkdtemp(join(tmpdir(), 'kvorum-store-'));
    const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const;
    const level = new Level<Uint8Array, Uint8Array>(directory, encodings);
    await level.open();
    const store = new Interleaving(level);
    const some = (): string[] => KEYS.slice(rng.integer(0, 7), rng.integer(7, 15));
    const is1in = (count: number): boolean => rng.integer(0, count) === 0;
    for (let i = 0; i < 150; i += 1) {
      const what = rng.integer(0, 12);
      if (what < 4) store.write(some().slice(-3), { sync: is1in(5), big: is1in(6) });
      else if (what < 7) store.get(some());
      else if (what === 7) store.scan('store');
      else if (what === 8) store.scan('view');
      else if (what === 9) store.sync();
      else await store.openGate();
    }
    await store.end();
    await rm(directory, { recursive: true, force: true });
    expect(store.missed, `seed ${seed}`).toEqual([]);
  }
});
