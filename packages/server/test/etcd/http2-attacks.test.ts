import { connect } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { PutRequestSchema, PutResponseSchema } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import {
  ERROR,
  FLAG,
  FRAME,
  FRAME_BYTES_MAX,
  SETTING,
  settingsIn,
} from '../../src/http2/frames.ts';
import { type GrpcApp, putAndWatch, startGrpc } from '../support/grpc-app.ts';
import { frame as message } from '../support/grpc-client.ts';
import { literal, type RawHttp2, rawFrame, requestBlock, uint32 } from '../support/raw-http2.ts';

const PUT = '/etcdserverpb.KV/Put';
const WATCH = '/etcdserverpb.Watch/Watch';
const limits = {
  connectionSendBufferBytesMax: 100_000,
  connectionUnreadBytesMax: 1_000_000,
  clientBytesMax: 2_800_000,
};

let refusal: string | undefined;
let app: GrpcApp;

beforeEach(async () => {
  refusal = undefined;
  const put = () =>
    refusal === undefined
      ? Promise.resolve(create(PutResponseSchema, { header: { revision: 7n } }))
      : Promise.reject(new GrpcError('FAILED_PRECONDITION', refusal));
  const watch = (): Promise<never> => new Promise(() => undefined);
  app = await startGrpc(putAndWatch(put, watch), () => 0, limits);
});
afterEach(() => app.stop());

const request = (bytes = 10): Uint8Array =>
  toBinary(PutRequestSchema, create(PutRequestSchema, { value: new Uint8Array(bytes) }));

it('a text of any length and kind fits one frame of headers', async () => {
  const client = app.plain();
  for (const char of ['x', '\u0001', 'é', '💥', '%']) {
    refusal = char.repeat(200_000);
    const ended = await client.unary(PUT, request());
    expect(ended.status).toBe(9);
    expect(refusal.startsWith(ended.message.slice(0, 100))).toBe(true);
  }
  const long = app.raw();
  const path = literal(':path', '\u0001'.repeat(15_000));
  const block = Buffer.concat([Buffer.from([0x83, 0x86]), path]);
  long.write(rawFrame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, block));
  const answer = await long.seen(({ type }) => type === FRAME.headers);
  expect(answer?.payload.length).toBeLessThan(FRAME_BYTES_MAX);
});

it.each([0, 100, 256, 1000, 4095])('a client with a header table of %s bytes', async (bytes) => {
  const session = connect(`http://127.0.0.1:${app.port}`, { settings: { headerTableSize: bytes } });
  session.on('error', () => undefined);
  app.closing(session);
  for (let call = 0; call < 3; call += 1) {
    const headers = { ':path': PUT, ':method': 'POST', 'content-type': 'application/grpc' };
    const stream = session.request(headers);
    stream.on('error', () => undefined).end(message(request()));
    stream.resume();
    const seen: (string | undefined)[] = [];
    stream.on('trailers', (trailers: { 'grpc-status'?: string }) =>
      seen.push(trailers['grpc-status']),
    );
    await new Promise((resolve) => stream.once('close', resolve));
    expect(seen).toEqual(['0']);
  }
});

it('settings that name the window of streams again and again: the last one counts', () => {
  const setting = (id: number, value: number): Buffer =>
    Buffer.concat([Buffer.from([0, id]), uint32(value)]);
  const { initialWindowSize, headerTableSize } = SETTING;
  const payload = Buffer.concat([
    ...[1, 2, 3].map((value) => setting(initialWindowSize, value)),
    setting(headerTableSize, 7),
    setting(initialWindowSize, 4),
  ]);
  expect(settingsIn({ type: FRAME.settings, flags: 0, id: 0, payload })).toEqual([
    [headerTableSize, 7],
    [initialWindowSize, 4],
  ]);
});

it('refusals that nobody reads, and headers of streams that are closed: cut', async () => {
  const reads = app.raw();
  const block = requestBlock('/x/y');
  const ends = FLAG.endHeaders | FLAG.endStream;
  reads.write(rawFrame(FRAME.headers, ends, 5, block));
  reads.write(...Array.from({ length: 1001 }, () => rawFrame(FRAME.headers, ends, 3, block)));
  expect(await reads.goAway()).toMatchObject({ code: ERROR.enhanceYourCalm });

  const stuck = app.raw();
  stuck.socket.pause();
  const path = requestBlock(`/${'x'.repeat(3000)}/y`);
  const requests = Array.from({ length: 1000 }, (_, at) =>
    rawFrame(FRAME.headers, ends, 2 * at + 1, path),
  );
  for (let at = 0; at < 5; at += 1) {
    stuck.write(
      ...requests.map((bytes) => {
        const one = Buffer.from(bytes);
        one.writeUInt32BE(one.readUInt32BE(5) + 2000 * at, 5);
        return one;
      }),
    );
  }
  await expect.poll(() => app.connections(), { timeout: 15_000 }).toBe(0);
});

it('windows that are widened while nothing is sent: cut', async () => {
  const updates = app.raw();
  const one = rawFrame(FRAME.windowUpdate, 0, 0, uint32(1));
  updates.write(...Array.from({ length: 1001 }, () => one));
  expect(await updates.goAway()).toMatchObject({ code: ERROR.enhanceYourCalm });
});

it('requests that never arrive whole hold so much memory and no more', async () => {
  const client = app.raw();
  const prefix = Buffer.from([0, 0, 0x10, 0, 0]);
  const piece = Buffer.alloc(FRAME_BYTES_MAX);
  for (let id = 1; id <= 201; id += 2) {
    client.write(
      rawFrame(FRAME.headers, FLAG.endHeaders, id, requestBlock(PUT)),
      rawFrame(FRAME.data, 0, id, prefix),
      rawFrame(FRAME.data, 0, id, piece),
    );
  }
  const refused = await client.seen(({ type }) => type === FRAME.headers);
  expect(refused?.payload.toString('latin1')).toContain('too many requests');
  expect(refused?.id).toBeGreaterThan(limits.connectionUnreadBytesMax / piece.length);
  expect(refused?.id).toBeLessThanOrEqual(
    2 * Math.floor(limits.connectionUnreadBytesMax / piece.length) + 1,
  );
  client.socket.destroy();
  await expect.poll(() => app.grpc.idle).toBe(true);
  expect(await app.plain().unary(PUT, request(100_000))).toMatchObject({ status: 0 });
});

it('a value with the end of a line in it is no header', async () => {
  const client = app.raw();
  const block = requestBlock(PUT, [literal('x', 'a\r\nb')]);
  client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, block));
  const reset = await client.seen(({ type }) => type === FRAME.resetStream);
  expect(reset?.payload).toEqual(uint32(ERROR.protocol));
});

it('streams that are opened and left are bounded by what they hold, headers among it', async () => {
  const client = app.raw();
  const block = requestBlock(WATCH, [literal('x', 'y'.repeat(15_000))]);
  for (let id = 1; id <= 201; id += 2) {
    client.write(rawFrame(FRAME.headers, FLAG.endHeaders, id, block));
  }
  const refused = await client.seen(({ type }) => type === FRAME.headers);
  expect(refused?.payload.toString('latin1')).toContain('too many requests');
  expect(app.memory.bytes).toBeLessThan(limits.connectionUnreadBytesMax + 20_000);
  client.socket.destroy();
  await expect.poll(() => app.memory.bytes).toBe(0);
});

it('requests that no handler takes are bounded by the memory they hold', async () => {
  const client = app.raw();
  const nothing = Buffer.concat(Array.from({ length: 500 }, () => Buffer.alloc(5)));
  client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, requestBlock(WATCH)));
  for (let i = 0; i < 10; i += 1) client.write(rawFrame(FRAME.data, 0, 1, nothing));
  const refused = await client.seen(({ type }) => type === FRAME.headers);
  expect(refused?.payload.toString('latin1')).toContain('too many requests');
  await expect.poll(() => app.memory.bytes).toBeLessThan(10_000);
});

it('when all together hold too much, who holds most is cut and the others go on', async () => {
  const small = app.plain();
  expect(await small.unary(PUT, request())).toMatchObject({ status: 0 });
  const clients = Array.from({ length: 4 }, () => app.raw());
  const [greedy] = clients;
  const piece = Buffer.alloc(FRAME_BYTES_MAX);
  const prefix = Buffer.from([0, 0, 0x10, 0, 0]);
  const open = (client: RawHttp2, id: number): void =>
    client.write(
      rawFrame(FRAME.headers, FLAG.endHeaders, id, requestBlock(PUT)),
      rawFrame(FRAME.data, 0, id, prefix),
      rawFrame(FRAME.data, 0, id, piece),
    );
  for (const client of clients) {
    for (let at = 0; at < (client === greedy ? 45 : 40); at += 1) open(client, 2 * at + 1);
  }
  expect((await greedy?.goAway())?.text).toContain('too much');
  expect(await small.unary(PUT, request())).toMatchObject({ status: 0 });
  expect(
    clients.filter((client) => client.frames.some(({ type }) => type === FRAME.goAway)),
  ).toEqual([greedy]);
});
