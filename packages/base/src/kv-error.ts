import { type ErrorCode, errorSpec, type Outcome, type Retry } from './error-table.ts';

/** What an error may carry for programs: the place to go instead, the limit that was hit, ... */
export interface ErrorDetails {
  readonly shard?: string;
  /** Version of the shard map the answering member holds. */
  readonly mapVersion?: number;
  /**
   * Slot that the shard does not have, -1 = one of several: its leader has decided that, and a write it refused will never happen
   * here.
   */
  readonly slot?: number;
  /** Member id (16 hex digits) of the shard's leader, when known. */
  readonly leader?: string;
  readonly compactRevision?: number;
  readonly currentRevision?: number;
  readonly limit?: number;
  readonly actual?: number;
  /** The next thing to do, as a sentence or a command. */
  readonly hint?: string;
}

/**
 * The operational error of every package and wire boundary.
 *
 * `message` = the table's wire text, then `: detail` when there is one. `outcome` may be narrowed by the thrower (a read
 * that timed out changed nothing), never widened to something better than known.
 */
export class KvError extends Error {
  override readonly name = 'KvError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly outcome: Outcome;

  constructor(
    code: ErrorCode,
    detail?: string,
    options: {
      readonly details?: ErrorDetails;
      readonly cause?: unknown;
      readonly outcome?: Outcome;
    } = {},
  ) {
    const spec = errorSpec(code);
    super(
      detail === undefined ? spec.message : `${spec.message}: ${detail}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.details = options.details ?? {};
    this.outcome = options.outcome ?? spec.outcome;
  }

  get retry(): Retry {
    return errorSpec(this.code).retry;
  }

  get httpStatus(): number {
    return errorSpec(this.code).http;
  }
}

/** Recognises a KvError also across duplicated copies of this package. */
export function isKvError(value: unknown): value is KvError {
  return value instanceof Error && value.name === 'KvError' && 'code' in value;
}
