/**
 * Projects the log of one shard into a table, as any consumer of the topic can: docs/change-feed.md.
 *
 *   npx tsx docs/examples/change-feed.ts BROKER,BROKER TOPIC TABLE.json
 *
 * Reads what is new since the last run, writes the table and its place in the log to the file in one step, and ends.
 */
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fromUtf8 } from '@kvorum/base';
import { decodeOrigins, decodeWriteSet, writeSetEvents } from '@kvorum/mvcc';
import { decodeLogRecord, type LogRecord } from '@kvorum/wire';
import kafkajs from 'kafkajs';

interface Row {
  readonly value: string;
  readonly revision: number;
  readonly time: string;
  readonly by: string;
}

/** What a reader must keep beside its table: the next offset, and what the acceptance rule needs. */
interface Position {
  readonly offset: number;
  readonly term: number;
  readonly leaderId: string;
  readonly seq: number;
  readonly chainHash: string;
}

interface Projection {
  position: Position;
  readonly rows: Record<string, Row>;
}

const BEGIN: Position = { offset: 0, term: 0, leaderId: '', seq: 0, chainHash: '00'.repeat(32) };

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The acceptance rule. Undefined: a deposed leader's record, as if it were not there. */
function accept(before: Position, record: LogRecord, bytes: Uint8Array): Position | undefined {
  const chainHash = hex(sha256(Buffer.from(before.chainHash, 'hex'), sha256(bytes)));
  const { term, leaderId, seq } = record;
  if (record.kind === 'barrier') {
    return term > before.term ? { ...before, term, leaderId, seq: 0, chainHash } : undefined;
  }
  if (term > before.term) throw new Error(`no barrier of term ${term} came before its records`);
  if (term < before.term || leaderId !== before.leaderId || seq <= before.seq) return undefined;
  if (seq > before.seq + 1 || hex(record.prevHash) !== before.chainHash) {
    throw new Error('the log has lost or changed records below this one');
  }
  return { ...before, seq, chainHash };
}

function apply(rows: Record<string, Row>, record: LogRecord): void {
  if (record.kind !== 'batch') return;
  const writeSet = decodeWriteSet(record.payload);
  if (!writeSet.ok) throw writeSet.error;
  const { baseRevision, origins } = writeSet.value;
  const known = origins === undefined ? undefined : decodeOrigins(origins);
  for (const { type, kv } of writeSetEvents(writeSet.value)) {
    const key = fromUtf8(kv.key);
    if (type === 'delete') {
      delete rows[key];
      continue;
    }
    const origin =
      known?.ok === true ? known.value.of(kv.modRevision - baseRevision - 1) : undefined;
    rows[key] = {
      value: fromUtf8(kv.value),
      revision: kv.modRevision,
      time: new Date(record.leaderTimeMs).toISOString(),
      by: origin?.client ?? '',
    };
  }
}

/** One record of the topic: judged, and applied when it counts. */
function take(projection: Projection, offset: number, bytes: Uint8Array): void {
  const record = decodeLogRecord(bytes);
  if (!record.ok) throw new Error(`offset ${offset}: ${record.error}`);
  const accepted = accept(projection.position, record.value, bytes);
  if (accepted !== undefined) apply(projection.rows, record.value);
  projection.position = { ...(accepted ?? projection.position), offset: offset + 1 };
}

function load(file: string): Projection {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Projection;
  } catch {
    return { position: BEGIN, rows: {} };
  }
}

/** Table and place together: after a crash neither is ahead of the other. */
function save(file: string, projection: Projection): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(projection, undefined, 2)}\n`);
  renameSync(`${file}.new`, file);
}

async function readTo(kafka: kafkajs.Kafka, topic: string, projection: Projection): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  const [bounds] = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const [start, end] = [Number(bounds?.low), Number(bounds?.high)];
  if (projection.position.offset < start) {
    throw new Error(`the topic begins at offset ${start}: begin with a backup of that time`);
  }
  if (projection.position.offset >= end) return;
  // To disconnect waits for the fetch under way, and one at the end of the topic for new records: 5 s unless told.
  const wait = { maxWaitTimeInMs: 200 };
  const consumer = kafka.consumer({ groupId: `change-feed-${process.pid}`, ...wait });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const reachedEnd = new Promise<void>((resolve, reject) => {
    const eachMessage = async ({ message }: kafkajs.EachMessagePayload): Promise<void> => {
      const offset = Number(message.offset);
      if (offset < projection.position.offset || offset >= end) return;
      try {
        take(projection, offset, message.value ?? new Uint8Array(0));
      } catch (error) {
        reject(error as Error);
      }
      if (projection.position.offset >= end) resolve();
    };
    consumer.run({ autoCommit: false, eachMessage }).catch(reject);
    consumer.seek({ topic, partition: 0, offset: String(projection.position.offset) });
  });
  try {
    await reachedEnd;
  } finally {
    await consumer.disconnect();
  }
}

const [brokers = '', topic = '', file = ''] = process.argv.slice(2);
if (file === '') throw new Error('usage: change-feed.ts BROKER,BROKER TOPIC TABLE.json');
const projection = load(file);
const kafka = new kafkajs.Kafka({
  clientId: 'change-feed',
  brokers: brokers.split(','),
  logLevel: kafkajs.logLevel.ERROR,
});
await readTo(kafka, topic, projection);
save(file, projection);
const count = Object.keys(projection.rows).length;
process.stdout.write(`${count} keys, next offset ${projection.position.offset}\n`);
