import { type ErrorCode, isKvError, type KvError } from '@kvorum/base';

/** Documented in docs/cli.md; a script may rely on them. */
export const EXIT = {
  ok: 0,
  error: 1,
  cannotConnect: 2,
  badInput: 3,
  server: 4,
  unhealthyOrInterrupted: 5,
  io: 6,
  unknownOutcome: 8,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command with a code after it has printed what it had to say: one of `EXIT`, or that of a program that it ran. */
export class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** A mistake in what the user typed or fed in. */
export class InputError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** What was asked for did not come in time. */
export class Unfinished extends Error {
  readonly next: string;

  constructor(message: string, next: string) {
    super(message);
    this.next = next;
  }
}

/** A file or a stream that cannot be read or written, a program that cannot be run. */
export class IoError extends Error {}

const BAD_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'KV_EMPTY_KEY',
  'KV_KEY_NOT_FOUND',
  'KV_VALUE_PROVIDED',
  'KV_LEASE_PROVIDED',
  'KV_TOO_MANY_OPS',
  'KV_DUPLICATE_KEY',
  'KV_INVALID_SORT',
  'KV_REQUEST_TOO_LARGE',
  'KV_INVALID_ARGUMENT',
  'KV_CROSS_SHARD',
  'KV_CONFIG',
  'KV_NOT_FOUND',
  'KV_BAD_TRANSFEREE',
]);

const NEXT: Readonly<Partial<Record<ErrorCode, string>>> = {
  KV_UNAVAILABLE: 'start a cluster with `kvd dev`, or name one with --endpoints',
  KV_NO_LEADER: 'kvctl status   # who is missing',
  KV_DEADLINE: 'kvctl status   # then again, perhaps with a longer --timeout',
  KV_LOG_UNAVAILABLE: 'kvctl status   # the shared log (Kafka) does not accept writes; reads go on',
  KV_TIMEOUT: 'kvctl get KEY   # find out whether it happened before writing again',
  KV_CANCELLED: 'kvctl get KEY   # find out whether it happened before writing again',
  KV_SESSION_EXPIRED: 'kvctl get KEY   # find out whether it happened before writing again',
  KV_CROSS_SHARD: 'kvctl shard where KEY   # keys with one {tag} share a shard',
  KV_HALTED: 'kvctl status   # then see docs/operations.md on halted shards',
  KV_NO_SPACE: 'kvctl compaction REVISION   # and raise limits.quotaBytes if that is not enough',
  KV_NOT_FOUND: 'kvctl shard list',
  KV_BAD_TRANSFEREE: 'kvctl member list',
};

function exitCodeOf(error: KvError): ExitCode {
  if (error.outcome === 'unknown') return EXIT.unknownOutcome;
  if (error.code === 'KV_UNAVAILABLE') return EXIT.cannotConnect;
  return BAD_INPUT.has(error.code) ? EXIT.badInput : EXIT.server;
}

function nextOf(error: KvError): string | undefined {
  const { compactRevision, hint } = error.details;
  if (error.code === 'KV_COMPACTED' && compactRevision !== undefined) {
    return `ask for revision ${compactRevision} or later`;
  }
  return hint ?? NEXT[error.code];
}

/** Advice of the command at hand, ahead of the general one. */
export class Advised extends Error {
  readonly error: KvError;
  readonly next: string;

  constructor(error: KvError, next: string) {
    super(error.message, { cause: error });
    this.error = error;
    this.next = next;
  }
}

/** Gives a rejection with `code` the next step that only the command knows. */
export function advise(code: ErrorCode, next: string): (error: unknown) => never {
  return (error) => {
    throw isKvError(error) && error.code === code ? new Advised(error, next) : error;
  };
}

export interface Report {
  readonly text: string;
  readonly code: ExitCode;
}

const lines = (what: string, why?: string, next?: string): string =>
  [
    `Error: ${what}`,
    ...(why === undefined ? [] : [`Why:   ${why}`]),
    ...(next === undefined ? [] : [`Next:  ${next}`]),
    '',
  ].join('\n');

function reportKvError(error: KvError, next: string | undefined): Report {
  const [what = error.message, ...rest] = error.message
    .replace(/^(etcdserver|kv): (mvcc: )?/, '')
    .split(': ');
  const reason = rest.join(': ');
  const doubt = error.outcome === 'unknown' ? 'nobody knows yet whether it was applied' : undefined;
  const why = [reason === '' ? undefined : reason, doubt].filter((text) => text !== undefined);
  return {
    text: lines(`${what} (${error.code})`, why.length === 0 ? undefined : why.join('; '), next),
    code: exitCodeOf(error),
  };
}

/** What an error tells the user, and the exit code; undefined for a bug, which keeps its stack. */
export function reportOf(error: unknown): Report | undefined {
  if (error instanceof Advised) return reportKvError(error.error, error.next);
  if (isKvError(error)) return reportKvError(error, nextOf(error));
  if (error instanceof InputError) {
    return { text: lines(error.message, undefined, error.hint), code: EXIT.badInput };
  }
  if (error instanceof Unfinished) {
    return { text: lines(error.message, undefined, error.next), code: EXIT.server };
  }
  if (error instanceof IoError) return { text: lines(error.message), code: EXIT.io };
  return undefined;
}
