import { type ErrorDetails, errorSpec, isKvError, KvError } from '@kvorum/base';
import type { Clock, LogSpec, SharedLog, SharedLogs } from '@kvorum/ports';
import type { Logger } from '../logger.ts';
import { pause } from './system.ts';

/** First pause before a log that does not answer is asked again. */
export const LOG_RETRY_MS = 1000;
const RETRY_MS_MAX = 5000;

export interface WaitForLogOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly startupTimeoutMs: number;
  /** What does not answer, for the message: the broker list. */
  readonly where: string;
  readonly signal: AbortSignal;
}

export interface OpenLogOptions extends WaitForLogOptions {
  readonly logs: SharedLogs;
}

/**
 * Opens a shard's log, waiting for one that does not answer.
 *
 * Errors: KV_LOG_UNAVAILABLE after `startupTimeoutMs`, naming the brokers and why the last try failed; KV_LOG_MISCONFIGURED at once; KV_STOPPED on abort.
 */
export function openLogWhenReachable(spec: LogSpec, options: OpenLogOptions): Promise<SharedLog> {
  const open = (): Promise<SharedLog> => options.logs.open(spec, { create: true });
  return whenReachable(open, { shard: spec.shard }, options);
}

/** Opens something that lives where the log does, waiting likewise. `details` are of the error when it does not come. */
export async function whenReachable<T>(
  open: () => Promise<T>,
  details: ErrorDetails,
  options: WaitForLogOptions,
): Promise<T> {
  const { clock, logger, startupTimeoutMs, where, signal } = options;
  const untilMs = clock.nowMs() + startupTimeoutMs;
  let delayMs = LOG_RETRY_MS;
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (!isKvError(error) || error.code !== 'KV_LOG_UNAVAILABLE') throw error;
      if (signal.aborted) throw new KvError('KV_STOPPED');
      const leftMs = untilMs - clock.nowMs();
      if (leftMs <= 0) throw gaveUp(error, details, options);
      logger.warn(
        { why: error.message, leftMs: Math.round(leftMs) },
        `waiting for the log at ${where}`,
      );
      await pause(Math.min(delayMs, leftMs), signal);
      delayMs = Math.min(delayMs * 2, RETRY_MS_MAX);
    }
  }
}

function gaveUp(last: KvError, details: ErrorDetails, options: WaitForLogOptions): KvError {
  const { startupTimeoutMs, where } = options;
  // The new error starts with the same words. OpenSSL's texts end with a line break, and this is to be one line.
  const why = last.message
    .replace(`${errorSpec(last.code).message}: `, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(' )', ')');
  const hints = ['check that the brokers run and log.brokers names them', last.details.hint];
  return new KvError(
    'KV_LOG_UNAVAILABLE',
    `${where} did not answer within ${startupTimeoutMs} ms (last: ${why})`,
    {
      cause: last,
      details: {
        ...details,
        hint: hints.filter((hint) => hint !== undefined).join('; '),
      },
    },
  );
}
