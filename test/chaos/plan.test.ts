import { seededRng } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import { type Fault, LONG, SHORT } from './fault.ts';
import { namesChange, Plan } from './plan.ts';
import { faultRows } from './report.ts';
import { longestGaps } from './unavailability.ts';

const NOTHING_LACKS = { disk: true, clocks: true };

function draw(seed: number, episodes: number, restarts = true): Fault[][] {
  const plan = new Plan(seededRng(seed), { longest: LONG, equipment: NOTHING_LACKS });
  return Array.from({ length: episodes }, () => [...(plan.next(restarts)?.faults ?? [])]);
}

const textsOf = (episodes: readonly Fault[][]): string[] => episodes.flat().map(({ text }) => text);

it('draws the same faults from the same seed', () => {
  expect(textsOf(draw(7, 30))).toEqual(textsOf(draw(7, 30)));
  expect(textsOf(draw(7, 30))).not.toEqual(textsOf(draw(8, 30)));
});

it('draws every kind of fault before long', () => {
  const kinds = new Set(draw(3, 40).flatMap((faults) => faults.map(({ kind }) => kind)));
  const processes = ['kill -9 of a member', 'kill -9 of a broker', 'kill -9 of all members'];
  const pauses = ['SIGSTOP of a member', 'SIGSTOP of a broker', 'SIGSTOP of all brokers'];
  const restarts = ['rolling restart of the members', 'rolling restart of the brokers'];
  const others = ['all brokers down', 'full disk', 'clock jump', 'cut one way of one connection'];
  for (const kind of [...processes, ...pauses, ...restarts, ...others])
    expect(kinds).toContain(kind);
  for (const kind of ['cut one way', 'cut both ways', 'delay', 'reset']) {
    expect(
      [...kinds].some((each) => each.startsWith(kind)),
      kind,
    ).toBe(true);
  }
});

it('starts no member while it must not, and never takes hold of one thing twice', () => {
  for (const faults of draw(5, 60, false)) {
    expect(faults.filter(({ startsMembers }) => startsMembers)).toEqual([]);
    const grips = faults.flatMap((fault) => fault.grips);
    expect(new Set(grips).size).toBe(grips.length);
  }
});

it('leaves out what the machine lacks', () => {
  const plan = new Plan(seededRng(1), {
    longest: SHORT,
    equipment: { disk: undefined, clocks: undefined },
  });
  const kinds = Array.from({ length: 60 }, () => plan.next(true)?.faults.map(({ kind }) => kind));
  expect(kinds.flat()).not.toContain('full disk');
  expect(kinds.flat()).not.toContain('clock jump');
});

it('draws only what is asked for, if there is such a thing', () => {
  const options = { longest: SHORT, equipment: NOTHING_LACKS };
  const brokers = new Plan(seededRng(1), { ...options, only: 'of a broker' });
  const kinds = Array.from({ length: 9 }, () =>
    brokers.next(false)?.faults.map(({ kind }) => kind),
  );
  expect(new Set(kinds.flat())).toEqual(new Set(['SIGSTOP of a broker', 'kill -9 of a broker']));
  const full = new Plan(seededRng(1), { ...options, only: 'full disk' });
  expect(full.next(false)).toBeUndefined();
  expect(full.next(true)?.faults.map(({ kind }) => kind)).toEqual(['full disk']);
  expect(new Plan(seededRng(1), { ...options, only: 'flood' }).next(true)).toBeUndefined();
});

it('changes the cluster itself only where that is asked for', () => {
  const options = { longest: LONG, equipment: NOTHING_LACKS };
  const kindsOf = (plan: Plan): Set<string | undefined> =>
    new Set(Array.from({ length: 60 }, () => plan.next(true)?.faults[0]?.kind));
  const changes = ['every member replaced', 'scale to 8 shards and back'];
  const still = kindsOf(new Plan(seededRng(1), options));
  expect(changes.filter((kind) => still.has(kind))).toEqual([]);
  const only = 'replace,scale';
  expect(kindsOf(new Plan(seededRng(1), { ...options, only, changes: true }))).toEqual(
    new Set(changes),
  );
  expect([undefined, 'of a broker', 'scale', only].map(namesChange)).toEqual([
    false,
    false,
    true,
    true,
  ]);
});

it('measures how long a shard took no write', () => {
  const answers = [100, 150, 400, 900].map((endMs) => ({
    ...{ shard: '0', kind: 'write' as const, startMs: 0 },
    endMs,
  }));
  expect(longestGaps(answers, ['0', '1'], 120, 1000)).toEqual({ '0': 500, '1': 880 });
});

it('sums faults up by kind', () => {
  const episode = (kind: string, recoveryMs: number, gap: number) => ({
    ...{ leg: 1, atMs: 0, faultyMs: 1, recoveredLast: '' },
    faults: [{ kind, text: '' }],
    recoveryMs,
    unavailableMs: { '0': gap, '1': 0 },
    unreadableMs: { '0': 1 },
  });
  const rows = faultRows([episode('b', 5, 30), episode('a', 1, 10), episode('b', 9, 20)]);
  expect(rows).toEqual([
    {
      fault: 'a',
      times: 1,
      unavailableMs: { median: 10, worst: 10 },
      unreadableMs: { median: 1, worst: 1 },
      recoveryMs: { median: 1, worst: 1 },
    },
    {
      fault: 'b',
      times: 2,
      unavailableMs: { median: 20, worst: 30 },
      unreadableMs: { median: 1, worst: 1 },
      recoveryMs: { median: 9, worst: 9 },
    },
  ]);
});
