import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shardId } from '@kvorum/base';
import { connect, type Entry } from '@kvorum/client';
import { openLocalLogs } from '@kvorum/log-local';
import S3rver from 's3rver';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freeDevPort } from '../../scripts/free-ports.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { Command, KVCTL, KVD } from './command.ts';

/** Backup, loss and restore through the built command lines, on the embedded log: as docs/backup.md tells. */
let running: Command[] = [];
let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kvorum-backup-'));
});
afterEach(async () => {
  await Promise.all(running.map((command) => command.kill()));
  running = [];
  rmSync(root, { recursive: true, force: true });
});

const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED a lost cluster on Kafka, no Kafka: ${kafka.reasons.join('; ')}\n`);
}
afterAll(async () => {
  if (kafka.kind === 'available') await kafka.stop();
});

interface Dev {
  readonly endpoint: string;
  readonly directory: string;
  readonly command: Command;
}

async function dev(
  name: string,
  shards: number,
  environment: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Promise<Dev> {
  const members = flags.includes('--members') ? 3 : 1;
  const port = await freeDevPort(members);
  const directory = join(root, name);
  const command = new Command(
    KVD,
    [
      ...['dev', '--members', '1', '--shards', String(shards)],
      ...['--client-port', String(port), '--data-dir', directory, ...flags],
    ],
    { environment: { KVD_CLUSTER_NAME: name, ...environment } },
  );
  running.push(command);
  await command.until('Ctrl-C stops.');
  return { endpoint: `http://127.0.0.1:${port}`, directory, command };
}

async function kvctl(cluster: Dev, ...args: readonly string[]): Promise<string> {
  const command = new Command(KVCTL, ['--endpoints', cluster.endpoint, ...args]);
  const { code, output } = await command.end();
  expect(code, `kvctl ${args.join(' ')}: ${output}`).toBe(0);
  return output;
}

type Content = ReadonlyMap<string, readonly [value: string, mod: number, version: number]>;

async function contentOf(cluster: Dev): Promise<Content> {
  const client = await connect({ endpoints: [cluster.endpoint] });
  const { entries } = await client.getAll({ prefix: '' });
  await client.close();
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  return new Map(
    entries.map((entry: Entry) => [
      text(entry.key),
      [text(entry.value), entry.modRevision, entry.version],
    ]),
  );
}

/** Writes until told to stop; answers what was acknowledged. */
function writer(cluster: Dev): { stop(): Promise<ReadonlyMap<string, string>> } {
  const acknowledged = new Map<string, string>();
  let stopped = false;
  const run = async (): Promise<void> => {
    const client = await connect({ endpoints: [cluster.endpoint] });
    for (let i = 0; !stopped; i += 1) {
      const key = `load${i % 13}/key${i % 101}`;
      await client.put(key, `value ${i}`);
      acknowledged.set(key, `value ${i}`);
    }
    await client.close();
  };
  const done = run();
  return {
    stop: async () => {
      stopped = true;
      await done;
      return acknowledged;
    },
  };
}

describe('backup and restore', () => {
  it('saves under load, loses everything, restores into other shards, and refuses damage', async () => {
    const store = join(root, 'backups');
    const old = await dev('old', 3);
    const load = writer(old);
    for (let i = 0; i < 20; i += 1) await kvctlPut(old, `steady/${i}`, `kept ${i}`);
    await kvctl(old, 'backup', 'save', store, '--name', 'under-load');
    const acknowledged = await load.stop();
    expect(acknowledged.size).toBeGreaterThan(0);
    await kvctl(old, 'backup', 'save', store, '--name', 'quiet');
    const before = await contentOf(old);
    await old.command.kill();
    rmSync(old.directory, { recursive: true });

    const fresh = await dev('fresh', 5, {}, ['--members', '3']);
    const report = await kvctl(fresh, 'restore', store);
    expect(report).toMatch(`restored ${before.size} keys from 3 shards into 5`);
    expect(await contentOf(fresh)).toEqual(before);
    expect(await kvctl(fresh, 'backup', 'verify', store, '--backup', 'under-load')).toMatch(
      'backup under-load is proven',
    );
    const listed = JSON.parse(await kvctl(fresh, '-w', 'json', 'backup', 'list', store)) as {
      readonly backups: readonly { readonly name: string }[];
    };
    expect(listed.backups.map(({ name }) => name)).toEqual(['under-load', 'quiet']);

    const file = join(store, '1', 'quiet');
    const bytes = readFileSync(file);
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const refused = await new Command(KVCTL, ['backup', 'verify', store]).end();
    expect(refused.code).toBe(4);
    expect(refused.output).toMatch(/quiet is DAMAGED:\nshard 1: .*damaged snapshot at byte \d+/);
  });

  it('keeps of the log what no copy holds: both together are everything', async () => {
    const store = join(root, 'copies');
    const old = await dev('short', 2, {
      KVD_SNAPSHOTS_STORE: store,
      KVD_SNAPSHOTS_INTERVAL_MS: '1000',
      KVD_LIMITS_TRUNCATE_MS: '200',
      KVD_LIMITS_TRUNCATE_SLACK_RECORDS: '1',
      KVD_LIMITS_TRUNCATE_SLACK_BYTES: '1',
      KVD_LIMITS_TRUNCATE_SLACK_MS: '1',
      KVD_LIMITS_DURABLE_MS: '100',
    });
    const load = writer(old);
    await until(() => sealed(store, '0') >= 3 && sealed(store, '1') >= 3);
    const acknowledged = await load.stop();
    const last = await contentOf(old);
    await old.command.kill();
    for (const name of readdirSync(old.directory)) {
      if (name !== 'log') rmSync(join(old.directory, name), { recursive: true });
    }
    const directory = join(old.directory, 'log');
    expect(await firstOffset(directory)).toBeGreaterThan(0);
    const fresh = await dev('again', 3);
    await kvctl(fresh, 'restore', store, '--log-dir', directory);
    const found = await contentOf(fresh);
    for (const [key, value] of acknowledged) expect(found.get(key)?.[0]).toBe(value);
    expect(found).toEqual(last);
  });

  it('comes back from the newest copies and the log, to its end, to a time and to revisions', async () => {
    const store = join(root, 'copies');
    const old = await dev('lost', 2, {
      KVD_SNAPSHOTS_STORE: `dir://${store}`,
      KVD_SNAPSHOTS_INTERVAL_MS: '1000',
      KVD_SNAPSHOTS_KEEP: '2',
    });
    for (let i = 0; i < 30; i += 1) await kvctlPut(old, `dir${i % 5}/key${i}`, `early ${i}`);
    await until(() => ['0', '1', 'meta'].every((shard) => existsSync(join(store, shard))));
    await until(() => ['0', '1', 'meta'].every((shard) => sealed(store, shard) > 0));
    // From here on the copies are frozen: what follows is in the log alone.
    const frozen = join(root, 'frozen');
    cpSync(store, frozen, { recursive: true });
    await kvctlPut(old, 'dir0/key0', 'second');
    const middle = await contentOf(old);
    const between = new Date();
    await until(() => Date.now() > between.getTime() + 5);
    await kvctlPut(old, 'dir0/key0', 'third');
    const last = await contentOf(old);
    expect(sealed(store, '0')).toBeLessThanOrEqual(3);
    await old.command.kill();
    for (const name of readdirSync(old.directory)) {
      if (name !== 'log') rmSync(join(old.directory, name), { recursive: true });
    }
    const log = ['--log-dir', join(old.directory, 'log')];
    const end = await dev('end', 3);
    await kvctl(end, 'restore', frozen, ...log);
    expect(await contentOf(end)).toEqual(last);
    const time = await dev('time', 1);
    await kvctl(time, 'restore', frozen, ...log, '--at', between.toISOString());
    expect(await contentOf(time)).toEqual(middle);
    const [, modRevision] = middle.get('dir0/key0') ?? [];
    const revisions = await dev('revisions', 1);
    await kvctl(revisions, 'restore', frozen, ...log, '--at', String(modRevision));
    expect((await contentOf(revisions)).get('dir0/key0')?.[0]).toBe('second');
    const again = ['--endpoints', revisions.endpoint, 'restore', frozen, ...log];
    const refused = await new Command(KVCTL, again).end();
    expect(refused.output).toMatch('not empty');
    expect(refused.code).toBe(4);
  });
});

describe.skipIf(kafka.kind === 'unavailable')('a cluster on Kafka with copies in S3', () => {
  it('comes back whole when all its members are lost', async () => {
    const { bootstrap } = kafka as AvailableKafka;
    const directory = join(root, 's3');
    const bucket = { name: 'copies' };
    const s3 = new S3rver({
      ...{ port: 0, address: '127.0.0.1', silent: true },
      ...{ directory, configureBuckets: [bucket] },
    });
    const { port } = await s3.run();
    const credentials = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };
    const topicPrefix = `backup-${process.pid}-`;
    const endpoint = `http://127.0.0.1:${port}`;
    const store = 's3://copies/prod';
    const old = await dev(
      'on-kafka',
      2,
      {
        ...credentials,
        KVD_SNAPSHOTS_STORE: store,
        KVD_SNAPSHOTS_ENDPOINT: endpoint,
        KVD_SNAPSHOTS_INTERVAL_MS: '1000',
        KVD_LOG_TOPIC_PREFIX: topicPrefix,
        KVD_LIMITS_TRUNCATE_MS: '200',
        KVD_LIMITS_TRUNCATE_SLACK_RECORDS: '1',
        KVD_LIMITS_TRUNCATE_SLACK_BYTES: '1',
        KVD_LIMITS_TRUNCATE_SLACK_MS: '1',
        KVD_LIMITS_DURABLE_MS: '100',
      },
      ['--log', 'kafka', '--brokers', bootstrap],
    );
    const load = writer(old);
    await until(async () => (await copiesOf(old)) >= 6);
    await load.stop();
    const last = await contentOf(old);
    await old.command.kill();
    rmSync(old.directory, { recursive: true });
    const fresh = await dev('off-kafka', 3);
    const args = ['--endpoints', fresh.endpoint, 'restore', store, '--store-endpoint', endpoint];
    const log = ['--log-brokers', bootstrap, '--log-prefix', topicPrefix];
    const restore = new Command(KVCTL, [...args, ...log], { environment: credentials });
    const { code, output } = await restore.end();
    expect(code, output).toBe(0);
    expect(await contentOf(fresh)).toEqual(last);
    await s3.close();
  });
});

/** Copies that the members say they have written. */
async function copiesOf(cluster: Dev): Promise<number> {
  const metrics = await (await fetch(`${cluster.endpoint}/metrics`)).text();
  const counts = metrics.matchAll(/^kv_snapshot_copies_total\{[^}]*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function kvctlPut(cluster: Dev, key: string, value: string): Promise<void> {
  const answer = await fetch(`${cluster.endpoint}/v1/kv/keys/${encodeURIComponent(key)}`, {
    method: 'PUT',
    headers: { 'content-type': 'text/plain' },
    body: value,
  });
  expect(answer.status).toBe(200);
}

/** Of shard 0's log: what is below was truncated. */
async function firstOffset(directory: string): Promise<number> {
  const logs = await openLocalLogs({ directory });
  const log = await logs.forMember().open({ shard: shardId(0), generation: 0 }, { create: false });
  const bounds = await log.bounds();
  await logs.close();
  return 'start' in bounds ? bounds.start : -1;
}

const sealed = (store: string, shard: string): number =>
  existsSync(join(store, shard))
    ? readdirSync(join(store, shard)).filter((name) => name.endsWith('.sealed')).length
    : 0;

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(60_000);
  while (!(await holds())) {
    if (deadline.aborted) throw new TypeError('never came to hold');
    await new Promise((done) => setTimeout(done, 20));
  }
}
