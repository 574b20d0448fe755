import { logIndex, type MemberId, memberId } from '@kvorum/base';
import { type Membership, type MembershipStep, nextMembershipStep } from '@kvorum/raft';
import { describe, expect, it } from 'vitest';

const ids = (numbers: readonly number[]): MemberId[] => numbers.map((n) => memberId(BigInt(n)));
const of = (voters: readonly number[], learners: readonly number[] = []): Membership => ({
  voters: ids(voters),
  learners: ids(learners),
});

interface Scene {
  readonly self?: number;
  readonly current: Membership;
  readonly desired: Membership;
  readonly dead?: readonly number[];
  readonly behind?: readonly number[];
  /** Silent for longer than the others, and not yet taken for dead. */
  readonly quiet?: number;
}

function step({
  self = 1,
  current,
  desired,
  dead = [],
  behind = [],
  quiet,
}: Scene): MembershipStep {
  return nextMembershipStep({
    self: memberId(BigInt(self)),
    current,
    desired,
    condition: (id) => ({
      alive: !dead.includes(Number(id)),
      silentMs: dead.includes(Number(id)) ? 5000 : Number(id) === quiet ? 300 : 90,
      logReachable: true,
      index: logIndex(behind.includes(Number(id)) ? 0 : 1000),
    }),
    index: logIndex(1000),
    lagMax: 10,
  });
}

function text(found: MembershipStep): string {
  if (found.kind === 'wait') return `wait: ${found.why.replaceAll(/0{15}/g, '')}`;
  if (found.kind === 'hand-over') return `hand over to ${found.to}`;
  if (found.kind === 'done') return 'done';
  const { voters, learners } = found.to;
  return `${voters.join(',')} / ${learners.join(',')}`;
}

describe('the next step of a membership', () => {
  it.each<[string, Scene, string]>([
    ['nothing to do', { current: of([1, 2, 3]), desired: of([3, 2, 1]) }, 'done'],
    [
      'new voters are learners first, all at once',
      { current: of([1, 2, 3]), desired: of([1, 2, 3, 4, 5]) },
      '1,2,3 / 4,5',
    ],
    [
      'then one is promoted',
      { current: of([1, 2, 3], [4, 5]), desired: of([1, 2, 3, 4, 5]) },
      '1,2,3,4 / 5',
    ],
    [
      'the one that has caught up',
      { current: of([1, 2, 3], [4, 5]), desired: of([1, 2, 3, 4, 5]), behind: [4] },
      '1,2,3,5 / 4',
    ],
    [
      'or none',
      { current: of([1, 2, 3], [4]), desired: of([1, 2, 4]), behind: [4] },
      'wait: learner 4 has not caught up',
    ],
    [
      'no voter goes before its successor votes',
      { current: of([1, 2, 3], [4]), desired: of([1, 2, 4]), dead: [3] },
      '1,2,3,4 / ',
    ],
    ['then it goes', { current: of([1, 2, 3, 4]), desired: of([1, 2, 4]) }, '1,2,4 / '],
    [
      'the dead first',
      { current: of([1, 2, 3, 4, 5]), desired: of([1, 4, 5]), dead: [3] },
      '1,2,4,5 / ',
    ],
    [
      'who may have died a moment ago before who answers',
      { current: of([1, 2, 3], [4]), desired: of([1, 4]), quiet: 3 },
      '1,2 / 4',
    ],
    [
      'no majority of the rest is alive',
      { current: of([1, 2, 3]), desired: of([1, 2]), dead: [2] },
      'wait: no live majority without 3',
    ],
    [
      'a promotion that would cost the live majority',
      { current: of([1, 2, 3], [4]), desired: of([1, 2, 3, 4]), dead: [2, 3] },
      'wait: no live majority with it',
    ],
    [
      'the leader is the last to go, and hands over',
      { current: of([1, 2, 3]), desired: of([2, 3]) },
      'hand over to 2',
    ],
    [
      'to one that can lead',
      { current: of([1, 2, 3]), desired: of([2, 3]), behind: [2] },
      'hand over to 3',
    ],
    [
      'a voter becomes a learner again',
      { current: of([1, 2, 3]), desired: of([1, 2], [3]) },
      '1,2 / 3',
    ],
    ['learners go together', { current: of([1], [2, 3]), desired: of([1]) }, '1 / '],
  ])('%s', (_name, scene, expected) => {
    expect(text(step(scene))).toBe(expected);
  });

  it('reaches any membership from any other, one voter at a time', () => {
    for (let from = 1; from < 32; from += 1) {
      for (let to = 1; to < 32; to += 1) {
        const set = (bits: number): number[] =>
          [1, 2, 3, 4, 5].filter((n) => bits & (1 << (n - 1)));
        let current = of(set(from));
        const desired = of(set(to));
        let self = set(from)[0] ?? 1;
        for (let i = 0; ; i += 1) {
          expect(i).toBeLessThan(30);
          const next = step({ self, current, desired });
          if (next.kind === 'done') break;
          if (next.kind === 'hand-over') self = Number(next.to);
          else if (next.kind === 'change') {
            const { voters } = next.to;
            const kept = voters.filter((id) => current.voters.includes(id));
            expect(voters.length + current.voters.length - 2 * kept.length).toBeLessThanOrEqual(1);
            current = next.to;
          } else throw new Error(next.why);
        }
        expect(new Set(current.voters)).toEqual(new Set(desired.voters));
        expect(current.learners).toEqual([]);
      }
    }
  });
});
