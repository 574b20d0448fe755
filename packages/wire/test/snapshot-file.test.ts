import { createHash } from 'node:crypto';
import {
  clusterId,
  concatBytes,
  logIndex,
  logOffset,
  shardId,
  term,
  toHex,
  utf8,
} from '@kvorum/base';
import {
  SnapshotDecoder,
  SnapshotEncoder,
  type SnapshotHeader,
  type SnapshotPart,
  type SnapshotRow,
} from '@kvorum/wire';
import { describe, expect, it } from 'vitest';

const HEADER: SnapshotHeader = {
  clusterId: clusterId(0xabcdn),
  shard: shardId(3),
  shardUid: new Uint8Array(16).fill(7),
  generation: 1,
  position: {
    offset: logOffset(41),
    index: logIndex(40),
    term: term(5),
    leaderId: 'ab'.repeat(16),
    seq: 9,
    chainHash: new Uint8Array(32).fill(1),
    lastOffset: logOffset(40),
    lastDigest: new Uint8Array(32).fill(2),
  },
  revision: 17,
  compactRevision: -1,
  storeFormat: 1,
  createdAtMs: 1_700_000_000_000,
};
const CHUNKS: readonly (readonly SnapshotRow[])[] = [
  [
    [utf8('a'), utf8('1')],
    [utf8('b'), new Uint8Array(0)],
  ],
  [[utf8('c'), new Uint8Array(1000).fill(9)]],
];

const sha = (): ReturnType<typeof createHash> => createHash('sha256');

function encode(): Uint8Array[] {
  const encoder = new SnapshotEncoder(sha());
  const pieces = [encoder.begin(HEADER), ...CHUNKS.map((rows) => encoder.rows(rows))];
  return [...pieces, encoder.end('0123456789abcdef').bytes];
}

/** The parts, or the words of the refusal. */
function decode(bytes: Uint8Array, pieceBytes = bytes.length): readonly SnapshotPart[] | string {
  const decoder = new SnapshotDecoder(sha());
  const parts: SnapshotPart[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const pushed = decoder.push(bytes.subarray(at, at + pieceBytes));
    if (!pushed.ok) return pushed.error.message.replace(/^.*?: /, '');
    parts.push(...pushed.value);
  }
  const end = decoder.end();
  return end.ok ? parts : end.error.message.replace(/^.*?: /, '');
}

describe('a snapshot file', () => {
  it('comes back whole, whatever pieces it arrives in', () => {
    const bytes = concatBytes(...encode());
    for (const pieceBytes of [1, 7, 100, bytes.length]) {
      const parts = decode(bytes, pieceBytes);
      expect(parts).toHaveLength(4);
      expect(parts[0]).toEqual({ kind: 'header', header: HEADER });
      expect(parts[1]).toEqual({ kind: 'rows', rows: CHUNKS[0] });
      expect(parts[2]).toEqual({ kind: 'rows', rows: CHUNKS[1] });
      expect(parts[3]).toMatchObject({
        kind: 'trailer',
        trailer: { chunkCount: 2, rowCount: 3, rowBytes: 1004, stateHash: '0123456789abcdef' },
      });
    }
  });

  it('has bytes that never change', () => {
    const digest = sha()
      .update(concatBytes(...encode()))
      .digest();
    expect(toHex(digest)).toMatchInlineSnapshot(
      `"9821c2cdf7bde16a4ad00d9a316f142408875312ae7b8e2443fe559e0f92b336"`,
    );
  });

  it('names what is wrong, and where', () => {
    const [begin, first, second, end] = encode() as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
      bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const at = begin.length;
    expect(decode(flipped(begin, 0))).toMatch('this is no snapshot');
    expect(decode(flipped(begin, 4))).toMatch('snapshot format 0, this build reads 1');
    expect(decode(concatBytes(begin, flipped(first, 12), second, end))).toMatch(
      `damaged snapshot at byte ${at}: the checksum does not match`,
    );
    expect(decode(concatBytes(begin, second, end))).toMatch('chunk 0 is missing');
    expect(decode(concatBytes(begin, first, first, second, end))).toMatch('chunk 1 is missing');
    expect(decode(concatBytes(begin, first, end))).toMatch('1 chunks, the trailer says 2');
    expect(decode(concatBytes(begin, begin.subarray(5)))).toMatch('a second header');
    expect(decode(concatBytes(begin.subarray(0, 5), first))).toMatch('the header is missing');
    expect(decode(concatBytes(begin, first, second))).toMatch('without a trailer');
    expect(decode(concatBytes(begin, first, second, end, first))).toMatch(
      'bytes after the trailer',
    );
  });

  it('is not waited for when a frame claims more than there may be (CVE-2020-15106)', () => {
    const [begin, first] = encode() as [Uint8Array, Uint8Array];
    const lying = Uint8Array.from(first);
    new DataView(lying.buffer).setUint32(1, 2 ** 32 - 1);
    expect(decode(concatBytes(begin, lying))).toMatch('a frame of 4294967295 bytes');
  });

  it('notices another file of the same shape by its SHA-256', () => {
    const other = new SnapshotEncoder(sha());
    const pieces = [other.begin({ ...HEADER, revision: 18 }), ...CHUNKS.map((c) => other.rows(c))];
    const [, , , end] = encode() as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    expect(decode(concatBytes(...pieces, end))).toMatch('SHA-256 does not match');
  });
});
