import { once } from 'node:events';
import { connect } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '@kvorum/wire/gen/grpc/health/v1/health_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frame, RawGrpc } from '../support/grpc-client.ts';
import { RawSession } from '../support/raw-session.ts';
import { useOneMember } from '../support/use-member.ts';

const member = useOneMember();
let client: RawGrpc;
beforeAll(async () => {
  client = new RawGrpc(member.url);
});
afterAll(async () => {
  client.close();
});

const CHECK = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const health = (service: string): Uint8Array =>
  toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));

describe('one port', () => {
  it('serves gRPC, REST and sessions', async () => {
    const answer = await client.call(
      Health.method.check,
      create(HealthCheckRequestSchema, { service: '' }),
    );
    expect(answer).toMatchObject({ status: ServingStatus.SERVING });
    const rest = await fetch(`${member.url}/v1/kv/keys/a`, { method: 'PUT', body: 'b' });
    expect(rest.status).toBe(200);
    const session = await RawSession.open(member.url);
    session.close();
  });

  it('a request that would rather have HTTP/2 is answered all the same', async () => {
    const { hostname, port } = new URL(member.url);
    const socket = connect(Number(port), hostname);
    const upgrade =
      'connection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n';
    socket.write(
      `PUT /v1/kv/keys/h2c HTTP/1.1\r\nhost: k\r\n${upgrade}content-type: text/plain\r\ncontent-length: 1\r\n\r\nb`,
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
  });

  it('tells them apart however the first bytes are cut', async () => {
    const { hostname, port } = new URL(member.url);
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    const http2 = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings]);
    const http1 = Buffer.from('PROPFIND / HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n');
    for (const [bytes, expected] of [
      [http2, /^04$/],
      [http1, new RegExp(`^${Buffer.from('HTTP/1.1 404 ').toString('hex')}`)],
    ] as const) {
      const socket = connect(Number(port), hostname).setNoDelay(true);
      for (const byte of bytes) {
        socket.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const [answer] = (await once(socket, 'data')) as [Buffer];
      // The type of a first frame stands behind its length.
      const start = bytes === http2 ? answer.subarray(3, 4) : answer;
      expect(start.toString('hex')).toMatch(expected);
      socket.destroy();
    }
  });
});

describe('the health service', () => {
  it('knows the whole member only', async () => {
    const ended = await client.unary(CHECK, health('etcdserverpb.KV'));
    expect(ended).toMatchObject({ status: 5, message: 'unknown service', messages: [] });
  });

  it('watches until the caller goes', async () => {
    const stream = client.open(WATCH);
    stream.end(frame(health('')));
    const [first] = (await once(stream, 'data')) as [Buffer];
    const status = fromBinary(HealthCheckResponseSchema, first.subarray(5));
    expect(status).toMatchObject({ status: ServingStatus.SERVING });
    stream.close(8);
    await once(stream, 'close');
  });
});

describe('a call that cannot be served', () => {
  it.each([
    ['/etcdserverpb.KV2/Nothing', 'unknown service etcdserverpb.KV2'],
    ['/grpc.health.v1.Health/Nothing', 'unknown method Nothing for service grpc.health.v1.Health'],
    ['/no.Such/Call', 'unknown service no.Such'],
    ['/', 'malformed method name: "/"'],
  ])('%s', async (path, message) => {
    const ended = await client.unary(path);
    expect(ended).toMatchObject({ httpStatus: 200, status: 12, message, messages: [] });
    expect(ended.headers['content-type']).toBe('application/grpc');
  });

  it.each([
    ['application/json', 415, 3],
    ['application/grpc+json', 415, 3],
    ['application/grpc-web', 415, 3],
    ['application/grpc+proto', 200, 0],
    ['application/grpc; charset=utf-8', 200, 0],
  ])('content-type %s → %d', async (type, httpStatus, status) => {
    const ended = await client.unary(CHECK, health(''), { 'content-type': type });
    expect(ended).toMatchObject({ httpStatus, status });
  });

  it('a method other than POST', async () => {
    const stream = client.session.request({
      ':method': 'PUT',
      ':path': CHECK,
      'content-type': 'application/grpc',
    });
    stream.end();
    expect(await client.ended(stream)).toMatchObject({ httpStatus: 405, status: 13 });
  });

  it.each(['1', '123456789S', '-1S', '1.5S', '1X', ''])('grpc-timeout %j', async (timeout) => {
    const ended = await client.unary(CHECK, health(''), { 'grpc-timeout': timeout });
    expect(ended).toMatchObject({ httpStatus: 400, status: 13 });
    expect(ended.message).toBe(`malformed grpc-timeout: "${timeout}"`);
  });

  it('compressed', async () => {
    const ended = await client.unary(CHECK, health(''), { 'grpc-encoding': 'gzip' });
    expect(ended).toMatchObject({ status: 12 });
    expect(ended.message).toBe('grpc: Decompressor is not installed for grpc-encoding "gzip"');
  });
});

describe('messages', () => {
  it('may be cut anywhere', async () => {
    const stream = client.open(CHECK);
    for (const byte of frame(health(''))) {
      stream.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
    expect(await client.ended(stream)).toMatchObject({ status: 0, messages: [{}] });
  });

  it('above the maximum are refused by their prefix', async () => {
    const stream = client.open(CHECK);
    stream.write(Buffer.from([0, 0, 0x20, 0, 1]));
    const ended = await client.ended(stream);
    expect(ended).toMatchObject({
      status: 8,
      message: 'grpc: received message larger than max (2097153 vs. 2097152)',
    });
  });

  it.each([
    ['no protobuf', frame(Buffer.from([0x0a, 0xff])), 13, /^grpc: error unmarshalling request: /],
    ['half a message', Buffer.from([0, 0, 0, 0, 9, 1]), 13, /^unexpected EOF$/],
    ['none', Buffer.alloc(0), 13, /^EOF$/],
    ['an unknown flag', frame(health(''), 7), 13, /unexpected payload format 7$/],
    ['compressed', frame(health(''), 1), 12, /^grpc: Decompressor is not installed/],
  ])('%s', async (_what, bytes, status, text) => {
    const stream = client.open(CHECK);
    stream.end(bytes);
    const ended = await client.ended(stream);
    expect(ended.status).toBe(status);
    expect(ended.message).toMatch(text);
  });
});

it('a deadline ends a call that streams', async () => {
  const stream = client.open(WATCH, { 'grpc-timeout': '50m' });
  stream.end(frame(health('')));
  const ended = await client.ended(stream);
  expect(ended).toMatchObject({ status: 4, message: 'context deadline exceeded', messages: [{}] });
});
