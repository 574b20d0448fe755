import { logOffset, type ShardId, shardId } from '@kvorum/base';
import { openKafkaLogs } from '@kvorum/log-kafka';
import type { HistoryWriter } from '@kvorum/simulator';

const READ_BYTES = 4 * 1024 * 1024;
const READ_WAIT_MS = 2000;
const UNAVAILABLE_MAX = 30;

/** Writes every record of the shards' topics, as they stand now, to the history. */
export async function recordLogs(
  history: HistoryWriter,
  from: { readonly brokers: readonly string[]; readonly topicPrefix: string },
  shards: readonly string[],
): Promise<void> {
  const logs = openKafkaLogs({
    brokers: from.brokers,
    topicPrefix: `${from.topicPrefix}raft-log-`,
    clientId: 'kvorum-chaos',
  });
  try {
    for (const shard of shards) await recordLog(history, shardId(shard), logs);
  } finally {
    await logs.close();
  }
}

async function recordLog(
  history: HistoryWriter,
  shard: ShardId,
  logs: ReturnType<typeof openKafkaLogs>,
): Promise<void> {
  const log = await logs.open({ shard, generation: 0 }, { create: false });
  const { signal } = new AbortController();
  let next = 0;
  let unavailable = 0;
  for (;;) {
    const options = { bytesMax: READ_BYTES, waitMs: READ_WAIT_MS, signal };
    const outcome = await log.read(logOffset(next), options);
    if (outcome.kind === 'records') {
      for (const { offset, bytes } of outcome.entries) {
        history.write({ type: 'log', shard, offset, bytes });
        next = offset + 1;
      }
      if (next >= outcome.end) return;
      continue;
    }
    unavailable += 1;
    if (outcome.kind === 'out-of-range' || unavailable > UNAVAILABLE_MAX) {
      throw new TypeError(`the log of shard ${shard} cannot be read at ${next}: ${outcome.kind}`);
    }
  }
}
