import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';
import { kvctl, type Ran, type Surroundings } from './support/run-kvctl.ts';

let cluster: DevCluster;
let endpoints: string;

beforeAll(async () => {
  const started = await startDevCluster(4);
  cluster = started.cluster;
  endpoints = started.endpoint;
});
afterAll(async () => {
  await cluster.stop();
});

const on = (args: readonly string[], around?: Surroundings): Promise<Ran> =>
  kvctl(['--endpoints', endpoints, ...args], around);
const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await on(args);
  expect(ran).toMatchObject({ code: 0, err: '' });
  return ran.out;
};

describe('keys', () => {
  it('put, get and del print what etcdctl prints', async () => {
    expect(await out('put', 'greeting', 'hello')).toBe('OK\n');
    expect(await out('get', 'greeting')).toBe('greeting\nhello\n');
    expect(await out('get', 'greeting', '--print-value-only')).toBe('hello\n');
    expect(await out('put', 'greeting', 'bonjour', '--prev-kv')).toBe('OK\ngreeting\nhello\n');
    expect(await out('del', 'greeting', '--prev-kv')).toBe('1\ngreeting\nbonjour\n');
    expect(await out('get', 'greeting')).toBe('');
    expect(await out('del', 'greeting')).toBe('0\n');
  });

  it('takes values from standard input, byte for byte', async () => {
    expect(await on(['put', 'file', '-'], { stdin: 'two\nlines\n' })).toMatchObject({ code: 0 });
    expect(await out('get', 'file', '--print-value-only')).toBe('two\nlines\n\n');
  });

  it('takes what stands behind -- as it is, also for a key named like a command', async () => {
    expect(await out('put', 'watch', '--', '-5')).toBe('OK\n');
    expect(await out('get', 'watch')).toBe('watch\n-5\n');
  });

  it('stores an empty value only when told so', async () => {
    const refused = await on(['put', 'nothing'], { stdin: '' });
    expect(refused).toMatchObject({ code: 3, out: '' });
    expect(refused.err).toContain('kvctl put nothing "" to store an empty value');
    expect(await out('get', 'nothing')).toBe('');
    expect(await out('put', 'nothing', '')).toBe('OK\n');
    expect(await on(['put', 'nothing', '-'], { stdin: '' })).toMatchObject({ code: 0 });
    expect(await out('get', 'nothing')).toBe('nothing\n\n');
    expect(await on(['put', 'piped'], { stdin: 'v' })).toMatchObject({ code: 0 });
    expect(await out('get', 'piped')).toBe('piped\nv\n');
  });

  it('reads ranges over all shards in order', async () => {
    for (const name of ['x1', 'x2', 'x3']) await out('put', name, name.toUpperCase());
    expect(await out('get', 'x', '--prefix')).toBe('x1\nX1\nx2\nX2\nx3\nX3\n');
    expect(await out('get', 'x', '--prefix', '--count-only')).toBe('3\n');
    expect(await out('get', 'x', '--prefix', '--keys-only', '--limit', '1')).toBe('x1\n\n');
    expect(await out('get', 'x2', 'x3')).toBe('x2\nX2\n');
    expect(await out('get', 'x', '--prefix', '--order', 'DESCEND', '--print-value-only')).toBe(
      'X3\nX2\nX1\n',
    );
    expect(await out('get', 'x1', '--consistency', 's')).toBe('x1\nX1\n');
  });

  it('prints JSON with text where there is text, base64 where not', async () => {
    await out('put', 'json', 'ä');
    const result: unknown = JSON.parse(await out('get', 'json', '-w', 'json'));
    expect(result).toMatchObject({
      count: 1,
      more: false,
      kvs: [{ key: 'json', value: 'ä', version: 1, lease: '0' }],
    });
  });

  it('deletes a range over shards only when told so', async () => {
    for (const name of ['y1', 'y2', 'y3', 'y4']) await out('put', name, 'v');
    const refused = await on(['del', 'y', '--prefix']);
    expect(refused).toMatchObject({ code: 3, out: '' });
    expect(refused.err).toMatch(/^Error: .*\(KV_CROSS_SHARD\)\nWhy: .*\nNext: .*--each-shard/s);
    expect(await out('del', 'y', '--prefix', '--each-shard')).toBe('4\n');
  });
});

describe('txn', () => {
  it('runs a script from standard input', async () => {
    const stdin = 'ver("{t}a") = "0"\n\nput {t}a 1\nput {t}b 2\nget {t}a\n\nget {t}a\n';
    const first = await on(['txn'], { stdin });
    expect(first).toMatchObject({ code: 0, out: 'SUCCESS\n\nOK\n\nOK\n\n{t}a\n1\n' });
    expect((await on(['txn'], { stdin })).out).toBe('FAILURE\n\n{t}a\n1\n');
  });

  it('runs a JSON file', async () => {
    const path = join(cluster.directory, 'txn.json');
    writeFileSync(path, JSON.stringify({ success: [{ op: 'put', key: '{f}', value: '1' }] }));
    const result: unknown = JSON.parse(await out('txn', '-f', path, '-w', 'json'));
    expect(result).toMatchObject({ op: 'txn', succeeded: true, responses: [{ op: 'put' }] });
    expect(await on(['txn', '-f', `${path}.gone`])).toMatchObject({ code: 6 });
  });
});

describe('watch', () => {
  it('prints events, as lines or as JSON lines', async () => {
    const { shard, revision } = JSON.parse(await out('put', 'w', '1', '-w', 'json')) as {
      shard: string;
      revision: number;
    };
    await out('del', 'w');
    const from = ['--rev', String(revision), '--count', '2'];
    expect(await out('watch', 'w', ...from)).toBe('PUT\nw\n1\nDELETE\nw\n\n');
    const lines = (await out('watch', 'w', ...from, '-w', 'json')).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { type: 'put', shard, revision, kv: { key: 'w', value: '1' } },
      { type: 'delete', shard, revision: revision + 1, kv: { key: 'w' } },
    ]);
  });

  it('runs a command for each event', async () => {
    const { revision } = JSON.parse(await out('put', 'e', '1', '-w', 'json')) as {
      revision: number;
    };
    const from = ['--rev', String(revision), '--count', '1'];
    const print = 'echo "$KVCTL_WATCH_EVENT_TYPE $KVCTL_WATCH_KEY=$KVCTL_WATCH_VALUE"';
    expect(await out('watch', 'e', ...from, '--exec', print)).toBe('PUT e=1\n');
    expect(await out('watch', 'e', ...from, '--', 'sh', '-c', print)).toBe('PUT e=1\n');
    expect(await on(['watch', 'e', ...from, '--exec', 'exit 3'])).toMatchObject({ code: 1 });
  });

  it('ends after --timeout, when one is given: planned with 0, short of --count with 4', async () => {
    expect(await on(['--timeout', '300ms', 'watch', 'quiet'])).toEqual({
      code: 0,
      out: '',
      err: '',
    });
    const short = await on(['--timeout', '300ms', 'watch', 'quiet', '--count', '2']);
    expect(short).toMatchObject({ code: 4, out: '' });
    expect(short.err).toMatch(/^Error: 0 of 2 events came within --timeout\nNext: {2}watch again/);
  });

  it('refuses an empty key as a get does', async () => {
    const ran = await on(['--timeout', '5s', 'watch', '']);
    expect(ran).toMatchObject({ code: 3, out: '' });
    expect(ran.err).toContain('KV_EMPTY_KEY');
  });

  it('--count 0 ends as soon as the watch stands', async () => {
    expect(await on(['watch', 'quiet', '--count', '0'])).toEqual({ code: 0, out: '', err: '' });
  });

  it('ends with 5 when interrupted', async () => {
    const interrupt = new AbortController();
    const ran = on(['watch', 'i'], { signal: interrupt.signal });
    interrupt.abort();
    expect(await ran).toMatchObject({ code: 5 });
  });
});

describe('cluster', () => {
  it('status shows members, shards and one leader each', async () => {
    const text = await out('status');
    expect(text).toMatch(/^cluster [0-9a-f]{16}, 3 of 3 members up, 4 shards/);
    expect(text).toMatch(/^SHARD +TERM +REVISION +m1 +m2 +m3$/m);
    for (const shard of ['0', '1', '2', '3', 'meta']) {
      const row = text.split('\n').find((line) => line.startsWith(`${shard} `));
      expect(row?.match(/\*/g)).toHaveLength(1);
    }
    expect(text).not.toContain('\u001b[');
    const coloured = await on(['status'], { terminal: true });
    expect(coloured.out).toContain('\u001b[32m*');
    const plain = await on(['status'], { terminal: true, env: { NO_COLOR: '1' } });
    expect(plain.out).not.toContain('\u001b[');
    expect(JSON.parse(await out('status', '-w', 'json'))).toMatchObject({ healthy: true });
  });

  it('lists members, shards and endpoints', async () => {
    expect(await out('member', 'list')).toMatch(/^[0-9a-f]{16}, m1, 127\.0\.0\.1:\d+, http:/);
    expect(await out('shard', 'list')).toMatch(/^0, 0-4095, m\d, \d+, \d+, m\d m\d m\d$/m);
    expect(await out('shard', 'where', '{t}a')).toMatch(/^\{t\}a, [0-3], m\d\n$/);
    expect(await out('endpoint', 'health', '--cluster')).toMatch(
      /(.* is healthy: took .* ms\n){3}/,
    );
    expect(await out('endpoint', 'status', '-w', 'table')).toContain('| ENDPOINT ');
  });

  it('hands over leadership', async () => {
    const shards = JSON.parse(await out('shard', 'list', '-w', 'json')) as {
      shard: string;
      leader: string;
      voters: string[];
    }[];
    const target = shards[0]?.voters.find((id) => id !== shards[0]?.leader) ?? '';
    expect(await out('leader', 'transfer', '0', target)).toBe(
      `Leadership of shard 0 transferred to ${target}\n` +
        `It stays there for 10 minutes, or until ${target} restarts; ` +
        'then leaders are spread evenly again.\n',
    );
    expect(await on(['leader', 'transfer', '0', 'nobody'])).toMatchObject({ code: 3 });
    expect(await on(['leader', 'transfer', '77', 'm1'])).toMatchObject({ code: 3 });
  });

  it('compacts, and says what is gone', async () => {
    const { shard, revision } = JSON.parse(await out('put', 'c', '2', '-w', 'json')) as {
      shard: string;
      revision: number;
    };
    expect(await out('compaction', String(revision), '--shard', shard)).toBe(
      `compacted revision ${revision}\n`,
    );
    const gone = await on(['get', 'c', '--rev', String(revision - 1)]);
    expect(gone).toMatchObject({ code: 4, out: '' });
    expect(gone.err).toContain(`(KV_COMPACTED)\nNext:  ask for revision ${revision} or later`);
    const future = await on(['compaction', String(revision + 1000)]);
    expect(future.err).toContain('KV_FUTURE_REVISION');
  });

  it('measures', async () => {
    expect(await out('bench', 'put', '-n', '50', '--concurrency', '10')).toMatch(
      /throughput +\d+\/s in .* s\nlatency ms +p50 .* max /,
    );
    const result: unknown = JSON.parse(await out('bench', 'mixed', '-n', '50', '-w', 'json'));
    expect(result).toMatchObject({ operations: 50, failed: 0 });
  });
});
