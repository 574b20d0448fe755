import { appendFileSync } from 'node:fs';
import { isErrorCode, isKvError } from '@kvorum/base';
import fc from 'fast-check';
import { expect, it } from 'vitest';

/** What `scripts/fuzz.mjs` sets for the long form; without them a target runs its short form, always from the same seed. */
const { KV_FUZZ_MS, KV_FUZZ_SEED, KV_FUZZ_RUNS, KV_FUZZ_REPORT } = process.env;

const SHORT_SEED = 20_261_121;
/** Nothing that anybody sends may keep a process busy for so long: members are elected by then. */
const INPUT_MS_MAX = 2000;
const isLong = KV_FUZZ_MS !== undefined || KV_FUZZ_RUNS !== undefined;

let inputs = 0;
let slowestMs = 0;

/**
 * Registers one fuzz target as a test.
 *
 * @param runs - of the short form; the long form runs for KV_FUZZ_MS milliseconds or KV_FUZZ_RUNS runs.
 */
export function fuzz(
  name: string,
  runs: number,
  property: fc.IProperty<unknown> | fc.IAsyncProperty<unknown>,
): void {
  const limitMs = Number(KV_FUZZ_MS ?? Number.MAX_SAFE_INTEGER);
  it(name, { timeout: isLong ? 86_400_000 : 20_000 }, async () => {
    inputs = 0;
    slowestMs = 0;
    const seed = Number(KV_FUZZ_SEED ?? SHORT_SEED);
    const started = performance.now();
    const longRuns = Number(KV_FUZZ_RUNS ?? 2 ** 31 - 1);
    const details = await fc.check(property as fc.IAsyncProperty<unknown>, {
      seed,
      numRuns: isLong ? longRuns : runs,
      ...(isLong && KV_FUZZ_MS !== undefined
        ? { interruptAfterTimeLimit: limitMs, markInterruptAsFailure: false }
        : {}),
    });
    const file = expect.getState().testPath?.replace(`${process.cwd()}/`, '') ?? '';
    if (details.failed) {
      const replay = `KV_FUZZ_SEED=${seed} KV_FUZZ_RUNS=${details.numRuns} npx vitest run --project unit ${file} -t '${name}'`;
      throw new Error(`${fc.defaultReportMessage(details)}\n\nReplay: ${replay}`, {
        cause: details.errorInstance,
      });
    }
    if (KV_FUZZ_REPORT === undefined) return;
    const seconds = (performance.now() - started) / 1000;
    const line = { file, name, seed, runs: details.numRuns, inputs, seconds, slowestMs };
    appendFileSync(KV_FUZZ_REPORT, `${JSON.stringify(line)}\n`);
  });
}

/** Counts `count` inputs that were tried otherwise than through {@link tried}. */
export function countInputs(count: number): void {
  inputs += count;
}

/** Gives one input to a decoder that never throws. */
export function tried<T>(decode: () => T): T {
  inputs += 1;
  if (!isLong) return decode();
  const started = performance.now();
  const value = decode();
  const ms = performance.now() - started;
  slowestMs = Math.max(slowestMs, ms);
  if (ms > INPUT_MS_MAX) throw new RangeError(`one input took ${Math.round(ms)} ms`);
  return value;
}

/** Gives one input to a parser that throws; undefined when it refused as its callers expect: with a KvError of a known code. */
export function triedThrowing<T>(
  parse: () => T,
  expected: (error: unknown) => boolean = hasStableCode,
): T | undefined {
  return tried(() => {
    try {
      return parse();
    } catch (error) {
      if (expected(error)) return undefined;
      throw error;
    }
  });
}

export function hasStableCode(error: unknown): boolean {
  return isKvError(error) && isErrorCode(error.code);
}

/** Checks what a decoder of this package answers: a value, or a KvError of a known code. */
export function expectTyped(result: { readonly ok: boolean; readonly error?: unknown }): void {
  if (!result.ok) expect(hasStableCode(result.error)).toBe(true);
}

/** The seeds of `count` mutations, from one that fast-check chose. */
export function mutationSeeds(seed: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (Math.imul(seed, 0x9e37_79b1) + i) | 0);
}

export const SEED: fc.Arbitrary<number> = fc.integer();
/** Keys and values: mostly short, sometimes empty, zero or all ones. */
export const BYTES: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 12 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...[[], [0], [0xff], [0xff, 0xff]].map((b) => Uint8Array.from(b))),
  },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 60, maxLength: 300 }) },
);
export const COUNT: fc.Arbitrary<number> = fc.oneof(fc.nat(), fc.maxSafeNat());
