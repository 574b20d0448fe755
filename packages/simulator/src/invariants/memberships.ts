import type { MemberId } from '@kvorum/base';
import { type Membership, quorumSize } from '@kvorum/raft';
import type { ReplicaStatus } from '@kvorum/replica';
import type { Truth } from '../truth.ts';

const names = (ids: readonly MemberId[]): string => ids.map((id) => `m${id}`).join(',');

const minus = (a: readonly MemberId[], b: readonly MemberId[]): readonly MemberId[] =>
  a.filter((id) => !b.includes(id));

/**
 * Every `config` record changes one voter at most, and makes nobody a voter who was not a learner before: then any majority of one
 * membership meets any majority of the next.
 */
export function checkMemberships(truth: Truth, initial: readonly MemberId[]): string[] {
  const wrong: string[] = [];
  let before: Membership = { voters: initial, learners: [] };
  for (const { index, membership } of truth.memberships) {
    const added = minus(membership.voters, before.voters);
    const removed = minus(before.voters, membership.voters);
    const step = `index ${index}: ${names(before.voters)} -> ${names(membership.voters)}`;
    if (added.length + removed.length > 1) wrong.push(`${step} changes more than one voter`);
    const strange = minus(added, before.learners);
    if (strange.length > 0) wrong.push(`${step}: ${names(strange)} was no learner`);
    const all = new Set([...before.voters, ...membership.voters]).size;
    const sizes = [before.voters, membership.voters].map(({ length }) => quorumSize(length));
    const meet = (sizes[0] ?? 0) + (sizes[1] ?? 0) > all;
    if (!meet) wrong.push(`${step}: two majorities need not meet`);
    before = membership;
  }
  return wrong;
}

/** Who votes, and since which record: what the log says up to `index`. */
export function membershipAt(
  truth: Truth,
  index: number,
  initial: readonly MemberId[],
): { readonly index: number; readonly voters: readonly MemberId[] } {
  const newest = truth.memberships.filter((one) => one.index <= index).at(-1);
  return { index: newest?.index ?? 0, voters: newest?.membership.voters ?? initial };
}

/** A replica counts those, and only those, that the log's `config` record at its index names. */
export function checkOwnMembership(
  { raft }: ReplicaStatus,
  truth: Truth,
  initial: readonly MemberId[],
): string | undefined {
  const { accepted, configIndex, voters } = raft;
  const wanted = membershipAt(truth, accepted.index, initial);
  const lacking = minus(wanted.voters, voters).length + minus(voters, wanted.voters).length;
  if (lacking === 0 && configIndex === wanted.index) return undefined;
  return `index ${accepted.index}: counts ${names(voters)} (of ${configIndex}), the log says ${names(wanted.voters)} (of ${wanted.index})`;
}
