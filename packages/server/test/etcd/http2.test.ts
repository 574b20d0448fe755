import { once } from 'node:events';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ChannelCredentials, Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { KvError } from '@kvorum/base';
import {
  PutRequestSchema,
  type PutResponse,
  PutResponseSchema,
  WatchCreateRequestSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import type { Call } from '../../src/etcd/service.ts';
import { ERROR, FLAG, FRAME } from '../../src/http2/frames.ts';
import { type GrpcApp, putAndWatch, startGrpc, type WatchHandler } from '../support/grpc-app.ts';
import { frame as message } from '../support/grpc-client.ts';
import { literal, rawFrame, requestBlock, uint32 } from '../support/raw-http2.ts';

const PUT = '/etcdserverpb.KV/Put';
const WATCH = '/etcdserverpb.Watch/Watch';
const NONE = Buffer.alloc(0);

let nowMs = 0;
let puts: Call[] = [];
let put: (call: Call) => Promise<PutResponse>;
let watch: WatchHandler;
let app: GrpcApp;

beforeEach(async () => {
  nowMs = 0;
  puts = [];
  put = () => Promise.resolve(create(PutResponseSchema, { header: { revision: 7n } }));
  watch = async (requests, outgoing) => {
    for await (const _ of requests) outgoing.send(create(WatchResponseSchema, { watchId: 1n }));
  };
  const services = putAndWatch(
    (_request, call) => {
      puts.push(call);
      return put(call);
    },
    (...all) => watch(...all),
  );
  const limits = { connectionInflightMax: 100, connectionUnreadMsMax: 1000 };
  app = await startGrpc(services, () => nowMs, limits);
});
afterEach(() => app.stop());

const request = (bytes = 10): Uint8Array =>
  toBinary(PutRequestSchema, create(PutRequestSchema, { value: new Uint8Array(bytes) }));

async function stillServes(): Promise<void> {
  expect(await app.plain().unary(PUT, request())).toMatchObject({ status: 0, messages: [{}] });
}

describe('with the client of @grpc/grpc-js', () => {
  const serialize = (body: Uint8Array): Buffer => Buffer.from(body);
  const parse = (body: Buffer): Buffer => body;

  function client(): Client {
    const insecure: ChannelCredentials = credentials.createInsecure();
    return app.closing(new Client(`127.0.0.1:${app.port}`, insecure));
  }

  it('a thousand calls at once have their own answers', async () => {
    const one = client();
    const call = (): Promise<Buffer | undefined> =>
      new Promise((resolve, reject) => {
        one.makeUnaryRequest(PUT, serialize, parse, request(500), (error, value) => {
          if (error === null) resolve(value);
          else reject(error);
        });
      });
    const answers = await Promise.all(Array.from({ length: 90 }, call));
    for (const answer of answers) {
      const { header } = fromBinary(PutResponseSchema, answer ?? NONE);
      expect(header?.revision).toBe(7n);
    }
  });

  it('an error has its status and its text', async () => {
    put = () => Promise.reject(new GrpcError('NOT_FOUND', 'no ü% there'));
    const error = await new Promise<ServiceError | null>((resolve) => {
      client().makeUnaryRequest(PUT, serialize, parse, request(), resolve);
    });
    expect(error).toMatchObject({ code: 5, details: 'no ü% there' });
  });

  it('a stream goes both ways, and a cancel reaches the handler', async () => {
    const cancelled = new Promise((resolve) => {
      watch = async (requests, outgoing, { signal }) => {
        signal.addEventListener('abort', resolve);
        let count = 0n;
        for await (const _ of requests) {
          count += 1n;
          outgoing.send(create(WatchResponseSchema, { watchId: count }));
        }
      };
    });
    const stream = client().makeBidiStreamRequest(WATCH, serialize, parse);
    stream.on('error', () => undefined);
    const body = toBinary(WatchRequestSchema, create(WatchRequestSchema));
    for (const expected of [1n, 2n]) {
      stream.write(body);
      const [answer] = (await once(stream, 'data')) as [Buffer];
      expect(fromBinary(WatchResponseSchema, answer).watchId).toBe(expected);
    }
    stream.cancel();
    await cancelled;
  });

  it('a deadline reaches the handler', async () => {
    let signal: AbortSignal | undefined;
    put = (call) => {
      ({ signal } = call);
      return new Promise(() => undefined);
    };
    const error = await new Promise<ServiceError | null>((resolve) => {
      const deadline = Date.now() + 300;
      client().makeUnaryRequest(PUT, serialize, parse, request(), { deadline }, resolve);
    });
    expect(error?.code).toBe(4);
    await expect.poll(() => signal?.aborted).toBe(true);
  });
});

describe('flow control', () => {
  it('a message larger than every window arrives whole', async () => {
    const answer = await app.plain().unary(PUT, request(1_500_000));
    expect(answer.status).toBe(0);
  });

  it('a slow reader holds its sender up, and then gets everything', async () => {
    const value = new Uint8Array(20_000);
    let sent = 0;
    watch = async (_requests, outgoing) => {
      const answer = create(WatchResponseSchema, { cancelReason: 'x'.repeat(value.length) });
      for (; sent < 100; sent += 1) if (!outgoing.send(answer)) await outgoing.drained();
    };
    const client = app.raw();
    client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, requestBlock(WATCH)));
    await client.seen(({ type }) => type === FRAME.data);
    await new Promise((resolve) => setTimeout(resolve, 20));
    // The windows that HTTP/2 starts with, and one message more.
    expect(sent).toBeLessThanOrEqual(4);
    client.write(
      rawFrame(FRAME.windowUpdate, 0, 0, uint32(10_000_000)),
      rawFrame(FRAME.windowUpdate, 0, 1, uint32(10_000_000)),
    );
    await client.seen(({ type, flags }) => type === FRAME.headers && (flags & 1) === 1);
    const data = client.frames.filter(({ type }) => type === FRAME.data);
    const bytes = data.reduce((sum, { payload }) => sum + payload.length, 0);
    expect(bytes).toBeGreaterThan(100 * 20_000);
  });

  it('a client whose requests nobody takes gets no more credit', async () => {
    watch = () => new Promise(() => undefined);
    const client = app.raw();
    const key = new Uint8Array(16_000);
    const asked = create(WatchRequestSchema, {
      requestUnion: { case: 'createRequest', value: create(WatchCreateRequestSchema, { key }) },
    });
    const body = message(toBinary(WatchRequestSchema, asked));
    client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, requestBlock(WATCH)));
    for (let sent = 0; sent + body.length <= 262_144; sent += body.length) {
      client.write(rawFrame(FRAME.data, 0, 1, body));
    }
    client.write(rawFrame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    await client.seen(({ type, flags }) => type === FRAME.ping && flags === FLAG.ack);
    const credit = client.frames.filter(({ type, id }) => type === FRAME.windowUpdate && id === 1);
    expect(credit).toEqual([]);
    client.write(rawFrame(FRAME.data, 0, 1, body), rawFrame(FRAME.data, 0, 1, body));
    const reset = await client.seen(({ type }) => type === FRAME.resetStream);
    expect(reset?.payload.readUInt32BE(0)).toBe(ERROR.flowControl);
  });

  it('who never reads is cut after a while', async () => {
    watch = async (_requests, outgoing) => {
      const answer = create(WatchResponseSchema, { cancelReason: 'x'.repeat(1_000_000) });
      for (let i = 0; i < 40; i += 1) outgoing.send(answer);
      await new Promise(() => undefined);
    };
    const client = app.raw();
    client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, requestBlock(WATCH)));
    await client.seen(({ type }) => type === FRAME.data);
    app.grpc.check();
    nowMs += 1500;
    app.grpc.check();
    expect(await client.goAway()).toMatchObject({ code: ERROR.enhanceYourCalm });
    await stillServes();
  });
});

describe('an attack costs little, and everybody else is served', () => {
  const put1 = requestBlock(PUT);
  const reset = (id: number): Buffer[] => [
    rawFrame(FRAME.headers, FLAG.endHeaders, id, put1),
    rawFrame(FRAME.data, 0, id, message(request())),
    rawFrame(FRAME.resetStream, 0, id, uint32(ERROR.cancel)),
  ];
  const odd = (count: number): number[] => Array.from({ length: count }, (_, i) => 2 * i + 1);
  const settings = rawFrame(FRAME.settings, 0, 0, NONE);
  const ping = rawFrame(FRAME.ping, 0, 0, Buffer.alloc(8));
  const opened = rawFrame(FRAME.headers, FLAG.endHeaders, 1, put1);
  const unfinished = rawFrame(FRAME.headers, 0, 1, put1);

  it.each([
    ['rapid reset (CVE-2023-44487)', odd(3000).flatMap(reset)],
    ['settings', Array.from({ length: 3000 }, () => settings)],
    ['pings', Array.from({ length: 4 }, () => ping)],
    ['empty data', [opened, ...odd(3000).map(() => rawFrame(FRAME.data, 0, 1, NONE))]],
    ['priorities', odd(3000).map((id) => rawFrame(FRAME.priority, 0, id, Buffer.alloc(5)))],
    [
      'resets that the server is made to send',
      odd(3000).flatMap((id) => [
        rawFrame(FRAME.headers, FLAG.endHeaders, id, put1),
        rawFrame(FRAME.windowUpdate, 0, id, uint32(0)),
      ]),
    ],
    [
      'headers without an end (CVE-2024-27983)',
      [unfinished, ...odd(100).map(() => rawFrame(FRAME.continuation, 0, 1, NONE))],
    ],
    [
      'headers that are too long to be read',
      [unfinished, ...odd(5).map(() => rawFrame(FRAME.continuation, 0, 1, Buffer.alloc(16_384)))],
    ],
  ])('%s', async (_what, frames) => {
    put = () => new Promise(() => undefined);
    const client = app.raw();
    client.write(...frames);
    expect(await client.goAway()).toMatchObject({ code: ERROR.enhanceYourCalm });
    expect(puts.length).toBeLessThanOrEqual(1001);
    for (const call of puts) expect(call.signal.aborted).toBe(true);
    put = () => Promise.resolve(create(PutResponseSchema));
    await stillServes();
  });

  it('pings as they are allowed are answered', async () => {
    const client = app.raw();
    for (let i = 0; i < 10; i += 1) {
      client.write(ping);
      nowMs += 5000;
      await expect
        .poll(() => client.frames.filter(({ type }) => type === FRAME.ping).length)
        .toBe(i + 1);
    }
  });

  it('a ping for each message of a stream is allowed: Go measures the path so', async () => {
    watch = async (requests, outgoing) => {
      for await (const _ of requests) outgoing.send(create(WatchResponseSchema, { created: true }));
    };
    const client = app.raw();
    const asked = message(toBinary(WatchRequestSchema, create(WatchRequestSchema)));
    client.write(rawFrame(FRAME.headers, FLAG.endHeaders, 1, requestBlock(WATCH)));
    const count = (wanted: number): number =>
      client.frames.filter(({ type }) => type === wanted).length;
    for (let i = 0; i < 10; i += 1) {
      client.write(rawFrame(FRAME.data, 0, 1, asked));
      await expect.poll(() => count(FRAME.data)).toBe(i + 1);
      client.write(ping);
      await expect.poll(() => count(FRAME.ping)).toBe(i + 1);
    }
  });

  it.each([
    ['written out', [literal('x', 'y'.repeat(9000)), literal('z', 'y'.repeat(9000))]],
    // An entry of 4,000 bytes, then its index again and again.
    [
      'of few bytes',
      [
        Buffer.concat([
          Buffer.from([0x40, 1, 0x78, 127, 0xa1, 0x1e]),
          Buffer.alloc(4000, 'y'),
          Buffer.alloc(12_000, 0xbe),
        ]),
      ],
    ],
  ])('metadata over the limit, %s: a status, and the connection goes on', async (_what, more) => {
    const client = app.raw();
    const block = requestBlock(PUT, more);
    client.write(
      rawFrame(FRAME.headers, FLAG.endStream, 1, block.subarray(0, 16_000)),
      rawFrame(FRAME.continuation, FLAG.endHeaders, 1, block.subarray(16_000)),
      rawFrame(FRAME.headers, FLAG.endHeaders, 3, put1),
      rawFrame(FRAME.data, FLAG.endStream, 3, message(request())),
    );
    const refused = await client.seen(({ type, id }) => type === FRAME.headers && id === 1);
    expect(refused?.payload.toString('latin1')).toContain('metadata larger than max');
    expect(await client.seen(({ type, id }) => type === FRAME.data && id === 3)).toBeDefined();
  });

  it('more streams than there may be', async () => {
    put = () => new Promise(() => undefined);
    const client = app.raw();
    client.write(...odd(101).map((id) => rawFrame(FRAME.headers, FLAG.endHeaders, id, put1)));
    const refused = await client.seen(({ type }) => type === FRAME.resetStream);
    expect([refused?.id, refused?.payload.readUInt32BE(0)]).toEqual([201, ERROR.refusedStream]);
    put = () => Promise.resolve(create(PutResponseSchema));
    await stillServes();
  });

  it('deep nesting in a transaction', async () => {
    let nested = NONE;
    const wrap = (tag: number): void => {
      const length: number[] = [];
      let rest = nested.length;
      for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
      nested = Buffer.concat([Buffer.from([tag, ...length, rest]), nested]);
    };
    for (let depth = 0; depth < 20_000; depth += 1) {
      wrap(0x22);
      wrap(0x12);
    }
    const ended = await app.plain().unary('/etcdserverpb.KV/Txn', nested);
    expect(ended.status).toBe(13);
    await stillServes();
  });

  it.each([
    ['a frame that is too long', [Buffer.from([1, 0, 1, 0, 0, 0, 0, 0, 1])], ERROR.frameSize],
    ['data of no stream', [rawFrame(FRAME.data, 0, 1, NONE)], ERROR.protocol],
    ['data of the connection', [rawFrame(FRAME.data, 0, 0, NONE)], ERROR.protocol],
    ['an even stream', [rawFrame(FRAME.headers, FLAG.endHeaders, 2, put1)], ERROR.protocol],
    ['no header code', [rawFrame(FRAME.headers, 4, 1, Buffer.from([0xff, 1]))], ERROR.compression],
    ['a table size', [rawFrame(FRAME.headers, 4, 1, Buffer.from([0x3f, 0xe2, 0x1f]))], 9],
    ['a lone continuation', [rawFrame(FRAME.continuation, 4, 1, NONE)], ERROR.protocol],
    ['a promise', [rawFrame(FRAME.pushPromise, 4, 1, uint32(2))], ERROR.protocol],
    ['padding', [rawFrame(FRAME.headers, 12, 1, Buffer.from([9, 0x83]))], ERROR.protocol],
    ['a short ping', [rawFrame(FRAME.ping, 0, 0, uint32(1))], ERROR.frameSize],
    ['a window', [rawFrame(FRAME.windowUpdate, 0, 0, uint32(0x7fffffff))], ERROR.flowControl],
    ['no window', [rawFrame(FRAME.windowUpdate, 0, 0, uint32(0))], ERROR.flowControl],
    ['settings', [rawFrame(FRAME.settings, 0, 0, uint32(1))], ERROR.frameSize],
    ['another frame in a header block', [unfinished, ping], ERROR.protocol],
  ])('%s: GOAWAY', async (_what, frames, code) => {
    const client = app.raw();
    client.write(...frames);
    expect(await client.goAway()).toMatchObject({ code });
    await stillServes();
  });

  it('a connection that does not begin, and one that stays silent, are closed', async () => {
    const slow = app.raw();
    slow.write(unfinished);
    const silent = app.raw();
    await silent.seen(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack);
    await slow.seen(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack);
    nowMs += 11_000;
    app.grpc.check();
    expect(await slow.goAway()).toMatchObject({ code: ERROR.settingsTimeout });
    nowMs += 20_000;
    app.grpc.check();
    expect(await silent.seen(({ type }) => type === FRAME.ping)).toBeDefined();
    nowMs += 21_000;
    app.grpc.check();
    expect(await silent.goAway()).toMatchObject({ text: 'silent' });
  });

  it('a request that never comes has its time', async () => {
    const client = app.plain();
    const stream = client.open(PUT);
    await once(stream, 'ready');
    await expect.poll(() => app.grpc.idle).toBe(false);
    nowMs += 31_000;
    app.grpc.check();
    expect(await client.ended(stream)).toMatchObject({ status: 4 });
  });
});

describe('a stop', () => {
  it('names one last stream, whatever comes behind it', async () => {
    put = () => new Promise(() => undefined);
    const client = app.raw();
    const begin = (id: number): Buffer =>
      rawFrame(FRAME.headers, FLAG.endHeaders, id, requestBlock(PUT));
    client.write(begin(1), rawFrame(FRAME.data, FLAG.endStream, 1, message(request())));
    await expect.poll(() => puts.length).toBe(1);
    app.grpc.stop(new KvError('KV_UNAVAILABLE'));
    client.write(begin(3), rawFrame(FRAME.pushPromise, 4, 1, uint32(2)));
    await once(client.socket, 'end');
    const told = client.frames.filter(({ type }) => type === FRAME.goAway);
    expect(told.map(({ payload }) => payload.readUInt32BE(0))).toEqual([1, 1]);
    expect(
      await client.seen(({ type, id }) => type === FRAME.resetStream && id === 3),
    ).toBeDefined();
  });

  it('takes no new calls, ends streams with a status and lets calls finish', async () => {
    const client = app.plain();
    let finish: (answer: PutResponse) => void = () => undefined;
    put = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    watch = () => new Promise(() => undefined);
    const watching = client.ended(client.open(WATCH));
    const putting = client.unary(PUT, request());
    await expect.poll(() => puts.length).toBe(1);
    app.grpc.stop(new KvError('KV_STOPPED'));
    expect(await watching).toMatchObject({ status: 14, message: 'etcdserver: server stopped' });
    expect(app.grpc.idle).toBe(false);
    finish(create(PutResponseSchema));
    expect(await putting).toMatchObject({ status: 0 });
    expect(app.grpc.idle).toBe(true);
    await once(client.session, 'close');
  });
});

it('calls and bytes are counted under the names that etcd has', async () => {
  const client = app.plain();
  await client.unary(PUT, request());
  put = () => Promise.reject(new GrpcError('NOT_FOUND', 'gone'));
  await client.unary(PUT, request());
  const text = await app.registry.metrics();
  const labels = 'grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put"';
  expect(text).toContain(`grpc_server_started_total{${labels}} 2`);
  expect(text).toContain(`grpc_server_handled_total{${labels},grpc_code="OK"} 1`);
  expect(text).toContain(`grpc_server_handled_total{${labels},grpc_code="NotFound"} 1`);
  expect(text).toContain(`etcd_network_client_grpc_received_bytes_total ${request().length * 2}`);
  expect(text).toMatch(/etcd_network_client_grpc_sent_bytes_total [1-9]/);
});
