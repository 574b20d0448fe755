import type { Mutant } from './mutant.ts';
import { changingMembers, lateLearners, replacedMembers } from './sets.ts';

/** Bugs of who votes. */
export const MEMBERS: readonly Mutant[] = [
  {
    name: 'two voters changed at once',
    edits: [
      {
        file: 'raft/src/membership-step.ts',
        find: '  const voters = [...current.voters, id];',
        replace: '  const voters = [...current.voters, ...waiting(input)];',
      },
      {
        file: 'raft/src/membership-step.ts',
        find: '  const to = { voters, learners: without(current.learners, [id]) };',
        replace: '  const to = { voters, learners: without(current.learners, voters) };',
      },
      {
        file: 'raft/src/append.ts',
        find: 'assert(changed <= 1,',
        replace: 'assert(changed <= 9,',
      },
    ],
    adjust: changingMembers,
    seenBy: ['membership'],
  },
  {
    name: 'promote before caught up',
    edits: [
      {
        file: 'raft/src/membership-step.ts',
        find: 'return alive && logReachable && index - at <= lagMax;',
        replace: 'return alive && logReachable && index - at <= lagMax + 1e9;',
      },
    ],
    adjust: lateLearners,
    seenBy: ['learner-lag'],
  },
  {
    name: 'a voter that was no learner before',
    edits: [
      {
        file: 'raft/src/membership-step.ts',
        find: '  const to = { voters: current.voters, learners: [...current.learners, ...added] };',
        replace:
          '  const [first = added[0] as MemberId, ...rest] = added;\n  const to = { voters: [...current.voters, first], learners: [...current.learners, ...rest] };',
      },
      {
        file: 'raft/src/append.ts',
        find: "assert(next.value.voters.every(isKnown), 'a new voter must be a learner first');",
        replace: 'isKnown(core.config.self);',
      },
    ],
    adjust: changingMembers,
    seenBy: ['membership'],
  },
  {
    name: 'the wiped disk votes as the old id',
    edits: [
      {
        file: 'replica/src/replica-stores.ts',
        find: 'if (earlier === undefined && this.#opened.has(uid)) throw votesLost(name);',
        replace: 'if (earlier?.length === 0) throw votesLost(name);',
      },
    ],
    adjust: replacedMembers,
    seenBy: ['wiped-vote'],
  },
  {
    name: 'removed voter still counted',
    edits: [
      {
        file: 'raft/src/core.ts',
        find: '  core.voters = voters;',
        replace: '  core.voters = [...new Set([...core.voters, ...voters])];',
      },
    ],
    adjust: changingMembers,
    seenBy: ['membership', 'no-alarm'],
  },
];
