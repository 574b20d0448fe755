import type { MemberId } from '@kvorum/base';
import type { SharedLog, StateStore } from '@kvorum/ports';
import type { SimMember } from './member.ts';

/**
 * A planted bug: the ports of every member, bent so that the replica behaves as if its code had the bug. Only tests of the
 * simulation use it: a simulation that does not catch known bugs proves nothing about unknown ones.
 */
export interface Plant {
  readonly log?: (log: SharedLog, member: SimMember) => SharedLog;
  readonly store?: (store: StateStore, member: SimMember) => StateStore;
  /** Stores keep so many of the changes of a torn write, against their contract. */
  readonly tear?: (changes: number) => number;
  /** Called for each message to another member; `receive` hands this member a message as if `to` had sent it. */
  readonly sent?: (
    payload: unknown,
    link: { readonly to: MemberId; readonly receive: (payload: unknown) => void },
  ) => void;
}
