import { DEFAULT_LIMITS, type LogOffset, logOffset } from '@kvorum/base';
import type { LogEntry, SharedLog } from '@kvorum/ports';
import { seededRng, VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import { LogFollower } from '../src/log-follower.ts';

/** A log in which each read finds one record of this size at once. */
function logOf(recordBytes: number, readAt: () => void): Pick<SharedLog, 'read'> {
  return {
    read: async (from) => {
      readAt();
      const entry: LogEntry = { offset: from, bytes: new Uint8Array(recordBytes) };
      return { kind: 'records', entries: [entry], end: logOffset(from + 1) };
    },
  };
}

/** When a follower that nobody waits for reads, from a moment on at which its clock says `startMs`. */
async function readTimes(
  recordBytes: number,
  startMs: number,
  followPauseMs = 25,
): Promise<readonly number[]> {
  const clock = new VirtualClock();
  clock.advance(startMs);
  const times: number[] = [];
  const log = logOf(recordBytes, () => times.push(clock.nowMs()));
  const follower = new LogFollower(
    log,
    {
      entries: async () => undefined,
      outOfRange: () => undefined,
      reachable: () => undefined,
      known: () => false,
      patient: () => true,
      broken: (error) => {
        throw error;
      },
    },
    { clock, rng: seededRng(1), limits: { ...DEFAULT_LIMITS, followPauseMs } },
  );
  follower.follow(0 as LogOffset);
  while (times.length < 4) {
    // What a read sets off runs in promises; all of them are done by the next turn of the event loop.
    await new Promise((turn) => setImmediate(turn));
    clock.advanceToNextTimer();
  }
  await follower.stopped();
  return times;
}

it('reads again at moments that all replicas share while little comes', async () => {
  expect(await readTimes(300, 1030)).toEqual([1030, 1100, 1200, 1300]);
  expect(await readTimes(300, 1090)).toEqual([1090, 1100, 1200, 1300]);
});

it('reads again soon while much comes', async () => {
  expect(await readTimes(100_000, 1030)).toEqual([1030, 1055, 1080, 1105]);
});

it('reads again at once when it is told to let nothing gather', async () => {
  expect(await readTimes(300, 1030, 0)).toEqual([1030, 1030, 1030, 1030]);
});

it('reports what breaks it', async () => {
  const broken = await new Promise<unknown>((resolve) => {
    const follower = new LogFollower(
      { read: () => Promise.reject(new Error('planted')) },
      {
        entries: async () => undefined,
        outOfRange: () => undefined,
        reachable: () => undefined,
        known: () => false,
        patient: () => true,
        broken: resolve,
      },
      { clock: new VirtualClock(), rng: seededRng(1), limits: DEFAULT_LIMITS },
    );
    follower.follow(0 as LogOffset);
  });
  expect(String(broken)).toMatch(/planted/);
});
