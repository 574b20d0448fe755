import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { useOneMember } from '../support/use-member.ts';

const member = useOneMember({ shards: 1 });

const base64 = (text: string): string => Buffer.from(text).toString('base64');

async function post(path: string, body: unknown): Promise<{ status: number; body: object }> {
  const response = await fetch(`${member.url}/v3/${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as object };
}

describe('a member answers etcd’s JSON', () => {
  it('puts, reads and deletes', async () => {
    const put = await post('kv/put', { key: base64('a'), value: base64('1') });
    expect(put).toMatchObject({ status: 200, body: { header: { revision: '2' } } });
    const pair = { key: base64('a'), create_revision: '2', mod_revision: '2', version: '1' };
    expect(await post('kv/range', { key: base64('a') })).toMatchObject({
      body: { kvs: [{ ...pair, value: base64('1') }], count: '1' },
    });
    expect(await post('kv/range', { key: base64('a'), rangeEnd: base64('b') })).toMatchObject({
      body: { count: '1' },
    });
    expect(await post('kv/deleterange', { key: base64('a'), prev_kv: true })).toMatchObject({
      body: { deleted: '1', prev_kvs: [pair] },
    });
    const none = await post('kv/deleterange', { key: base64('a') });
    expect(Object.keys(none.body)).toEqual(['header']);
  });

  it('runs a txn', async () => {
    const txn = {
      compare: [{ key: base64('t'), target: 'CREATE', create_revision: '0' }],
      success: [{ requestPut: { key: base64('t'), value: base64('1') } }],
      failure: [{ request_range: { key: base64('t') } }],
    };
    expect(await post('kv/txn', txn)).toMatchObject({
      body: { succeeded: true, responses: [{ response_put: { header: {} } }] },
    });
    const second = await post('kv/txn', txn);
    expect(second.body).not.toHaveProperty('succeeded');
    expect(second).toMatchObject({
      body: { responses: [{ response_range: { kvs: [{ value: base64('1') }] } }] },
    });
  });

  it.each([
    ['kv/put', '{}', 400, [3, 'etcdserver: key is not provided']],
    ['kv/range', '{"key":"YQ==","sort_order":9}', 400, [3, 'etcdserver: invalid sort option']],
    ['kv/compaction', '{"revision":"99"}', 400, [11, /future revision/]],
    ['kv/range', '{"key":', 400, [3, /malformed JSON at offset 7/]],
    ['kv/put', { key: 'YQ==', value: base64('x'.repeat(1_600_000)) }, 400, [3, /is too large$/]],
    ['kv/put', `{"key":"${'A'.repeat(4_000_000)}"}`, 429, [8, /larger than max/]],
  ])('refuses a bad %s (%#)', async (path, body, status, [code, message]) => {
    const answer = await post(path, body);
    const text: unknown = message instanceof RegExp ? expect.stringMatching(message) : message;
    expect(answer).toMatchObject({ status, body: { code, message: text, error: text } });
    expect((await post('kv/range', { key: base64('t') })).status).toBe(200);
  });

  it('leases and locks', async () => {
    const ID = '9007199254740993';
    expect(await post('lease/grant', `{"TTL":60,"ID":${ID}}`)).toMatchObject({ body: { ID } });
    await post('kv/put', `{"key":"${base64('l')}","lease":${ID}}`);
    expect(await post('kv/lease/timetolive', { ID, keys: true })).toMatchObject({
      body: { ID, grantedTTL: '60', keys: [base64('l')] },
    });
    const alive = await fetch(`${member.url}/v3/lease/keepalive`, {
      method: 'POST',
      body: `{"ID":${ID}}{"ID":"6"}`,
    });
    const lines = (await alive.text()).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { result: { ID, TTL: '60' } },
      { result: { ID: '6' } },
    ]);
    const lock = await post('lock/lock', { name: base64('n'), lease: ID });
    expect(lock).toMatchObject({ body: { key: base64(`n/${BigInt(ID).toString(16)}`) } });
    expect((await post('lease/revoke', { ID })).status).toBe(200);
    expect(await post('lease/revoke', { ID })).toMatchObject({
      status: 404,
      body: { code: 5, message: 'etcdserver: requested lease not found' },
    });
    expect(await post('election/leader', { name: base64('e') })).toMatchObject({
      status: 500,
      body: { code: 2, message: 'election: no leader' },
    });
  });

  it('watches over HTTP, from the past, several in one stream', async () => {
    const { body } = await post('kv/put', { key: base64('w'), value: base64('1') });
    const { revision } = (body as { header: { revision: string } }).header;
    const request = httpRequest(`${member.url}/v3/watch`, { method: 'POST' });
    request.write(
      JSON.stringify({ create_request: { key: base64('w'), start_revision: revision } }),
    );
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const lines = createInterface({ input: response })[Symbol.asyncIterator]();
    const next = async (): Promise<unknown> => {
      const line = (await lines.next()) as IteratorResult<string, undefined>;
      return JSON.parse(line.value ?? '') as unknown;
    };
    expect(await next()).toMatchObject({ result: { created: true } });
    expect(await next()).toMatchObject({
      result: { events: [{ kv: { key: base64('w'), value: base64('1') } }] },
    });
    request.write(JSON.stringify({ createRequest: { key: base64('w'), filters: ['NOPUT'] } }));
    expect(await next()).toMatchObject({ result: { watch_id: '1', created: true } });
    await post('kv/deleterange', { key: base64('w') });
    const deletion = { events: [{ type: 'DELETE', kv: { key: base64('w') } }] };
    expect(await next()).toMatchObject({ result: deletion });
    expect(await next()).toMatchObject({ result: deletion });
    request.end();
    await post('kv/put', { key: base64('w'), value: base64('2') });
    expect(await next()).toMatchObject({ result: { events: [{ kv: { value: base64('2') } }] } });
    request.destroy();
  });

  it('watches over a WebSocket, but for no foreign page', async () => {
    const url = `${member.url.replace('http', 'ws')}/v3/watch`;
    const ws = new WebSocket(url);
    await once(ws, 'open');
    ws.send(JSON.stringify({ create_request: { key: base64('s') } }));
    const next = async (): Promise<unknown> => {
      const [data] = (await once(ws, 'message')) as [Buffer];
      return JSON.parse(data.toString()) as unknown;
    };
    expect(await next()).toMatchObject({ result: { created: true } });
    const event = next();
    await post('kv/put', { key: base64('s'), value: base64('1') });
    expect(await event).toMatchObject({ result: { events: [{ kv: { key: base64('s') } }] } });
    ws.close();
    const foreign = new WebSocket(url, { origin: 'http://x.example' });
    const [, refusal] = (await once(foreign, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(refusal.statusCode).toBe(403);
    const page = await fetch(`${member.url}/v3/kv/put`, {
      method: 'POST',
      body: JSON.stringify({ key: base64('p') }),
      headers: { origin: 'http://x.example', 'content-type': 'text/plain' },
    });
    expect(page.status).toBe(403);
    const none = await post('kv/range', { key: base64('p') });
    expect(none.body).not.toHaveProperty('kvs');
  });

  it('asks who it is once authorization is enabled', async () => {
    await post('auth/user/add', { name: 'root', password: 'secret' });
    await post('auth/role/add', { name: 'root' });
    await post('auth/user/grant', { user: 'root', role: 'root' });
    expect((await post('auth/enable', {})).status).toBe(200);
    const nobody = await post('kv/range', { key: base64('t') });
    expect(nobody).toMatchObject({
      status: 400,
      body: { message: 'etcdserver: user name is empty' },
    });
    const wrong = await post('auth/authenticate', { name: 'root', password: 'wrong' });
    expect(wrong).toMatchObject({ status: 400, body: { code: 3 } });
    const login = await post('auth/authenticate', { name: 'root', password: 'secret' });
    const { token } = login.body as { readonly token: string };
    const as = async (authorization: string, path: string, body: object): Promise<number> => {
      const headers = { authorization };
      const init = { method: 'POST', headers, body: JSON.stringify(body) };
      return (await fetch(`${member.url}/v3/${path}`, init)).status;
    };
    for (const authorization of [token, `Bearer ${token}`]) {
      expect(await as(authorization, 'kv/range', { key: base64('t') })).toBe(200);
    }
    expect(await as('nobody.1', 'kv/range', { key: base64('t') })).toBe(401);
    expect(await as(token, 'auth/disable', {})).toBe(200);
    expect((await post('kv/range', { key: base64('t') })).status).toBe(200);
  });
});
