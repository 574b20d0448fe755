import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { create } from '@bufbuild/protobuf';
import { KvError } from '@kvorum/base';
import {
  Lease,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesResponseSchema,
  LeaseRevokeResponseSchema,
  LeaseTimeToLiveResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  CampaignResponseSchema,
  Election,
  LeaderResponseSchema,
  ProclaimResponseSchema,
  ResignResponseSchema,
} from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { GATEWAY_METHODS, gatewayPaths } from '../../src/etcd/gateway/paths.ts';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import { type Call, type Outgoing, service } from '../../src/etcd/service.ts';
import { type GatewayApp, startGateway } from '../support/gateway-app.ts';

/** What the next unary call throws. */
let thrown: Error | undefined;
let refusal: KvError | undefined;
/** The last call of any kind. */
let last: Call | undefined;
/** What the last observer sends through. */
let observer: Outgoing<unknown> | undefined;
const never = new Promise<never>(() => undefined);

const leases = service(Lease, {
  leaseGrant(_request, call) {
    last = call;
    return never;
  },
  leaseRevoke(_request, call) {
    last = call;
    if (thrown !== undefined) throw thrown;
    return Promise.resolve(create(LeaseRevokeResponseSchema));
  },
  async leaseKeepAlive(requests, outgoing, call) {
    last = call;
    for await (const { ID } of requests) {
      if (ID === 13n) throw new GrpcError('UNAVAILABLE', 'etcdserver: no leader');
      const answer = create(LeaseKeepAliveResponseSchema, { ID, TTL: 5n });
      if (!outgoing.send(answer)) await outgoing.drained();
    }
  },
  leaseTimeToLive: ({ ID }) => Promise.resolve(create(LeaseTimeToLiveResponseSchema, { ID })),
  leaseLeases: () => Promise.resolve(create(LeaseLeasesResponseSchema)),
});

const elections = service(Election, {
  campaign: () => Promise.resolve(create(CampaignResponseSchema)),
  proclaim: () => Promise.resolve(create(ProclaimResponseSchema)),
  leader: () => Promise.resolve(create(LeaderResponseSchema)),
  async observe({ name }, outgoing, call) {
    last = call;
    observer = outgoing;
    if (name.length === 0) throw new GrpcError('UNKNOWN', 'election: no leader');
    outgoing.send(create(LeaderResponseSchema, { kv: { key: name } }));
    await once(call.signal, 'abort');
  },
  resign: () => Promise.resolve(create(ResignResponseSchema)),
});

let app: GatewayApp;
beforeAll(async () => {
  app = await startGateway([leases, elections], () => refusal);
});
afterEach(() => {
  thrown = undefined;
  refusal = undefined;
});
afterAll(() => app.stop());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

async function post(
  path: string,
  body: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(app.url + path, { method: 'POST', body, headers });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** A streaming request whose body stays open, and its answers line by line. */
class OpenPost {
  readonly request: ClientRequest;
  readonly #response: Promise<IncomingMessage>;
  #lines: AsyncIterator<string> | undefined;

  constructor(path: string) {
    this.request = httpRequest(app.url + path, { method: 'POST' });
    this.request.on('error', () => undefined);
    this.request.flushHeaders();
    this.#response = new Promise((resolve) => this.request.on('response', resolve));
  }

  async next(): Promise<unknown> {
    if (this.#lines === undefined) {
      const input = await this.#response;
      this.#lines = createInterface({ input })[Symbol.asyncIterator]();
    }
    const line = await this.#lines.next();
    return line.done === true ? undefined : JSON.parse(line.value);
  }

  async status(): Promise<number | undefined> {
    return (await this.#response).statusCode;
  }
}

describe('the paths', () => {
  it('are etcd’s, aliases too', async () => {
    expect(GATEWAY_METHODS).toHaveLength(48);
    expect(gatewayPaths('etcdserverpb.KV.RangeStream')).toEqual([]);
    for (const path of ['/v3/lease/timetolive', '/v3/kv/lease/timetolive']) {
      expect(await post(path, '{"ID":"5"}')).toMatchObject({ status: 200, body: { ID: '5' } });
    }
  });

  it('are for POST alone', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      const response = await fetch(`${app.url}/v3/lease/leases`, { method });
      expect(response.status).toBe(501);
      expect(await response.json()).toEqual({
        error: 'Method Not Allowed',
        code: 12,
        message: 'Method Not Allowed',
      });
    }
  });

  it.each(['/v3/kv/nothing', '/v3/lease/leases/', '/v3/', '/v3alpha/lease/leases'])(
    'are not %s',
    async (path) => {
      const response = await fetch(app.url + path, { method: 'POST', body: '{}' });
      expect(response.status).toBe(404);
    },
  );
});

describe('a unary call', () => {
  it('takes JSON whatever its type is said to be, and no body', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/json']) {
      const answer = await post('/v3/lease/timetolive', '{"ID":7}', { 'content-type': type });
      expect(answer).toMatchObject({ status: 200, body: { ID: '7' } });
      expect(answer.headers.get('content-type')).toBe('application/json');
    }
    const empty = await fetch(`${app.url}/v3/lease/timetolive`, { method: 'POST' });
    expect(await empty.json()).toEqual({});
  });

  it('hands metadata to the service', async () => {
    await post('/v3/lease/revoke', '{}', {
      authorization: 'Bearer abc.1',
      'Grpc-Metadata-hasleader': 'true',
      'X-Other': 'x',
    });
    expect([...(last?.metadata ?? [])]).toEqual([
      ['authorization', 'Bearer abc.1'],
      ['token', 'abc.1'],
      ['hasleader', 'true'],
    ]);
    await post('/v3/lease/revoke', '{}', { authorization: 'abc.1' });
    expect(last?.metadata.get('token')).toBe('abc.1');
  });

  it('ends with its deadline', async () => {
    const answer = await post('/v3/lease/grant', '{}', { 'grpc-timeout': '20m' });
    const message = 'context deadline exceeded';
    expect(answer).toMatchObject({ status: 504, body: { error: message, code: 4, message } });
    expect(last?.signal.aborted).toBe(true);
    expect(await post('/v3/lease/grant', '{}', { 'grpc-timeout': '1x' })).toMatchObject({
      status: 400,
      body: { message: 'invalid grpc-timeout: 1x' },
    });
    await post('/v3/lease/revoke', '{}', { 'grpc-timeout': '99999999H' });
    expect(last?.deadlineMs).toBeGreaterThan(1e14);
  });

  it('ends when its caller goes', async () => {
    last = undefined;
    const abort = new AbortController();
    const { signal } = abort;
    const gone = fetch(`${app.url}/v3/lease/grant`, { method: 'POST', signal }).catch(() => 'gone');
    await expect.poll(() => last).toBeDefined();
    abort.abort();
    expect(await gone).toBe('gone');
    await expect.poll(() => last?.signal.aborted).toBe(true);
    await expect.poll(() => app.gateway.idle).toBe(true);
  });

  it.each([
    [new KvError('KV_EMPTY_KEY'), 400, 3, 'etcdserver: key is not provided'],
    [new GrpcError('UNKNOWN', 'election: no leader'), 500, 2, 'election: no leader'],
    [new KvError('KV_LEASE_NOT_FOUND'), 404, 5, 'etcdserver: requested lease not found'],
    [new GrpcError('PERMISSION_DENIED', 'no'), 403, 7, 'no'],
    [new KvError('KV_NO_SPACE'), 429, 8, 'etcdserver: mvcc: database space exceeded'],
    [new GrpcError('FAILED_PRECONDITION', 'no'), 400, 9, 'no'],
    [new KvError('KV_COMPACTED'), 400, 11, /required revision has been compacted$/],
    [new KvError('KV_NO_LEADER'), 503, 14, 'etcdserver: no leader'],
    [new KvError('KV_CORRUPT'), 500, 15, 'etcdserver: corrupt cluster'],
    [new GrpcError('UNAUTHENTICATED', 'no'), 401, 16, 'no'],
  ])('fails as etcd does: %s', async (error, http, code, message) => {
    thrown = error;
    const answer = await post('/v3/lease/revoke', '{}');
    const text: unknown = message instanceof RegExp ? expect.stringMatching(message) : message;
    expect(answer).toMatchObject({ status: http, body: { error: text, code, message: text } });
  });

  it('tells a bug from a refusal', async () => {
    thrown = new TypeError('a secret of ours');
    expect(await post('/v3/lease/revoke', '{}')).toMatchObject({
      status: 500,
      body: { code: 13, message: 'internal error' },
    });
    expect(app.log.join()).toContain('a secret of ours');
  });

  it('is refused while the member starts or stops', async () => {
    refusal = new KvError('KV_STOPPED');
    const answer = await post('/v3/lease/revoke', '{}');
    expect(answer).toMatchObject({ status: 503, body: { code: 14 } });
    expect(answer.headers.get('retry-after')).toBe('1');
  });

  it('is refused to pages of other sites', async () => {
    const { status, headers } = await post('/v3/lease/leases', '{}', {
      origin: 'http://x.example',
    });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([403, null]);
    const own = await post('/v3/lease/leases', '{}', { origin: app.url });
    expect(own.status).toBe(200);
  });

  it('has its answer read also by who still sends when the body is too large', async () => {
    const answer = await post('/v3/lease/revoke', ' '.repeat(5_000_000));
    expect(answer).toMatchObject({ status: 429, body: { code: 8 } });
    expect((answer.body as { message: string }).message).toMatch(
      /^grpc: received message larger than max \(\d+ vs. 265536\)$/,
    );
  });

  it('is counted', async () => {
    const text = await app.metrics();
    expect(text).toMatch(/requests_total\{api="gateway",method="LeaseRevoke",code="OK"\} \d/);
    expect(text).toMatch(/method="LeaseGrant",code="CANCELLED"\} 1/);
    expect(text).toMatch(/method="LeaseGrant",code="DEADLINE_EXCEEDED"\} 1/);
  });
});

describe('a stream', () => {
  it('answers each object of its body as it comes', async () => {
    const open = new OpenPost('/v3/lease/keepalive');
    for (const id of ['5', '9007199254740993']) {
      open.request.write(`{"ID":${id}}\n`);
      expect(await open.next()).toEqual({ result: { ID: id, TTL: '5' } });
    }
    open.request.write('{"I');
    open.request.write('D":"6"}{"ID":7}');
    expect(await open.next()).toMatchObject({ result: { ID: '6' } });
    expect(await open.next()).toMatchObject({ result: { ID: '7' } });
    open.request.end();
    expect(await open.next()).toBeUndefined();
  });

  it('answers several objects sent at once', async () => {
    const ids = Array.from({ length: 100 }, (_, i) => i + 20);
    const body = ids.map((ID) => JSON.stringify({ ID })).join('');
    const response = await fetch(`${app.url}/v3/lease/keepalive`, { method: 'POST', body });
    const lines = (await response.text()).trimEnd().split('\n');
    const answers = lines.map((line) => JSON.parse(line) as { result: { ID: string } });
    expect(answers.map(({ result }) => Number(result.ID))).toEqual(ids);
    expect(app.gateway.idle).toBe(true);
  });

  it('has errors in its midst', async () => {
    const open = new OpenPost('/v3/lease/keepalive');
    open.request.write('{"ID":5}{"ID":13}');
    expect(await open.next()).toMatchObject({ result: { ID: '5' } });
    expect(await open.next()).toEqual({ error: { code: 14, message: 'etcdserver: no leader' } });
    expect(await open.next()).toBeUndefined();
  });

  it.each([
    ['{"ID":"x"}', 400, /LeaseKeepAliveRequest.ID: expected an integer/],
    ['[5]', 400, /expected a JSON object/],
    ['{"ID":13}', 503, /no leader/],
    ['{"ID":', 400, /has no end/],
    [`{"ID":"${'1'.repeat(300_000)}"}`, 429, /larger than max/],
  ])('has the status of an error that comes first (%#)', async (text, status, message) => {
    const open = new OpenPost('/v3/lease/keepalive');
    open.request.end(text);
    expect(await open.status()).toBe(status);
    expect(await open.next()).toMatchObject({
      error: { message: expect.stringMatching(message) as unknown },
    });
  });

  it('of one request waits for the whole of it', async () => {
    const open = new OpenPost('/v3/election/observe');
    open.request.end('{"name":"YQ=="}');
    expect(await open.next()).toEqual({ result: { kv: { key: 'YQ==' } } });
    open.request.destroy();
    await expect.poll(() => last?.signal.aborted).toBe(true);
    const none = await post('/v3/election/observe', '{}');
    expect(none).toMatchObject({ status: 500, body: { error: { code: 2 } } });
  });

  it('holds a service up whose reader is slow, until it reads or goes', async () => {
    const open = new OpenPost('/v3/election/observe');
    open.request.end('{"name":"YQ=="}');
    const [response] = (await once(open.request, 'response')) as [IncomingMessage];
    response.pause();
    const big = create(LeaderResponseSchema, { kv: { value: new Uint8Array(1_000_000) } });
    const outgoing = observer;
    while (outgoing?.send(big) === true);
    const drained = outgoing?.drained();
    response.resume();
    await drained;
    response.pause();
    while (outgoing?.send(big) === true);
    const over = outgoing?.drained();
    response.destroy();
    await over;
    expect(last?.signal.aborted).toBe(true);
  });
});

describe('a WebSocket', () => {
  async function open(path: string, protocols: readonly string[] = []): Promise<WebSocket> {
    const ws = new WebSocket(app.url.replace('http', 'ws') + path, [...protocols]);
    await once(ws, 'open');
    return ws;
  }
  async function next(ws: WebSocket): Promise<unknown> {
    const [data] = (await once(ws, 'message')) as [Buffer];
    return JSON.parse(data.toString());
  }

  it('is a stream, one object a message', async () => {
    const ws = await open('/v3/lease/keepalive', ['Bearer', 'abc.1']);
    expect(ws.protocol).toBe('Bearer');
    expect(last?.metadata.get('token')).toBe('abc.1');
    for (const ID of ['5', '6']) {
      ws.send(JSON.stringify({ ID }));
      expect(await next(ws)).toEqual({ result: { ID, TTL: '5' } });
    }
    ws.send('{"ID":13}');
    expect(await next(ws)).toEqual({ error: { code: 14, message: 'etcdserver: no leader' } });
    await once(ws, 'close');
  });

  it('is closed with what was wrong', async () => {
    const ws = await open('/v3/lease/keepalive');
    ws.send('{"ID":{}}');
    expect(await next(ws)).toMatchObject({ error: { code: 3 } });
    await once(ws, 'close');
  });

  it('serves a unary call', async () => {
    const ws = await open('/v3/lease/timetolive');
    ws.send('{"ID":5}');
    expect(await next(ws)).toEqual({ ID: '5' });
    await once(ws, 'close');
  });

  it('ends its call when it is closed, and with the member', async () => {
    const ws = await open('/v3/election/observe');
    ws.send('{"name":"YQ=="}');
    await next(ws);
    ws.close();
    await expect.poll(() => last?.signal.aborted).toBe(true);
    const other = await open('/v3/election/observe');
    other.send('{"name":"YQ=="}');
    await next(other);
    app.gateway.stop(new KvError('KV_STOPPED'));
    expect(await next(other)).toMatchObject({ error: { code: 14 } });
    await once(other, 'close');
  });
});
