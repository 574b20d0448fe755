import type { KvError, KvResponse, Origin, SessionTag, WriteRequest } from '@kvorum/base';

/** A write as it waits in the leader's queue; already validated (see validate.ts). */
export interface Proposal {
  readonly request: WriteRequest;
  readonly session?: SessionTag | undefined;
  /** Who asks for it; goes into the record for audit. */
  readonly origin?: Origin | undefined;
}

/** What became of one command. An error here means that the command changed nothing. */
export type CommandResult =
  | { readonly ok: true; readonly response: KvResponse }
  | { readonly ok: false; readonly error: KvError };
