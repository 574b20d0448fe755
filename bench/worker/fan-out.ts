import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  PutRequestSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { MessageReceiver } from './grpc-answer.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { connectionOf, type StreamRun, type StreamWork } from './stream-run.ts';

const KEY: Uint8Array = Buffer.from('bench-fan-out');
/** Puts whose events have not reached every watcher: enough that the next event is on its way, and no queue grows. */
const AHEAD_MAX = 4;
/** WatchResponse.events, wire type 2. */
const EVENTS_TAG = 0x5a;

/** One writer puts one key, `inFlight` watchers on a stream each are told; what counts is each event at each watcher. */
export const fanOut: StreamWork = async (connections, spec, run) => {
  const writer = new Writer(connections, spec.inFlight, spec.valueBytes, run);
  const indexes = Array.from({ length: spec.inFlight }, (_, i) => i);
  const streams = await Promise.all(
    indexes.map(async (index) => {
      const connection = connectionOf(connections, index);
      return { connection, stream: await watch(connection, writer, run) };
    }),
  );
  writer.go();
  return async () => {
    await writer.ended;
    for (const { connection, stream } of streams) connection.cancel(stream);
  };
};

class Writer {
  readonly valueBytes: number;
  readonly ended: Promise<void>;
  readonly #connections: readonly GrpcConnection[];
  readonly #watchers: number;
  readonly #run: StreamRun;
  readonly #value: Buffer;
  /** By number of put, of those that not every watcher has been told of. */
  readonly #open = new Map<number, { readonly sentAt: number; told: number }>();
  #next = 1;
  #isPutting = false;
  #end: () => void = () => undefined;

  constructor(
    connections: readonly GrpcConnection[],
    watchers: number,
    valueBytes: number,
    run: StreamRun,
  ) {
    this.valueBytes = valueBytes;
    this.#connections = connections;
    this.#watchers = watchers;
    this.#run = run;
    this.#value = Buffer.alloc(valueBytes, 0x76);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Puts, unless it is over,  a put is not answered yet or too many are not known everywhere. */
  go(): void {
    if (this.#run.stopped && !this.#isPutting && this.#open.size === 0) this.#end();
    if (this.#run.stopped || this.#isPutting || this.#open.size >= AHEAD_MAX) return;
    const number = this.#next;
    this.#next += 1;
    this.#isPutting = true;
    this.#value.writeDoubleLE(number, 0);
    const request = create(PutRequestSchema, { key: KEY, value: this.#value });
    this.#open.set(number, { sentAt: performance.now(), told: 0 });
    connectionOf(this.#connections, number)
      .call('/etcdserverpb.KV/Put', toBinary(PutRequestSchema, request))
      .then(
        () => {
          this.#isPutting = false;
          this.go();
        },
        (error: unknown) => this.#run.fail(error),
      );
  }

  /** A watcher was told of a put. */
  told(number: number, now: number): void {
    const put = this.#open.get(number);
    if (put === undefined) return;
    this.#run.done(now, put.sentAt);
    put.told += 1;
    if (put.told < this.#watchers) return;
    this.#open.delete(number);
    this.go();
  }
}

/** Resolves to the stream once the watch stands. */
function watch(connection: GrpcConnection, writer: Writer, run: StreamRun): Promise<number> {
  return new Promise((resolve, reject) => {
    let isCreated = false;
    let expected = 0;
    const onEvent = (number: number, now: number): void => {
      // An event that was left out or told twice would make a better number of a worse server.
      if (expected !== 0 && number !== expected) run.fail(new Error('a watcher missed an event'));
      expected = number + 1;
      writer.told(number, now);
    };
    const receiver = new MessageReceiver(
      (message) => {
        if (isCreated) {
          readEvents(message, writer.valueBytes, onEvent);
          return;
        }
        isCreated = fromBinary(WatchResponseSchema, message).created;
        if (isCreated && stream !== undefined) resolve(stream);
        else reject(new Error('a watch was not created'));
      },
      (error) => {
        const reason = error ?? new Error('a watch ended');
        reject(reason);
        run.fail(reason);
      },
    );
    const stream = connection.begin('/etcdserverpb.Watch/Watch', receiver);
    const request = create(WatchRequestSchema, {
      requestUnion: { case: 'createRequest', value: { key: KEY } },
    });
    if (stream !== undefined) connection.send(stream, toBinary(WatchRequestSchema, request));
  });
}

/** The numbers of the puts that a response tells of: an event ends with the value, which begins with the number. */
function readEvents(
  message: Buffer,
  valueBytes: number,
  onEvent: (number: number, now: number) => void,
): void {
  const now = performance.now();
  let at = 0;
  const varint = (): number => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      const byte = message[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const length = varint(); // or the value itself, of a field that is a number
    if ((tag & 7) === 2) at += length;
    if (tag === EVENTS_TAG) onEvent(message.readDoubleLE(at - valueBytes), now);
  }
}
