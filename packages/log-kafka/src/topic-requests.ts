import { KvError, type LogOffset } from '@kvorum/base';
import type { LogBounds } from '@kvorum/ports';
import type { BrokerConnection } from './broker-connection.ts';
import type { ClusterView } from './cluster-view.ts';
import { errorName, NO_ERROR, parseOffset, reasonOf } from './kafka-errors.ts';

const EARLIEST = -2;
const LATEST = -1;

/**
 * Runs a request that is safe to repeat at the broker that leads `topic`, on the connection for occasional requests; once more with
 * fresh metadata when that fails, since leaders move. Throws KV_LOG_UNAVAILABLE.
 */
async function atLeader<T>(
  view: ClusterView,
  topic: string,
  request: (connection: BrokerConnection) => Promise<T>,
): Promise<T> {
  const first = await attempt(view, topic, request);
  const second = first instanceof KvError ? await attempt(view, topic, request) : first;
  if (second instanceof KvError) throw second;
  return second;
}

async function attempt<T>(
  view: ClusterView,
  topic: string,
  request: (connection: BrokerConnection) => Promise<T>,
): Promise<T | KvError> {
  if (view.leaderOf(topic) === undefined) await view.refresh();
  const leader = view.leaderOf(topic);
  if (leader === undefined) return new KvError('KV_LOG_UNAVAILABLE', `${topic} has no leader`);
  try {
    return await request(await view.connection(leader));
  } catch (cause) {
    view.suspect(topic);
    // A broker that says something is alive; one that does not answer has lost this connection.
    if (cause instanceof KvError) return cause;
    await view.drop(leader);
    return new KvError('KV_LOG_UNAVAILABLE', `${topic}: ${reasonOf(cause)}`, { cause });
  }
}

function check(topic: string, code: number | undefined): void {
  if (code === NO_ERROR) return;
  const what = code === undefined ? 'an answer without the topic' : errorName(code);
  throw new KvError('KV_LOG_UNAVAILABLE', `${topic}: ${what}`);
}

async function listOffset(
  connection: BrokerConnection,
  topic: string,
  timestamp: number,
): Promise<LogOffset> {
  const partitions = [{ partition: 0, timestamp }];
  const answer = await connection.call('ListOffsets', {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ topic, partitions }],
  });
  const found = answer.responses
    .find((one) => one.topic === topic)
    ?.partitions.find(({ partition }) => partition === 0);
  check(topic, found?.errorCode);
  const offset = parseOffset(found?.offset);
  if (offset !== undefined) return offset;
  throw new KvError('KV_LOG_UNAVAILABLE', `${topic}: offset ${found?.offset} is beyond 2^53`);
}

/** First and next offset, as the leader sees them now. Throws KV_LOG_UNAVAILABLE. */
export function fetchBounds(view: ClusterView, topic: string): Promise<LogBounds> {
  return atLeader(view, topic, async (connection) => {
    // The start first: it only grows, so a truncation in between cannot put it above the end.
    const start = await listOffset(connection, topic, EARLIEST);
    return { start, end: await listOffset(connection, topic, LATEST) };
  });
}

/** Deletes the records below `before`. Throws KV_LOG_UNAVAILABLE, also when `before` is above the end. */
export function deleteRecords(view: ClusterView, topic: string, before: LogOffset): Promise<void> {
  return atLeader(view, topic, async (connection) => {
    const partitions = [{ partition: 0, offset: String(before) }];
    const answer = await connection.call('DeleteRecords', { topics: [{ topic, partitions }] });
    const found = answer.topics.find((one) => one.topic === topic)?.partitions[0];
    check(topic, found?.errorCode);
  });
}
