import { Duplex } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { DEFAULT_LIMITS } from '@kvorum/base';
import {
  PutRequestSchema,
  PutResponseSchema,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, describe, expect } from 'vitest';
import { BYTES, fuzz, mutationSeeds, SEED, tried, triedThrowing } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { ClientMemory } from '../src/client-memory.ts';
import { GrpcServer } from '../src/etcd/grpc/grpc-server.ts';
import { MessageReader } from '../src/etcd/grpc/message-reader.ts';
import { GrpcError } from '../src/etcd/grpc-error.ts';
import { GrpcCounts } from '../src/grpc-counts.ts';
import { ConnectionError, FLAG, FRAME, FrameReader, PREFACE } from '../src/http2/frames.ts';
import { CompressionError, HeaderDecoder } from '../src/http2/header-decoder.ts';
import { HeaderEncoder } from '../src/http2/header-encoder.ts';
import { systemClock } from '../src/member/system.ts';
import { putAndWatch } from './support/grpc-app.ts';
import { frame as message } from './support/grpc-client.ts';
import { rawFrame, requestBlock, uint32 } from './support/raw-http2.ts';

const MUTANTS = 16;
const PUT = toBinary(PutRequestSchema, create(PutRequestSchema, { key: new Uint8Array(3) }));

/** What a client might send, frame by frame. */
const FRAMES = fc.oneof(
  fc.constant(rawFrame(FRAME.settings, 0, 0, Buffer.from([0, 4, 0, 0, 1, 0]))),
  fc.constant(rawFrame(FRAME.settings, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0]))),
  fc.constant(rawFrame(FRAME.ping, 0, 0, Buffer.alloc(8))),
  fc.constant(rawFrame(FRAME.windowUpdate, 0, 0, uint32(70_000))),
  fc
    .constantFrom('/etcdserverpb.KV/Put', '/etcdserverpb.Watch/Watch', '/no.Such/Call')
    .chain((path) =>
      fc.integer({ min: 0, max: 4 }).map((n) => {
        const id = 2 * n + 1;
        const head = rawFrame(FRAME.headers, FLAG.endHeaders, id, requestBlock(path));
        return Buffer.concat([head, rawFrame(FRAME.data, n % 2, id, message(PUT))]);
      }),
    ),
  fc.constantFrom(1, 3, 5).map((id) => rawFrame(FRAME.resetStream, 0, id, uint32(8))),
  fc.constantFrom(1, 3, 5).map((id) => rawFrame(FRAME.windowUpdate, 0, id, uint32(9))),
);
const SETTINGS = rawFrame(FRAME.settings, 0, 0, new Uint8Array(0));
const CONNECTION = fc
  .array(FRAMES, { minLength: 1, maxLength: 12 })
  .map((frames) => Buffer.concat([PREFACE, SETTINGS, ...frames]));

/** Pieces of 1 to 40 bytes. */
function* pieces(bytes: Uint8Array, seed: number): Generator<Buffer> {
  for (let at = 0, step = seed >>> 0; at < bytes.length; ) {
    step = (Math.imul(step, 1_103_515_245) + 12_345) >>> 0;
    const length = 1 + ((step >>> 16) % 40);
    yield Buffer.from(bytes.subarray(at, at + length));
    at += length;
  }
}

function framesIn(chunks: Iterable<Buffer>): string[] {
  const reader = new FrameReader();
  const seen: string[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let one = reader.next(); one !== undefined; one = reader.next()) {
      seen.push(`${one.type} ${one.flags} ${one.id} ${one.payload.toString('hex')}`);
    }
  }
  return seen;
}

describe('HTTP/2', () => {
  const refused = (error: unknown): boolean => error instanceof ConnectionError;

  fuzz(
    'frames are the same however the bytes are cut, and damaged ones are refused',
    60,
    fc.property(CONNECTION, SEED, (bytes, seed) => {
      expect(framesIn(pieces(bytes, seed))).toEqual(framesIn([bytes]));
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const damaged = Buffer.from(mutateBytes(bytes, bytes, mutation));
        triedThrowing(() => framesIn([damaged]), refused);
      }
    }),
  );

  const header = fc.tuple(
    fc.constantFrom(':status', 'content-type', 'grpc-status', 'x-other'),
    fc.oneof(fc.constantFrom('200', 'application/grpc', '0'), fc.string({ maxLength: 300 })),
  );
  const latin1 = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');

  fuzz(
    'headers come back as they were encoded, and damaged blocks are refused',
    60,
    fc.property(
      fc.array(fc.array(header, { maxLength: 6 }), { maxLength: 6 }),
      SEED,
      (lists, seed) => {
        const encoder = new HeaderEncoder([
          ['content-type', 'application/grpc'],
          ['grpc-status', '0'],
        ]);
        if (seed % 3 === 0) encoder.setTableBytes(0);
        const decoder = new HeaderDecoder(100_000);
        for (const list of lists) {
          const block = encoder.encode(list);
          const plain = list.flat().map(latin1);
          expect(tried(() => decoder.decode(block))).toEqual(plain);
          for (const mutation of mutationSeeds(seed, MUTANTS)) {
            const damaged = Buffer.from(mutateBytes(block, PREFACE, mutation));
            const other = new HeaderDecoder(1000);
            triedThrowing(
              () => other.decode(damaged),
              (error) => error instanceof CompressionError,
            );
          }
        }
      },
    ),
  );

  fuzz(
    'any bytes are text of a Huffman code or refused',
    200,
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const block = Buffer.concat([Buffer.from([0, 1, 0x61, 0x80 + bytes.length]), bytes]);
      triedThrowing(
        () => new HeaderDecoder(10_000).decode(block),
        (error) => error instanceof CompressionError,
      );
    }),
  );
});

describe('gRPC', () => {
  fuzz(
    'messages are the same however the bytes are cut, and damaged ones are refused',
    60,
    fc.property(fc.array(BYTES, { maxLength: 8 }), SEED, (bodies, seed) => {
      const bytes = Buffer.concat(bodies.map((body) => message(body)));
      const read = (chunks: Iterable<Buffer>): Uint8Array[] => {
        const reader = new MessageReader(1000);
        const seen: Uint8Array[] = [];
        for (const chunk of chunks) {
          reader.push(chunk);
          for (let one = reader.next(); one !== undefined; one = reader.next()) seen.push(one);
          expect(reader.heldBytes).toBeLessThanOrEqual(2000);
        }
        return seen;
      };
      expect(read(pieces(bytes, seed)).map((one) => [...one])).toEqual(bodies.map((b) => [...b]));
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const damaged = mutateBytes(bytes, PREFACE, mutation);
        triedThrowing(
          () => read(pieces(damaged, mutation)),
          (error) => error instanceof GrpcError,
        );
      }
    }),
  );

  const services = putAndWatch(
    () => Promise.resolve(create(PutResponseSchema)),
    async (requests, outgoing) => {
      for await (const _ of requests) {
        const answer = create(WatchResponseSchema, { cancelReason: 'x'.repeat(500) });
        if (!outgoing.send(answer)) await outgoing.drained();
      }
    },
  );
  const clientMemory = new ClientMemory(DEFAULT_LIMITS.clientBytesMax, () => undefined);
  const server = new GrpcServer(
    {
      clientMemory,
      clock: systemClock,
      limits: DEFAULT_LIMITS,
      logger: pino({ level: 'silent' }),
      metrics: { grpc: new GrpcCounts(new Registry()) },
    },
    services,
  );
  afterAll(() => server.terminate());

  fuzz(
    'a server lives through every connection',
    60,
    fc.asyncProperty(CONNECTION, SEED, async (bytes, seed) => {
      for (const mutation of [undefined, ...mutationSeeds(seed, MUTANTS)]) {
        const sent = mutation === undefined ? bytes : mutateBytes(bytes, bytes, mutation);
        const socket = new Duplex({
          read: () => undefined,
          write: (_chunk, _encoding, done) => done(),
        });
        server.accept(socket);
        tried(() => {
          for (const piece of pieces(sent, seed)) socket.emit('data', piece);
        });
        await new Promise((resolve) => setImmediate(resolve));
        socket.destroy();
      }
      await new Promise((resolve) => setImmediate(resolve));
      expect(server.idle).toBe(true);
      expect(clientMemory.bytes).toBe(0);
    }),
  );
});
