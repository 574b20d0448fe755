import { isCount, type LogOffset, logOffset } from '@kvorum/base';

/**
 * What snapshots travel as: 2 = the image of a store, byte by byte; 1, as members before it asked for without a word, rows. No snapshot
 * passes between members of different forms.
 */
export const SNAPSHOT_FORM = 2;

/** What a replica that needs a snapshot asks another one, as plain data. */
export type SnapshotRequest =
  | {
      readonly kind: 'snapshot-begin';
      readonly form: number;
      readonly shardUid: Uint8Array;
      readonly generation: number;
      /** The snapshot must hold everything below it: where the log starts. */
      readonly start: LogOffset;
    }
  /** Chunks are numbered from 0; asked again, one comes again as it was. */
  | { readonly kind: 'snapshot-chunk'; readonly id: string; readonly seq: number }
  | { readonly kind: 'snapshot-end'; readonly id: string };

/**
 * Why a replica gives no snapshot. `behind`: it does not hold what the log has lost, and never will from the log. `other-form`: the
 * member that asks is of a version that takes another form.
 */
export type SnapshotRefusal = 'behind' | 'busy' | 'not-following' | 'other-form' | 'wrong-shard';

export type SnapshotAnswer =
  | {
      readonly kind: 'snapshot';
      readonly id: string;
      /** The snapshot's position: it holds everything up to here and nothing above. */
      readonly offset: LogOffset;
      /** How many bytes will come. */
      readonly bytes: number;
      /** Of the image. */
      readonly layout: Uint8Array;
    }
  | { readonly kind: 'refused'; readonly why: SnapshotRefusal }
  | {
      readonly kind: 'chunk';
      readonly seq: number;
      readonly bytes: Uint8Array;
      /** SHA-256 of `bytes`. */
      readonly digest: Uint8Array;
      /** SHA-256 over the digests so far: before(this chunk) then this one's; zeros before the first. */
      readonly whole: Uint8Array;
      /** The last one. */
      readonly done: boolean;
    }
  /** The source no longer holds this snapshot: begin anew. */
  | { readonly kind: 'expired' }
  | { readonly kind: 'ended' };

const DIGEST_BYTES = 32;
const REFUSALS: readonly SnapshotRefusal[] = [
  'behind',
  'busy',
  'not-following',
  'other-form',
  'wrong-shard',
];

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function isDigest(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === DIGEST_BYTES;
}

/** Undefined for anything that is none. Unknown fields are ignored, so that newer members may add some. */
export function parseSnapshotRequest(value: unknown): SnapshotRequest | undefined {
  const { kind, form = 1, shardUid, generation, start, id, seq } = fieldsOf(value);
  if (kind === 'snapshot-begin') {
    const fits = shardUid instanceof Uint8Array && isCount(generation) && isCount(start);
    if (!fits || !isCount(form)) return undefined;
    return { kind, form, shardUid, generation, start: logOffset(start) };
  }
  if (typeof id !== 'string') return undefined;
  if (kind === 'snapshot-chunk' && isCount(seq)) return { kind, id, seq };
  return kind === 'snapshot-end' ? { kind, id } : undefined;
}

/** Undefined for anything that is none, also what an older member answers. */
export function parseSnapshotAnswer(value: unknown): SnapshotAnswer | undefined {
  const fields = fieldsOf(value);
  const { kind, id, offset, bytes, layout } = fields;
  switch (kind) {
    case 'snapshot':
      return typeof id === 'string' &&
        isCount(offset) &&
        isCount(bytes) &&
        layout instanceof Uint8Array
        ? { kind, id, offset: logOffset(offset), bytes, layout }
        : undefined;
    case 'refused': {
      const why = REFUSALS.find((one) => one === fields['why']);
      return why === undefined ? undefined : { kind, why };
    }
    case 'chunk':
      return parseChunk(fields);
    case 'expired':
    case 'ended':
      return { kind };
    default:
      return undefined;
  }
}

function parseChunk(fields: Fields): SnapshotAnswer | undefined {
  const { seq, bytes, digest, whole, done } = fields;
  const fits = isCount(seq) && bytes instanceof Uint8Array && typeof done === 'boolean';
  if (!fits || !isDigest(digest) || !isDigest(whole)) return undefined;
  return { kind: 'chunk', seq, bytes, digest, whole, done };
}
