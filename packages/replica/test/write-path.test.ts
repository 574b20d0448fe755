import { DEFAULT_LIMITS, KvError } from '@kvorum/base';
import { VirtualClock } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';
import type { Command } from '../src/api.ts';
import { WritePath } from '../src/write-path.ts';

/** What one append to the log takes. */
const ROUND_MS = 8;
/** From an answer to the same client's next command. */
const RETURN_MS = 1;

/** A write path over a log that accepts every batch {@link ROUND_MS} later. */
class Bench {
  readonly clock = new VirtualClock();
  /** Sizes of the batches, in order. */
  readonly batches: number[] = [];
  readonly path: WritePath;

  constructor(limits: Partial<typeof DEFAULT_LIMITS> = {}) {
    const { clock, batches } = this;
    this.path = new WritePath(
      {
        nowMs: () => clock.nowMs(),
        setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
        canPropose: () => true,
        isHeld: () => false,
        execute: async (proposals) => ({
          payload: Uint8Array.of(1),
          results: proposals.map(() => ({
            ok: true,
            response: { op: 'compact', revision: 1 as never },
          })),
        }),
        propose: () => void clock.setTimer(ROUND_MS, () => this.path.applied()),
        confirm: () => undefined,
        broken: (error) => {
          throw error;
        },
        sealed: (commands) => void batches.push(commands),
        settled: () => undefined,
      },
      { ...DEFAULT_LIMITS, ...limits },
    );
    this.path.start();
  }

  submit(done: Command['done'] = () => undefined): void {
    this.path.submit({
      request: { op: 'compact', revision: 1 as never, physical: false },
      session: undefined,
      deadlineMs: this.clock.nowMs() + 5000,
      bytes: 100,
      done,
    });
  }

  /** A client that writes again and again, each time soon after its answer. */
  client(): void {
    this.submit(() => void this.clock.setTimer(RETURN_MS, () => this.client()));
  }

  /** Time passes, and between its steps what promises have to do. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms * 2; i += 1) {
      this.clock.advance(0.5);
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    }
  }
}

describe('what a batch waits for', () => {
  it('never lets a client on its own wait', async () => {
    const bench = new Bench();
    bench.client();
    await bench.pass(10 * (ROUND_MS + RETURN_MS));
    expect(bench.batches.length).toBeGreaterThanOrEqual(9);
  });

  it('brings clients together that would take turns', async () => {
    const bench = new Bench();
    bench.client();
    await bench.pass(2);
    for (let i = 0; i < 7; i += 1) bench.client();
    await bench.pass(20 * (ROUND_MS + RETURN_MS));
    expect(bench.batches[0]).toBe(1);
    expect(new Set(bench.batches.slice(1))).toEqual(new Set([8]));
  });

  it('goes without those who stay away, and does not wait for them again', async () => {
    const bench = new Bench();
    for (let i = 0; i < 8; i += 1) bench.submit();
    await bench.pass(ROUND_MS + 0.5);
    bench.client();
    expect(bench.batches).toEqual([8]);
    await bench.pass(DEFAULT_LIMITS.batchGatherMs);
    expect(bench.batches).toEqual([8, 1]);
    await bench.pass(3 * (ROUND_MS + RETURN_MS));
    expect(bench.batches.length).toBeGreaterThanOrEqual(4);
  });

  it('seals a full batch at once, whoever else is expected', async () => {
    const bench = new Bench({ recordBytesTarget: 300 });
    for (let i = 0; i < 9; i += 1) bench.submit();
    await bench.pass(ROUND_MS + 0.5);
    expect(bench.batches).toEqual([3, 3]);
  });

  it('forgets what it waited for when it stops leading', async () => {
    const bench = new Bench();
    for (let i = 0; i < 2; i += 1) bench.submit();
    await bench.pass(ROUND_MS + 0.5);
    const failures: string[] = [];
    bench.submit((result) => failures.push(result.ok ? '' : result.error.code));
    bench.path.stop(() => new KvError('KV_NOT_LEADER'));
    expect(failures).toEqual(['KV_NOT_LEADER']);
    expect(bench.clock.nextTimerMs()).toBeUndefined();
  });
});
