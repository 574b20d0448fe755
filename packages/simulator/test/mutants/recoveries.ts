import type { Mutant } from './mutant.ts';
import { contestedRecovery } from './sets.ts';

/** Bugs of letting a halted shard go on in a new generation of its log. */
export const RECOVERIES: readonly Mutant[] = [
  {
    name: 'a replica takes its own history into a generation that stands on another',
    edits: [
      {
        file: 'raft/src/filter.ts',
        find: 'const isOwn = genesis.value.index === state.index && equalBytes(record.prevHash, state.chainHash);',
        replace: 'const isOwn = genesis.value.index <= state.index;',
      },
    ],
    adjust: contestedRecovery,
    seenBy: ['one-history', 'recovered', 'state-hash', 'revisions'],
  },
  {
    name: 'takes part in a generation before its first record is read',
    edits: [
      {
        file: 'raft/src/core.ts',
        find: 'return core.accepted.generation !== core.config.generation;',
        replace: 'return core.accepted.generation < core.config.generation - 99;',
      },
    ],
    adjust: contestedRecovery,
    seenBy: ['recovered', 'one-history', 'old-term-fenced', 'one-generation', 'liveness'],
  },
];
