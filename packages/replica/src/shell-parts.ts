import type { HardState } from '@kvorum/raft';
import type { GenesisWriter } from './genesis-writer.ts';
import type { IndexedMembership } from './membership-row.ts';
import type { ReplicaOptions } from './replica-options.ts';
import type { StateMachine } from './state-machine.ts';

/** What the shell tells the life cycle around it. */
export interface ShellHost {
  /** The log starts above what this replica needs: it stands still until it begins anew on a snapshot. */
  readonly snapshotNeeded: () => void;
  /** The first records of this shell are applied: what an earlier install left is of no use any more. */
  readonly followed: () => void;
  /** Role, term, leader or halt changed. */
  readonly changed: () => void;
}

/** What a shell is made of; see `openShell`. */
export interface ShellParts {
  readonly options: ReplicaOptions;
  readonly hard: HardState;
  readonly membership: IndexedMembership;
  readonly machine: StateMachine;
  readonly host: ShellHost;
  /** Set while this replica has to begin its log's generation. */
  readonly genesis: GenesisWriter | undefined;
}
