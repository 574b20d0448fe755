import type { LogIndex, MemberId } from '@kvorum/base';
import type { Membership } from './conf-change.ts';
import { isQuorum } from './quorum.ts';

/** What is known of a member when the next step is chosen. */
export interface MemberCondition {
  /** It was heard lately. */
  readonly alive: boolean;
  /** Since it was last heard; infinite = never. */
  readonly silentMs: number;
  readonly logReachable: boolean;
  /** Its accepted index as last reported. */
  readonly index: LogIndex;
}

export interface MembershipStepInput {
  /** The leader that asks. */
  readonly self: MemberId;
  readonly current: Membership;
  /** Best leader first. */
  readonly desired: Membership;
  readonly condition: (member: MemberId) => MemberCondition;
  /** The leader's accepted index. */
  readonly index: LogIndex;
  /** A learner at most so many records behind has caught up. */
  readonly lagMax: number;
}

/** `wait`: something must happen first, `why` says what; look again later. */
export type MembershipStep =
  | { readonly kind: 'done' }
  | { readonly kind: 'wait'; readonly why: string }
  | { readonly kind: 'change'; readonly to: Membership; readonly why: string }
  | { readonly kind: 'hand-over'; readonly to: MemberId };

/**
 * The next step from the membership a shard has towards the one that is wanted. Learners come and go any number at a time, voters one
 * by one; a learner is promoted once it has caught up; a voter goes only where a majority of the others is alive; the number of voters
 * stays as near to the wanted one as it can; a leader that is to go hands over first.
 */
export function nextMembershipStep(input: MembershipStepInput): MembershipStep {
  return (
    addLearners(input) ??
    (hasTooMany(input) ? removeVoter(input) : (promote(input) ?? awaitLearners(input))) ??
    removeVoter(input) ??
    dropLearners(input) ?? { kind: 'done' }
  );
}

const without = (ids: readonly MemberId[], gone: readonly MemberId[]): readonly MemberId[] =>
  ids.filter((id) => !gone.includes(id));

const hasTooMany = ({ current, desired }: MembershipStepInput): boolean =>
  current.voters.length > desired.voters.length;

const text = (ids: readonly MemberId[]): string =>
  ids.map((id) => id.toString(16).padStart(16, '0')).join(', ');

function addLearners({ current, desired }: MembershipStepInput): MembershipStep | undefined {
  const known = [...current.voters, ...current.learners];
  const added = without([...desired.voters, ...desired.learners], known);
  if (added.length === 0) return undefined;
  const to = { voters: current.voters, learners: [...current.learners, ...added] };
  return { kind: 'change', to, why: `learner ${text(added)} added` };
}

const waiting = ({ current, desired }: MembershipStepInput): readonly MemberId[] =>
  desired.voters.filter((id) => current.learners.includes(id));

function hasCaughtUp({ condition, index, lagMax }: MembershipStepInput, id: MemberId): boolean {
  const { alive, logReachable, index: at } = condition(id);
  return alive && logReachable && index - at <= lagMax;
}

function promote(input: MembershipStepInput): MembershipStep | undefined {
  const { current } = input;
  const id = waiting(input).find((learner) => hasCaughtUp(input, learner));
  if (id === undefined) return undefined;
  const voters = [...current.voters, id];
  if (!hasLiveMajority(input, voters)) return { kind: 'wait', why: 'no live majority with it' };
  const to = { voters, learners: without(current.learners, [id]) };
  return { kind: 'change', to, why: `learner ${text([id])} promoted` };
}

/** No voter goes while its successor is still catching up. */
function awaitLearners(input: MembershipStepInput): MembershipStep | undefined {
  const behind = waiting(input);
  return behind.length === 0
    ? undefined
    : { kind: 'wait', why: `learner ${text(behind)} has not caught up` };
}

/**
 * Whoever has been silent longest goes first, the leader last: a voter that died a moment ago still counts as alive, and must not be
 * kept in the place of one that answers.
 */
function removeVoter(input: MembershipStepInput): MembershipStep | undefined {
  const { current, desired, self, condition } = input;
  const unwanted = without(current.voters, desired.voters);
  if (unwanted.length === 0) return undefined;
  const others = unwanted.filter((one) => one !== self);
  const [id] = others.sort((a, b) => compareSilence(condition(b), condition(a)));
  if (id === undefined) return handOver(input);
  const voters = without(current.voters, [id]);
  if (voters.length === 0 || !hasLiveMajority(input, voters)) {
    return { kind: 'wait', why: `no live majority without ${text([id])}` };
  }
  const stays = desired.learners.includes(id) ? [id] : [];
  const to = { voters, learners: [...current.learners, ...stays] };
  return { kind: 'change', to, why: `voter ${text([id])} removed` };
}

function compareSilence(a: MemberCondition, b: MemberCondition): number {
  return a.silentMs === b.silentMs ? 0 : a.silentMs - b.silentMs;
}

function handOver(input: MembershipStepInput): MembershipStep {
  const { current, desired } = input;
  const to = desired.voters.find((id) => current.voters.includes(id) && hasCaughtUp(input, id));
  return to === undefined
    ? { kind: 'wait', why: 'no voter can take the leadership over' }
    : { kind: 'hand-over', to };
}

function dropLearners({ current, desired }: MembershipStepInput): MembershipStep | undefined {
  const gone = without(current.learners, [...desired.voters, ...desired.learners]);
  if (gone.length === 0) return undefined;
  const to = { voters: current.voters, learners: without(current.learners, gone) };
  return { kind: 'change', to, why: `learner ${text(gone)} removed` };
}

function hasLiveMajority(
  { self, condition }: MembershipStepInput,
  voters: readonly MemberId[],
): boolean {
  return isQuorum(voters, (id) => id === self || condition(id).alive);
}
