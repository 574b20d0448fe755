import { KvError, type LeaseId } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { Lease, type LeaseParts } from '../src/lease.ts';
import type { Until } from '../src/lease-calls.ts';

/** A clock that a test moves. */
class ManualTiming {
  now = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly act: () => void }>();
  readonly nowMs = (): number => this.now;
  readonly random = (): number => 0;
  readonly after = (delayMs: number, act: () => void): (() => void) => {
    const timer = { atMs: this.now + Math.max(0, delayMs), act };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  get pending(): number {
    return this.#timers.size;
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.now + ms;
    for (;;) {
      const due = [...this.#timers].sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined || due.atMs > endMs) break;
      this.#timers.delete(due);
      this.now = due.atMs;
      due.act();
      await settled();
    }
    this.now = endMs;
    await settled();
  }
}

/** After everything that promises still have to do. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Renewal = () => Promise<number>;

/** A lease of ten seconds whose renewals a test answers. */
function leaseOf(renewal: Renewal, isKeptAlive = true) {
  const timing = new ManualTiming();
  const asked: { readonly atMs: number; readonly until: Until }[] = [];
  const revoked: LeaseId[] = [];
  const ended: Lease[] = [];
  const parts: LeaseParts = {
    timing,
    until: () => ({ deadlineMs: timing.now + 7000 }),
    onEnd: (lease) => ended.push(lease),
    calls: {
      keepAlive: async (_, until) => {
        const sentMs = timing.now;
        asked.push({ atMs: sentMs, until });
        return { value: { ttlSeconds: await renewal(), revision: 1 }, sentMs };
      },
      revoke: (id) => {
        revoked.push(id);
        return Promise.resolve();
      },
    },
  };
  const lease = new Lease(parts, { id: 5n as LeaseId, ttlSeconds: 10, sinceMs: 0 }, isKeptAlive);
  return { lease, timing, asked, revoked, ended };
}

const silence: Renewal = () => new Promise(() => undefined);

describe('a lease that is kept alive', () => {
  it('is renewed three times in its time, and counts from when the renewal was sent', async () => {
    const { lease, timing, asked } = leaseOf(() => Promise.resolve(10));
    await timing.advance(100_000);
    expect(asked.map(({ atMs }) => Math.round(atMs)).slice(0, 3)).toEqual([3333, 6667, 10_000]);
    expect(lease.isAlive).toBe(true);
    expect(lease.remainingMs).toBeLessThanOrEqual(9000);
    expect(timing.pending).toBe(2);
  });

  it('is lost a tenth before the cluster can have ended it, when nobody answers', async () => {
    const { lease, timing, asked, ended } = leaseOf(silence);
    await timing.advance(8999);
    expect([lease.isAlive, lease.signal.aborted]).toEqual([true, false]);
    expect(asked[0]?.until).toMatchObject({ deadlineMs: 9000, attemptMs: 10_000 / 6 });
    await timing.advance(1);
    expect([lease.isAlive, lease.signal.aborted, lease.remainingMs]).toEqual([false, true, 0]);
    expect(await lease.lost).toMatchObject({ code: 'KV_LEASE_LOST' });
    expect(lease.signal.reason).toBe(await lease.lost);
    expect(ended).toEqual([lease]);
    expect(timing.pending).toBe(0);
  });

  it('is lost by the clock also when timers come late', () => {
    const { lease, timing } = leaseOf(silence);
    timing.now = 9001;
    expect(lease.signal.aborted).toBe(false);
    expect(() => lease.check()).toThrow(expect.objectContaining({ code: 'KV_LEASE_LOST' }));
    expect(lease.signal.aborted).toBe(true);
  });

  it('is lost as soon as the cluster says that it is gone', async () => {
    const { lease, timing } = leaseOf(() => Promise.resolve(0));
    await timing.advance(3334);
    expect(await lease.lost).toMatchObject({
      code: 'KV_LEASE_LOST',
      message: expect.stringContaining('no such lease') as unknown,
    });
  });

  it('goes on after renewals that failed, and says at the end why they did', async () => {
    let fails = true;
    const { lease, timing } = leaseOf(() =>
      fails ? Promise.reject(new KvError('KV_NO_LEADER')) : Promise.resolve(10),
    );
    await timing.advance(6000);
    fails = false;
    await timing.advance(20_000);
    expect(lease.isAlive).toBe(true);
    fails = true;
    await timing.advance(20_000);
    expect(await lease.lost).toMatchObject({
      code: 'KV_LEASE_LOST',
      cause: { code: 'KV_NO_LEADER' },
      message: expect.stringContaining('no leader') as unknown,
    });
  });

  it('an answer that comes when it is lost does not bring it back', async () => {
    let answer: (ttl: number) => void = () => undefined;
    const renewal = new Promise<number>((resolve) => {
      answer = resolve;
    });
    const { lease, timing } = leaseOf(() => renewal);
    await timing.advance(9000);
    answer(10);
    await settled();
    expect([lease.isAlive, timing.pending]).toEqual([false, 0]);
  });

  it('tells everybody before it is revoked', async () => {
    const { lease, timing, revoked } = leaseOf(() => Promise.resolve(10));
    const told = new Promise((resolve) => {
      lease.signal.addEventListener('abort', () => resolve(revoked.length));
    });
    await lease[Symbol.asyncDispose]();
    expect([await told, revoked, timing.pending]).toEqual([0, [5n], 0]);
    expect(await lease.lost).toMatchObject({ code: 'KV_CANCELLED' });
  });
});

it('a lease that is not kept alive is renewed when that is asked for', async () => {
  const { lease, timing, asked } = leaseOf(() => Promise.resolve(10), false);
  await timing.advance(8000);
  expect(asked).toEqual([]);
  await lease.keepAlive();
  await timing.advance(8000);
  expect(lease.isAlive).toBe(true);
  await timing.advance(1000);
  await expect(lease.keepAlive()).rejects.toMatchObject({ code: 'KV_LEASE_LOST' });
  expect(asked).toHaveLength(1);
});
