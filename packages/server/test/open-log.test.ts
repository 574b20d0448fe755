import { KvError, shardId } from '@kvorum/base';
import type { SharedLogs } from '@kvorum/ports';
import { createLogger, errorLine, loadConfig, systemClock } from '@kvorum/server';
import { expect, it } from 'vitest';
import { openLogWhenReachable } from '../src/member/open-log.ts';

function opening(fails: KvError, startupTimeoutMs: number): Promise<unknown> {
  const logs: SharedLogs = {
    open: () => Promise.reject(fails),
    verify: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
  const { config } = loadConfig({ environment: {}, flags: {} });
  const options = {
    ...{ logs, clock: systemClock, startupTimeoutMs, where: 'k1:9092' },
    logger: createLogger(config, { write: () => undefined }),
    signal: new AbortController().signal,
  };
  return openLogWhenReachable({ shard: shardId(0), generation: 0 }, options);
}

const failureOf = (fails: KvError): Promise<KvError> =>
  opening(fails, 0).then(
    () => expect.unreachable(),
    (error: KvError) => error,
  );

it('says why the last try failed when it gives up, and what to do', async () => {
  const cause = new KvError('KV_LOG_UNAVAILABLE', 'none answers (alert\n number 46\n)', {
    details: { hint: 'check the network' },
  });
  const error = await failureOf(cause);
  expect(error).toMatchObject({ code: 'KV_LOG_UNAVAILABLE', cause });
  expect(errorLine(error)).toMatch(
    /k1:9092 did not answer within 0 ms \(last: none answers \(alert number 46\)\) · check that the brokers run and log\.brokers names them; check the network \(KV_LOG_UNAVAILABLE\)$/,
  );
});

it('gives its own advice when the last failure has none', async () => {
  const error = await failureOf(new KvError('KV_LOG_UNAVAILABLE'));
  expect(error.details.hint).toBe('check that the brokers run and log.brokers names them');
});

it('does not try again what only another configuration mends', async () => {
  const fails = new KvError('KV_CONFIG', 'refused');
  await expect(opening(fails, 60_000)).rejects.toBe(fails);
});
