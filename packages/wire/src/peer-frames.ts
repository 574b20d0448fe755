import {
  assert,
  type ClusterId,
  clusterId,
  err,
  isCount,
  isShardId,
  type MemberId,
  memberId,
  ok,
  type Result,
  type ShardId,
} from '@kvorum/base';
import { RESERVE_START_SPACE } from 'msgpackr';
import { plainPackr, unpackPlain } from './plain-msgpack.ts';

/**
 * Frames between members: a 4-byte big-endian length, then one msgpack array of items, each an array starting with its kind.
 * Payloads are plain data: null, booleans, numbers, strings, bigint (as int64), Uint8Array, arrays, objects.
 */
export const PEER_PROTOCOL_VERSION = 1;

export type PeerMessage = readonly [shard: ShardId, payload: unknown];

/** First item of both directions of a connection. */
export interface PeerHello {
  readonly kind: 'hello';
  readonly protocolVersion: number;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Identity of the data directory: a member that lost its disk comes back with another one. */
  readonly diskId: string;
  /** Why the sender takes nothing from the other side; absent where it does. */
  readonly refusal?: string;
}

export type PeerItem =
  | PeerHello
  | { readonly kind: 'messages'; readonly messages: readonly PeerMessage[] }
  | { readonly kind: 'request'; readonly id: number; readonly payload: unknown }
  | { readonly kind: 'response'; readonly id: number; readonly payload: unknown }
  | { readonly kind: 'response-error'; readonly id: number; readonly error: unknown }
  | { readonly kind: 'ping' }
  | { readonly kind: 'pong' };

const CODE = {
  hello: 1,
  messages: 2,
  request: 3,
  response: 4,
  'response-error': 5,
  ping: 6,
  pong: 7,
} as const satisfies Readonly<Record<PeerItem['kind'], number>>;

const LENGTH_BYTES = 4;

function plainItem(item: PeerItem): readonly unknown[] {
  switch (item.kind) {
    case 'hello': {
      const { protocolVersion, clusterId: cluster, memberId: member, diskId, refusal } = item;
      const hello = [CODE.hello, protocolVersion, cluster, member, diskId];
      return refusal === undefined ? hello : [...hello, refusal];
    }
    case 'messages':
      return [CODE.messages, item.messages];
    case 'request':
    case 'response':
      return [CODE[item.kind], item.id, item.payload];
    case 'response-error':
      return [CODE[item.kind], item.id, item.error];
    case 'ping':
    case 'pong':
      return [CODE[item.kind]];
  }
}

/** The bytes of one frame. The room for the length is reserved in msgpackr's buffer: nothing is copied twice. */
export function encodePeerFrame(items: readonly PeerItem[]): Uint8Array {
  const frame = plainPackr.pack(items.map(plainItem), RESERVE_START_SPACE + LENGTH_BYTES);
  assert(frame.length - LENGTH_BYTES <= 0xffff_ffff, `peer frame too long: ${frame.length}`);
  frame.writeUInt32BE(frame.length - LENGTH_BYTES, 0);
  return frame;
}

const U64_MAX = 0xffff_ffff_ffff_ffffn;
const isId = (value: unknown): value is bigint =>
  typeof value === 'bigint' && value > 0n && value <= U64_MAX;

function parseHello(item: readonly unknown[]): PeerItem | undefined {
  const [, protocolVersion, cluster, member, diskId, refusal] = item;
  if (!isCount(protocolVersion) || !isId(cluster) || !isId(member)) return undefined;
  if (typeof diskId !== 'string') return undefined;
  return {
    kind: 'hello',
    protocolVersion,
    clusterId: clusterId(cluster),
    memberId: memberId(member),
    diskId,
    ...(typeof refusal === 'string' ? { refusal } : {}),
  };
}

function isMessage(value: unknown): value is PeerMessage {
  return Array.isArray(value) && value.length === 2 && isShardId(value[0]);
}

function parseItem(item: unknown): PeerItem | undefined {
  if (!Array.isArray(item)) return undefined;
  const [code, second, third] = item as readonly unknown[];
  switch (code) {
    case CODE.hello:
      return parseHello(item);
    case CODE.messages:
      if (!Array.isArray(second) || !second.every(isMessage)) return undefined;
      return { kind: 'messages', messages: second };
    case CODE.request:
      return isCount(second) ? { kind: 'request', id: second, payload: third } : undefined;
    case CODE.response:
      return isCount(second) ? { kind: 'response', id: second, payload: third } : undefined;
    case CODE['response-error']:
      return isCount(second) ? { kind: 'response-error', id: second, error: third } : undefined;
    case CODE.ping:
      return { kind: 'ping' };
    case CODE.pong:
      return { kind: 'pong' };
    default:
      return undefined;
  }
}

function parseFrame(body: Uint8Array): Result<readonly PeerItem[], string> {
  const plain = unpackPlain(body);
  if (!Array.isArray(plain)) return err('not a msgpack array of items');
  const items: PeerItem[] = [];
  for (const value of plain as readonly unknown[]) {
    const item = parseItem(value);
    if (item === undefined) return err('an item of unknown kind or shape');
    items.push(item);
  }
  return ok(items);
}

/**
 * Cuts a byte stream into frames. Memory is bounded by `frameBytesMax` plus one chunk; a longer frame is refused as soon as
 * its length is read. After an error the stream has no frame boundaries any more: the connection must be dropped.
 */
export class PeerFrameDecoder {
  readonly #frameBytesMax: number;
  /** Bytes of a frame that is not whole yet; joined once, when its last byte has come. */
  #parts: Uint8Array[] = [];
  #partsBytes = 0;
  #failed = false;

  constructor(options: { readonly frameBytesMax: number }) {
    assert(options.frameBytesMax > 0, 'frameBytesMax must be > 0');
    this.#frameBytesMax = options.frameBytesMax;
  }

  /**
   * Takes the next bytes and returns the items of all frames they complete, in order. Byte fields of payloads are
   * views into `chunk`, which must not change after.
   */
  push(chunk: Uint8Array): Result<readonly PeerItem[], string> {
    if (this.#failed) return err('the stream failed earlier');
    // A plain Uint8Array, so that payloads are not Buffers, whose slice() has another meaning.
    this.#parts.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    this.#partsBytes += chunk.length;
    const items: PeerItem[] = [];
    for (;;) {
      const frame = this.#nextFrame();
      if (!frame.ok) return this.#fail(frame.error);
      if (frame.value === undefined) return ok(items);
      const parsed = parseFrame(frame.value);
      if (!parsed.ok) return this.#fail(parsed.error);
      for (const item of parsed.value) items.push(item);
    }
  }

  #fail(reason: string): Result<never, string> {
    this.#failed = true;
    this.#parts = [];
    this.#partsBytes = 0;
    return err(reason);
  }

  /** Body of the next whole frame, removed from the parts; undefined while bytes are missing. */
  #nextFrame(): Result<Uint8Array | undefined, string> {
    if (this.#partsBytes < LENGTH_BYTES) return ok(undefined);
    const bodyBytes = this.#peekLength();
    if (bodyBytes > this.#frameBytesMax) {
      return err(`a frame of ${bodyBytes} bytes; the limit is ${this.#frameBytesMax}`);
    }
    const end = LENGTH_BYTES + bodyBytes;
    if (this.#partsBytes < end) return ok(undefined);
    const all = this.#join();
    this.#partsBytes = all.length - end;
    this.#parts = this.#partsBytes === 0 ? [] : [all.subarray(end)];
    return ok(all.subarray(LENGTH_BYTES, end));
  }

  #peekLength(): number {
    const [first] = this.#parts;
    const head = first !== undefined && first.length >= LENGTH_BYTES ? first : this.#join();
    return new DataView(head.buffer, head.byteOffset).getUint32(0);
  }

  #join(): Uint8Array {
    const [first] = this.#parts;
    if (first !== undefined && this.#parts.length === 1) return first;
    const all = new Uint8Array(this.#partsBytes);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts = [all];
    return all;
  }
}
