import {
  type ClusterId,
  clusterId,
  err,
  formatId,
  fromHex,
  isPlain,
  isShardId,
  KvError,
  type LogIndex,
  type LogOffset,
  logIndex,
  logOffset,
  ok,
  type Plain,
  type Result,
  type ShardId,
  type Term,
  term,
  toHex,
  tryUtf8,
  utf8,
} from '@kvorum/base';

/** Where in its log a copy of a shard stands: what a replica needs to go on from it. */
export interface SnapshotPosition {
  /** Log offset of the last record looked at; -1 = none. */
  readonly offset: LogOffset;
  readonly index: LogIndex;
  readonly term: Term;
  /** 32 hex digits; '' before the first barrier. */
  readonly leaderId: string;
  readonly seq: number;
  /** 32 bytes. */
  readonly chainHash: Uint8Array;
  /** Offset and SHA-256 of the last accepted record; -1 and empty = none. */
  readonly lastOffset: LogOffset;
  readonly lastDigest: Uint8Array;
}

/** What a copy of a shard is of. */
export interface SnapshotHeader {
  readonly clusterId: ClusterId;
  readonly shard: ShardId;
  /** 16 bytes. */
  readonly shardUid: Uint8Array;
  /** Generation of the shard's log. */
  readonly generation: number;
  readonly position: SnapshotPosition;
  readonly revision: number;
  /** -1 = never compacted. */
  readonly compactRevision: number;
  /** Format of the rows. */
  readonly storeFormat: number;
  /** Wall clock of the member that made it, milliseconds since 1970. */
  readonly createdAtMs: number;
}

/** What stands at the end of a copy: proof that it is whole. */
export interface SnapshotTrailer {
  readonly chunkCount: number;
  readonly rowCount: number;
  /** Bytes of keys and values. */
  readonly rowBytes: number;
  /** 32 bytes, over everything before the trailer. */
  readonly sha256: Uint8Array;
  /** Digest of the logical content, 16 hex digits, as every replica computes it at this index; '' = not computed. */
  readonly stateHash: string;
}

const HEX_16 = /^[0-9a-f]{16}$/;
const HEX_32 = /^[0-9a-f]{32}$/;
const HEX_64 = /^[0-9a-f]{64}$/;

class Malformed extends Error {}

/** Reads checked fields of a JSON object; every refusal names the field. */
class Fields {
  readonly #from: Plain;

  constructor(bytes: Uint8Array) {
    const text = tryUtf8(bytes);
    let value: unknown;
    try {
      value = text === undefined ? undefined : JSON.parse(text);
    } catch {
      value = undefined; // refused below, as everything that is no object
    }
    if (!isPlain(value)) throw new Malformed('not a JSON object');
    this.#from = value;
  }

  text(name: string, pattern: RegExp, form: string): string {
    const value = this.#from[name];
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw new Malformed(`${name} must be ${form}`);
  }

  bytes(name: string, pattern: RegExp, form: string): Uint8Array {
    const bytes = fromHex(this.text(name, pattern, form));
    if (bytes === undefined) throw new Malformed(`${name} must be ${form}`);
    return bytes;
  }

  count(name: string, min = 0): number {
    const value = this.#from[name];
    if (Number.isSafeInteger(value) && (value as number) >= min) return value as number;
    throw new Malformed(`${name} must be a whole number >= ${min}`);
  }

  shard(name: string): ShardId {
    const value = this.#from[name];
    if (isShardId(value)) return value;
    throw new Malformed(`${name} must be a shard id`);
  }
}

function parsed<T>(what: string, read: () => T): Result<T, KvError> {
  try {
    return ok(read());
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return err(new KvError('KV_CORRUPT', `snapshot ${what}: ${error.message}`));
  }
}

/** JSON, so that `head -c 700` of a copy tells a person what it is. */
export function encodeSnapshotHeader(header: SnapshotHeader): Uint8Array {
  const { position } = header;
  return utf8(
    JSON.stringify({
      clusterId: formatId(header.clusterId),
      shard: header.shard,
      shardUid: toHex(header.shardUid),
      generation: header.generation,
      offset: position.offset,
      index: position.index,
      term: position.term,
      leaderId: position.leaderId,
      seq: position.seq,
      chainHash: toHex(position.chainHash),
      lastOffset: position.lastOffset,
      lastDigest: toHex(position.lastDigest),
      revision: header.revision,
      compactRevision: header.compactRevision,
      storeFormat: header.storeFormat,
      createdAtMs: header.createdAtMs,
    }),
  );
}

/** Errors: KV_CORRUPT, naming the field. */
export function decodeSnapshotHeader(bytes: Uint8Array): Result<SnapshotHeader, KvError> {
  return parsed('header', () => {
    const from = new Fields(bytes);
    const cluster = BigInt(`0x${from.text('clusterId', HEX_16, '16 hex digits')}`);
    if (cluster === 0n) throw new Malformed('clusterId must not be 0');
    return {
      clusterId: clusterId(cluster),
      shard: from.shard('shard'),
      shardUid: from.bytes('shardUid', HEX_32, '32 hex digits'),
      generation: from.count('generation'),
      position: {
        offset: logOffset(from.count('offset', -1)),
        index: logIndex(from.count('index')),
        term: term(from.count('term')),
        leaderId: from.text('leaderId', /^([0-9a-f]{32})?$/, '32 hex digits or empty'),
        seq: from.count('seq'),
        chainHash: from.bytes('chainHash', HEX_64, '64 hex digits'),
        lastOffset: logOffset(from.count('lastOffset', -1)),
        lastDigest: from.bytes('lastDigest', /^([0-9a-f]{64})?$/, '64 hex digits or empty'),
      },
      revision: from.count('revision'),
      compactRevision: from.count('compactRevision', -1),
      storeFormat: from.count('storeFormat'),
      createdAtMs: from.count('createdAtMs'),
    };
  });
}

export function encodeSnapshotTrailer(trailer: SnapshotTrailer): Uint8Array {
  return utf8(JSON.stringify({ ...trailer, sha256: toHex(trailer.sha256) }));
}

/** Errors: KV_CORRUPT, naming the field. */
export function decodeSnapshotTrailer(bytes: Uint8Array): Result<SnapshotTrailer, KvError> {
  return parsed('trailer', () => {
    const from = new Fields(bytes);
    return {
      chunkCount: from.count('chunkCount'),
      rowCount: from.count('rowCount'),
      rowBytes: from.count('rowBytes'),
      sha256: from.bytes('sha256', HEX_64, '64 hex digits'),
      stateHash: from.text('stateHash', /^([0-9a-f]{16})?$/, '16 hex digits or empty'),
    };
  });
}
