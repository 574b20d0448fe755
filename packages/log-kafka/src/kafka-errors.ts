import { type LogOffset, logOffset } from '@kvorum/base';
import errors from 'kafkajs/src/protocol/error.js';

export const NO_ERROR = 0;
export const OFFSET_OUT_OF_RANGE = 1;
export const UNKNOWN_TOPIC_OR_PARTITION = 3;
export const LEADER_NOT_AVAILABLE = 5;
export const TOPIC_AUTHORIZATION_FAILED = 29;
export const CLUSTER_AUTHORIZATION_FAILED = 31;
export const TOPIC_ALREADY_EXISTS = 36;

const MESSAGE_TOO_LARGE = 10;
const RECORD_LIST_TOO_LARGE = 18;

/** Both are checked before anything is appended. */
const OVERSIZE: ReadonlySet<number> = new Set([MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE]);

/**
 * Produce errors that prove that this request appended nothing. Everything else is ambiguous: NOT_LEADER, UNKNOWN_TOPIC and STORAGE_ERROR are
 * also answered when leadership is lost while the record waits for its replicas, and a time-out or NOT_ENOUGH_REPLICAS_AFTER_APPEND
 * leaves it in the log.
 */
const ABSENT: ReadonlySet<number> = new Set([
  2, // CORRUPT_MESSAGE
  ...OVERSIZE,
  19, // NOT_ENOUGH_REPLICAS
  TOPIC_AUTHORIZATION_FAILED,
  CLUSTER_AUTHORIZATION_FAILED,
  32, // INVALID_TIMESTAMP
  45, // OUT_OF_ORDER_SEQUENCE_NUMBER
  47, // INVALID_PRODUCER_EPOCH
  87, // INVALID_RECORD
]);

/** What a Produce error code says about the record. */
export function classifyProduce(code: number): 'absent' | 'oversize' | 'unknown' {
  if (OVERSIZE.has(code)) return 'oversize';
  return ABSENT.has(code) ? 'absent' : 'unknown';
}

/** `NOT_ENOUGH_REPLICAS (19)`. */
export function errorName(code: number): string {
  return `${errors.createErrorFromCode(code).type} (${code})`;
}

/** The words of the innermost error: kafkajs wraps the one that says what happened. */
export function reasonOf(error: unknown): string {
  const reason = innermost(error);
  const type = 'type' in reason && typeof reason.type === 'string' ? `${reason.type}: ` : '';
  return `${type}${reason.message}`;
}

/** The error at the end of the chain of causes. */
export function innermost(error: unknown): Error {
  let reason = error;
  for (let inner = causeOf(reason); inner !== undefined; inner = causeOf(reason)) reason = inner;
  return reason instanceof Error ? reason : new Error(String(reason));
}

function causeOf(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.cause instanceof Error) return error.cause;
  if ('originalError' in error && error.originalError instanceof Error) return error.originalError;
  return undefined;
}

/** An offset as kafkajs gives it, decimal text; undefined when there is none (-1), or it is beyond 2^53. */
export function parseOffset(text: string | undefined): LogOffset | undefined {
  if (text === undefined || !/^\d+$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? logOffset(value) : undefined;
}
