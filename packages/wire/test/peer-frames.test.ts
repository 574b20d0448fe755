import { clusterId, memberId, shardId, utf8 } from '@kvorum/base';
import { encodePeerFrame, PeerFrameDecoder, type PeerItem } from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const U64_MAX = 0xffff_ffff_ffff_ffffn;
const LIMIT = { frameBytesMax: 1 << 20 };

const ITEMS: readonly PeerItem[] = [
  {
    kind: 'hello',
    protocolVersion: 1,
    clusterId: clusterId(U64_MAX),
    memberId: memberId(5n),
    diskId: 'disk-1',
  },
  {
    kind: 'messages',
    messages: [
      [shardId('meta'), { kind: 'vote', term: 3, member: 7n }],
      [shardId(12), [1, 2n, 'three', utf8('four'), null, true, { deep: [-1n] }]],
    ],
  },
  { kind: 'request', id: 1, payload: { put: utf8('k') } },
  { kind: 'response', id: 1, payload: undefined },
  { kind: 'response-error', id: 2, error: ['KV_NO_LEADER', 'text', {}, 'not-applied'] },
  { kind: 'ping' },
  { kind: 'pong' },
];

const raw = (body: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
};

describe('peer frames', () => {
  it('read back every kind of item, with bigint and number kept apart', () => {
    expect(new PeerFrameDecoder(LIMIT).push(encodePeerFrame(ITEMS))).toEqual({
      ok: true,
      value: ITEMS,
    });
  });

  it('hand out plain Uint8Arrays also when the socket delivers Buffers', () => {
    const result = new PeerFrameDecoder(LIMIT).push(
      Buffer.from(encodePeerFrame([{ kind: 'request', id: 0, payload: utf8('x') }])),
    );
    const item = result.ok ? result.value[0] : undefined;
    expect(item?.kind === 'request' && item.payload).toEqual(new Uint8Array([0x78]));
    expect(item?.kind === 'request' && Buffer.isBuffer(item.payload)).toBe(false);
  });

  it('are found again however the stream is cut', () => {
    const stream = Buffer.concat([
      encodePeerFrame(ITEMS),
      encodePeerFrame([]),
      encodePeerFrame([{ kind: 'ping' }]),
    ]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (cuts) => {
        const decoder = new PeerFrameDecoder(LIMIT);
        const items: PeerItem[] = [];
        let at = 0;
        for (let i = 0; at < stream.length; i += 1) {
          const size = cuts[i % cuts.length] as number;
          const result = decoder.push(stream.subarray(at, at + size));
          if (result.ok) items.push(...result.value);
          else expect(result.error).toBeUndefined();
          at += size;
        }
        expect(items).toEqual([...ITEMS, { kind: 'ping' }]);
      }),
    );
  });

  it('are refused as soon as the length exceeds the limit', () => {
    const decoder = new PeerFrameDecoder({ frameBytesMax: 10 });
    expect(decoder.push(Uint8Array.of(0, 0, 0, 11))).toEqual({
      ok: false,
      error: 'a frame of 11 bytes; the limit is 10',
    });
    expect(decoder.push(encodePeerFrame([]))).toEqual({
      ok: false,
      error: 'the stream failed earlier',
    });
  });

  it.each([
    ['no msgpack', Uint8Array.of(0xc1), 'not a msgpack array of items'],
    ['an empty body', new Uint8Array(0), 'not a msgpack array of items'],
    ['a truncated array', Uint8Array.of(0xdd, 255, 255, 255, 255), 'not a msgpack array of items'],
    ['a nesting bomb', new Uint8Array(100_000).fill(0x91), 'not a msgpack array of items'],
    ['no array', Uint8Array.of(5), 'not a msgpack array of items'],
    ['an unknown kind', Uint8Array.of(0x91, 0x91, 99), 'an item of unknown kind or shape'],
    [
      'a bad shard',
      Uint8Array.of(0x91, 0x92, 2, 0x91, 0x92, 1, 1),
      'an item of unknown kind or shape',
    ],
    ['a hello without ids', Uint8Array.of(0x91, 0x92, 1, 1), 'an item of unknown kind or shape'],
  ])('are refused: %s', (_, body, error) => {
    expect(new PeerFrameDecoder(LIMIT).push(raw(body))).toEqual({ ok: false, error });
  });

  it('never make the decoder throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
        new PeerFrameDecoder(LIMIT).push(raw(noise));
        new PeerFrameDecoder(LIMIT).push(noise);
      }),
      { numRuns: 500 },
    );
  });
});
