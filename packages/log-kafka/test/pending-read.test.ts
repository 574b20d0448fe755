import { setTimeout as pause } from 'node:timers/promises';
import { KvError, logOffset } from '@kvorum/base';
import type { ReadOutcome } from '@kvorum/ports';
import { expect, it } from 'vitest';
import { PendingRead, type ReadTopic } from '../src/pending-read.ts';

const WAIT_MS = 5;

/** A read of a topic that was answered so long ago, after its time is over. */
async function lateRead(answeredAgoMs: number | undefined): Promise<{
  readonly read: PendingRead;
  readonly outcome: Promise<ReadOutcome>;
}> {
  const topic: ReadTopic = {
    topic: 'raft-log-0',
    end: logOffset(7),
    answeredMs: answeredAgoMs === undefined ? undefined : performance.now() - answeredAgoMs,
    stash: undefined,
    inFlight: undefined,
  };
  let made: PendingRead | undefined;
  const outcome = new Promise<ReadOutcome>((resolve) => {
    const { signal } = new AbortController();
    const options = { bytesMax: 1, waitMs: WAIT_MS, signal };
    made = new PendingRead({
      ...{ topic, options, resolve },
      from: logOffset(7),
      onSettled: () => undefined,
    });
  });
  if (made === undefined) throw new TypeError('no read');
  // Far behind the deadline of a timer that was set before.
  await pause(10 * WAIT_MS);
  return { read: made, outcome };
}

const GONE = new KvError('KV_LOG_UNAVAILABLE', 'nobody answers');

it('says that nothing is new when a broker said so a moment ago', async () => {
  const { outcome } = await lateRead(0);
  expect(await outcome).toEqual({ kind: 'records', entries: [], end: 7 });
});

it.each([
  ['for long', 60_000],
  ['yet', undefined],
])('does not take a log that has not answered %s for one with nothing new', async (_, agoMs) => {
  const { read, outcome } = await lateRead(agoMs);
  read.fail(GONE);
  expect(await outcome).toEqual({ kind: 'unavailable', error: GONE });
});
