import { createHash } from 'node:crypto';
import { type ClusterId, DEFAULT_LIMITS, equalBytes, revision, type ShardId } from '@kvorum/base';
import {
  COMPACTION_KEY,
  Engine,
  type EngineMeta,
  HARD_STATE_KEY,
  initialMeta,
  keyAfter,
} from '@kvorum/mvcc';
import type { ReadView, StateReader } from '@kvorum/ports';
import { drive } from '@kvorum/replica';
import {
  SnapshotDecoder,
  SnapshotEncoder,
  type SnapshotHeader,
  type SnapshotPart,
  type SnapshotRow,
  type SnapshotTrailer,
} from '@kvorum/wire';

const CHUNK_ROWS = 2048;
const CHUNK_BYTES = 256 * 1024;

/** What is copied: a SnapshotView of replica, or a store with its position. */
export interface SnapshotSource {
  readonly shard: ShardId;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly meta: EngineMeta;
  readonly view: ReadView;
}

export interface SnapshotOptions {
  readonly clusterId: ClusterId;
  readonly createdAtMs: number;
  /** Also compute the state hash, which takes about as long again. */
  readonly withStateHash: boolean;
  /** Told once everything is out. */
  readonly ended?: (trailer: SnapshotTrailer) => void;
}

/** These stay with the replica: its vote, and how far its own clean-up has come. */
const isPrivate = (key: Uint8Array): boolean =>
  equalBytes(key, HARD_STATE_KEY) || equalBytes(key, COMPACTION_KEY);

/** A copy of one shard, piece by piece; holds one chunk at a time. The view stays open: it is the caller's. */
export async function* encodeSnapshot(
  source: SnapshotSource,
  options: SnapshotOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new SnapshotEncoder(createHash('sha256'));
  yield encoder.begin(headerOf(source, options));
  for await (const rows of allRows(source.view)) {
    const chunk = encoder.rows(rows.filter(([key]) => !isPrivate(key)));
    if (chunk.length > 0) yield chunk;
  }
  const { revision: main, compactRevision } = source.meta;
  const hash = options.withStateHash ? await stateHash(source.view, main, compactRevision) : '';
  const { bytes, trailer } = encoder.end(hash);
  yield bytes;
  options.ended?.(trailer);
}

/** Digest of the logical content of a store at its position, as the replicas compute it. */
export async function stateHash(
  reader: StateReader,
  main: number,
  compactRevision: number,
): Promise<string> {
  const meta = { ...initialMeta(), revision: revision(main), compactRevision };
  return (await drive(Engine.load(meta, DEFAULT_LIMITS).stateHash(), reader)).hash;
}

/** Every row of a store in the order of the keys, in bounded pieces. */
export async function* allRows(
  view: StateReader,
): AsyncGenerator<readonly SnapshotRow[], void, undefined> {
  let gte: Uint8Array = new Uint8Array(0);
  const lt = new Uint8Array([0xff]);
  for (;;) {
    const rows = await view.scan({ gte, lt }, { limit: CHUNK_ROWS, bytesMax: CHUNK_BYTES });
    const last = rows.at(-1);
    if (last === undefined) return;
    yield rows;
    gte = keyAfter(last[0]);
  }
}

function headerOf(source: SnapshotSource, options: SnapshotOptions): SnapshotHeader {
  const { shard, shardUid, generation, meta } = source;
  const { offset, index, term, leaderId, seq, chainHash, lastOffset, lastDigest } = meta;
  return {
    clusterId: options.clusterId,
    shard,
    shardUid,
    generation,
    position: { offset, index, term, leaderId, seq, chainHash, lastOffset, lastDigest },
    revision: meta.revision,
    compactRevision: meta.compactRevision,
    storeFormat: meta.format,
    createdAtMs: options.createdAtMs,
  };
}

interface DecodedPiece {
  readonly piece: Uint8Array;
  /** That end with it. */
  readonly parts: readonly SnapshotPart[];
}

/** Errors: KV_CORRUPT when the copy is damaged or ends early. */
async function* decoded(
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<DecodedPiece, void, undefined> {
  const decoder = new SnapshotDecoder(createHash('sha256'));
  for await (const piece of content) {
    const parts = decoder.push(piece);
    if (!parts.ok) throw parts.error;
    yield { piece, parts: parts.value };
  }
  const end = decoder.end();
  if (!end.ok) throw end.error;
}

/** The parts of a copy as they arrive. Errors: KV_CORRUPT when it is damaged or ends early. */
export async function* decodeSnapshot(
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<SnapshotPart, void, undefined> {
  for await (const { parts } of decoded(content)) yield* parts;
}

/** Passes a copy through, checked: whoever stores it stores nothing that is damaged or cut off. */
export async function* checkedSnapshot(
  content: AsyncIterable<Uint8Array>,
  seen: (part: SnapshotPart) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { piece, parts } of decoded(content)) {
    for (const part of parts) seen(part);
    yield piece;
  }
}
