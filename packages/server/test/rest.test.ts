import { describe, expect, it } from 'vitest';
import { useOneMember } from './support/use-member.ts';

const member = useOneMember({ 'limits.requestBytesMax': 10_000 });

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(method: string, path: string, body?: unknown): Promise<Answer> {
  const init =
    body === undefined
      ? { method }
      : {
          method,
          body: typeof body === 'string' ? body : JSON.stringify(body),
          headers: { 'content-type': 'application/json' },
        };
  const response = await fetch(`${member.url}${path}`, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('keys under their own URL', () => {
  it('puts, gets and deletes', async () => {
    expect(await call('PUT', '/v1/kv/keys/a/b', { value: 'one' })).toMatchObject({ status: 200 });
    const got = await call('GET', '/v1/kv/keys/a/b');
    expect(got).toMatchObject({ status: 200, body: { key: 'a/b', value: 'one', version: 1 } });
    expect(await call('DELETE', '/v1/kv/keys/a/b?prevKv=true')).toMatchObject({
      status: 200,
      body: { deleted: 1, prevKvs: [{ key: 'a/b', value: 'one' }] },
    });
    expect(await call('GET', '/v1/kv/keys/a/b')).toMatchObject({
      status: 404,
      body: { error: { code: 'KV_NOT_FOUND', outcome: 'not-applied' } },
    });
  });

  it('takes the raw bytes of a value', async () => {
    const put = await fetch(`${member.url}/v1/kv/keys/raw`, {
      method: 'PUT',
      body: new Uint8Array([0xff, 0x00]),
      headers: { 'content-type': 'application/octet-stream' },
    });
    expect(put.status).toBe(200);
    const got = await call('GET', '/v1/kv/keys/raw');
    expect(got.body).toMatchObject({ key: 'raw', valueBase64: '/wA=' });
    expect(got.body['value']).toBeUndefined();
  });

  it('takes keys that are not UTF-8 as base64', async () => {
    const key = encodeURIComponent(Buffer.from([0xfe, 0x2f, 0x01]).toString('base64'));
    await call('PUT', `/v1/kv/keys/${key}?encoding=base64`, { value: 'v' });
    const got = await call('GET', `/v1/kv/keys/${key}?encoding=base64`);
    expect(got.body).toMatchObject({ keyBase64: '/i8B', value: 'v' });
  });
});

describe('requests as JSON', () => {
  it('reads a prefix over several shards, merged in key order, with the revision of each', async () => {
    const keys = ['p/a', 'p/b/c', 'p/d/e', 'p/f/g/h', 'p/z'];
    for (const key of [...keys].reverse()) await call('POST', '/v1/kv/put', { key, value: key });
    const got = await call('POST', '/v1/kv/range', { key: 'p/', prefix: true });
    const found = (got.body['kvs'] as { key: string }[]).map((kv) => kv.key);
    expect(found).toEqual(keys);
    expect(got.body).toMatchObject({ count: 5, more: false });
    expect(Object.keys(got.body['shards'] as object)).toEqual(['0', '1']);
    const some = await call('POST', '/v1/kv/range', { key: 'p/', prefix: true, limit: 2 });
    expect((some.body['kvs'] as { key: string }[]).map((kv) => kv.key)).toEqual(['p/a', 'p/b/c']);
    expect(some.body).toMatchObject({ count: 5, more: true });
  });

  it('reads every key with an empty prefix', async () => {
    await call('POST', '/v1/kv/put', { key: 'everything', value: '' });
    const got = await call('POST', '/v1/kv/range', { key: '', prefix: true, keysOnly: true });
    expect(got.status).toBe(200);
    expect((got.body['kvs'] as { key: string }[]).map((kv) => kv.key)).toContain('everything');
  });

  it('runs a txn, and again on the other branch', async () => {
    const txn = {
      compare: [{ key: 'once', target: 'create', result: 'equal', value: 0 }],
      success: [{ op: 'put', key: 'once', value: { base64: 'AQI=' } }],
      failure: [{ op: 'range', key: 'once' }],
    };
    expect((await call('POST', '/v1/kv/txn', txn)).body).toMatchObject({ succeeded: true });
    expect((await call('POST', '/v1/kv/txn', txn)).body).toMatchObject({
      succeeded: false,
      responses: [{ op: 'range', kvs: [{ key: 'once', value: '\u0001\u0002' }] }],
    });
  });

  it('compacts one shard', async () => {
    const put = await call('POST', '/v1/kv/put', { key: 'c', value: '1' });
    await call('POST', '/v1/kv/put', { key: 'c', value: '2' });
    const shards = put.body['shards'] as Record<string, number>;
    const [shard] = Object.keys(shards);
    const revision = put.body['revision'] as number;
    const compact = { shard, revision: revision + 1 };
    expect((await call('POST', '/v1/kv/compact', compact)).status).toBe(200);
    expect((await call('GET', `/v1/kv/keys/c?revision=${revision}`)).body).toMatchObject({
      error: { code: 'KV_COMPACTED' },
    });
  });
});

describe('bad input gets its error and the member goes on', () => {
  it.each([
    ['POST', '/v1/kv/put', { key: '', value: 'v' }, 400, 'KV_EMPTY_KEY'],
    ['POST', '/v1/kv/put', { value: 'v' }, 400, 'KV_INVALID_ARGUMENT'],
    ['POST', '/v1/kv/put', { key: 1, value: 'v' }, 400, 'KV_INVALID_ARGUMENT'],
    ['POST', '/v1/kv/put', { key: 'a', value: { base64: '???' } }, 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/put', { key: 'a', value: 'v', valeu: 1 }, 400, 'KV_INVALID_ARGUMENT'],
    ['POST', '/v1/kv/put', '{"key":', 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/put', '', 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/put', { key: 'k'.repeat(20_000), value: 'v' }, 413, 'KV_REQUEST_TOO_LARGE'],
    ['POST', '/v1/kv/put', { key: 'k', value: 'v'.repeat(10_000) }, 413, 'KV_REQUEST_TOO_LARGE'],
    ['POST', '/v1/kv/put', { key: 'k', value: 'v'.repeat(200_000) }, 413, 'KV_REQUEST_TOO_LARGE'],
    ['POST', '/v1/kv/range', { key: 'a', limit: '5' }, 400, 'KV_INVALID_ARGUMENT'],
    ['POST', '/v1/kv/range', { key: 'a', sortOrder: 'up' }, 400, 'KV_INVALID_ARGUMENT'],
    ['POST', '/v1/kv/range', { key: 'a', prefix: true, rangeEnd: 'b' }, 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/range', { key: 'p/', prefix: true, revision: 2 }, 400, 'KV_CROSS_SHARD'],
    ['POST', '/v1/kv/range', { key: 'a', revision: 9_999 }, 400, 'KV_FUTURE_REVISION'],
    ['POST', '/v1/kv/delete', { key: 'p/', prefix: true }, 400, 'KV_CROSS_SHARD'],
    ['POST', '/v1/kv/txn', { success: [{ op: 'putt', key: 'a' }] }, 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/txn', { success: [{ op: 'put', key: 'a', vlaue: 'b' }] }, 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/txn', { compare: [{ key: 'a' }] }, 400, 'KV_INVALID_ARGUMENT'],
    [
      'POST',
      '/v1/kv/txn',
      {
        success: [
          { op: 'put', key: 'a', value: '' },
          { op: 'put', key: 'a', value: '' },
        ],
      },
      400,
      'KV_DUPLICATE_KEY',
    ],
    ['POST', '/v1/kv/compact', { shard: '77', revision: 1 }, 404, 'KV_NOT_FOUND'],
    ['POST', '/v1/kv/compact', { revision: 1 }, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/keys/YWJjZ?encoding=base64', undefined, 400, 'KV_MALFORMED'],
    ['GET', '/v1/kv/keys/YWJjZB?encoding=base64', undefined, 400, 'KV_MALFORMED'],
    ['POST', '/v1/kv/put', { key: { base64: 'YWJjZ' }, value: '' }, 400, 'KV_MALFORMED'],
    ['GET', '/v1/kv/keys/a?revision=0x2', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/keys/a?revision=1e0', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/keys/a?serializable=1', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/keys/a?revison=3', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/keys/', undefined, 400, 'KV_EMPTY_KEY'],
    ['GET', '/v1/kv/keys/%ff', undefined, 400, 'KV_MALFORMED'],
    ['GET', '/v1/kv/watch?key=a&resume=nonsense', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/v1/kv/watch', undefined, 400, 'KV_INVALID_ARGUMENT'],
    ['GET', '/nowhere', undefined, 404, 'KV_NOT_FOUND'],
  ] as const)('%s %s %j', async (...row) => {
    const [method, path, body, status, code] = row;
    const answer = await call(method, path, body);
    expect(answer).toMatchObject({ status, body: { error: { code, outcome: 'not-applied' } } });
    expect((await call('PUT', '/v1/kv/keys/still', { value: 'here' })).status).toBe(200);
  });
});

describe('operations', () => {
  it('is alive, ready and healthy', async () => {
    expect(await (await fetch(`${member.url}/livez`)).text()).toBe('ok\n');
    expect(await (await fetch(`${member.url}/readyz`)).text()).toBe('ok\n');
    expect((await call('GET', '/health')).body).toEqual({ health: 'true', reason: '' });
    expect((await call('GET', '/version')).body).toMatchObject({ server: '0.0.0-test' });
  });

  it('has etcd’s metrics with a label for the shard', async () => {
    const text = await (await fetch(`${member.url}/metrics`)).text();
    for (const shard of ['0', '1', 'meta']) {
      expect(text).toContain(`etcd_server_is_leader{shard="${shard}"} 1`);
      expect(text).toMatch(new RegExp(`kv_raft_applied_index\\{shard="${shard}"\\} [1-9]`));
    }
    expect(text).toMatch(/etcd_server_proposals_committed_total\{shard="0"\} [1-9]/);
  });

  it('shows its status, the members and the shards', async () => {
    expect((await call('GET', '/v1/status')).body).toMatchObject({ member: { name: 'm1' } });
    const shards = (await (await fetch(`${member.url}/v1/shards`)).json()) as { shard: string }[];
    expect(shards.map(({ shard }) => shard)).toEqual(['0', '1', 'meta']);
  });

  it('serves its OpenAPI description and page', async () => {
    const openapi = (await call('GET', '/docs/json')).body;
    expect(Object.keys(openapi['paths'] as object)).toContain('/v1/kv/txn');
    expect((await fetch(`${member.url}/docs/`)).status).toBe(200);
  });
});
