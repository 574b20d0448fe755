import type { KvError, KvResponse, Origin, SessionTag, WriteRequest } from '@kvorum/base';
import type { LeaseCommand } from './lease-command.ts';
import type { SlotCommand } from './slot-command.ts';

/** A write as it waits in the leader's queue; already validated (see validate.ts). */
export interface Proposal {
  /** A step of a slot move stands alone in its batch. */
  readonly request: WriteRequest | SlotCommand | LeaseCommand;
  readonly session?: SessionTag | undefined;
  /** Who asks for it; goes into the record for audit. */
  readonly origin?: Origin | undefined;
  /** Version of the map by which the request was sent here; absent = the newest. */
  readonly mapVersion?: number;
}

/** What became of one command. An error here means that the command changed nothing. */
export type CommandResult =
  | { readonly ok: true; readonly response: KvResponse }
  | { readonly ok: false; readonly error: KvError };
