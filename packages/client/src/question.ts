import { isKvError, KvError, type Result } from '@kvorum/base';
import { type ControlMethod, errorFromPlain, FRAME } from '@kvorum/wire';
import type { Connection } from './connection.ts';
import type { Dispatcher } from './dispatcher.ts';

/** Reads an answer from outside. */
export type Parse<T> = (value: unknown) => Result<T, KvError>;

/** A control method to be asked of one member. */
export interface Question<T> {
  readonly method: ControlMethod;
  readonly params?: unknown;
  readonly parse: Parse<T>;
  /** It changes something: without an answer nobody knows whether it has. */
  readonly isWrite?: boolean;
}

/** When the asker stops to wait. */
export interface Patience {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks one member, once. Errors: the member's; KV_CANCELLED; KV_TIMEOUT when no answer came in time or, for what changes something, at
 * all; why the connection was lost.
 */
export function ask<T>(
  dispatcher: Pick<Dispatcher, 'nextId'>,
  connection: Connection,
  question: Question<T>,
  { timeoutMs, signal }: Patience,
): Promise<T> {
  const { method, params, parse, isWrite = false } = question;
  const outcome = isWrite ? 'unknown' : 'not-applied';
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(signal));
      return;
    }
    const id = dispatcher.nextId();
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      connection.controls.delete(id);
      settle();
    };
    const onAbort = (): void => end(() => reject(aborted(signal, outcome)));
    const timer = setTimeout(() => {
      const text = `${connection.url} did not answer "${method}"`;
      end(() => reject(new KvError('KV_TIMEOUT', text, { outcome })));
    }, timeoutMs);
    connection.controls.set(id, {
      answered: (error, result) =>
        end(() => {
          if (error !== null && error !== undefined) {
            reject(errorFromPlain(error));
            return;
          }
          const parsed = parse(result);
          if (parsed.ok) resolve(parsed.value);
          else reject(withOutcome(parsed.error, outcome));
        }),
      lost: (error) => end(() => reject(isWrite ? unanswered(connection, error) : error)),
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    connection.send([FRAME.control, id, method, params ?? null]);
  });
}

/** What a caller is told whose signal was aborted. */
export function aborted(
  signal: AbortSignal | undefined,
  outcome: KvError['outcome'] = 'not-applied',
): KvError {
  const cause: unknown = signal?.reason;
  return new KvError('KV_CANCELLED', 'aborted by its signal', { cause, outcome });
}

function unanswered({ url }: Connection, error: KvError): KvError {
  const text = `${url}: the connection was lost before the answer`;
  return new KvError('KV_TIMEOUT', text, { cause: error });
}

/** Waits; ends early with KV_CANCELLED when the signal is aborted. */
export function pauseFor(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(signal));
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The same error, with another certainty about what it left behind. */
export function withOutcome(error: KvError, outcome: KvError['outcome']): KvError {
  if (!isKvError(error) || error.outcome === outcome) return error;
  const text = error.message.replace(`${new KvError(error.code).message}: `, '');
  return new KvError(error.code, text, { details: error.details, cause: error, outcome });
}
