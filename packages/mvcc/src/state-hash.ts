import { compareBytes } from '@kvorum/base';
import { eachRow, getMany, keyAfter, type Reading, type StoredRow, scanChunk } from './reading.ts';
import {
  decodeHead,
  prefixRange,
  revisionKey,
  revisionKeyMain,
  rowIsTombstone,
  rowPrevMain,
  rowPrevStoreKey,
  STATE_PREFIXES,
} from './row-codec.ts';

const HEAD_PREFIX = 0x6b;
const REVISION_PREFIX = 0x72;
const PREV_AT = 39;
const PREV_END = 52;

/** A digest of a replica's logical content at a revision; equal content gives equal digests. */
export interface StateDigest {
  readonly revision: number;
  readonly compactRevision: number;
  /** 16 hex digits. Finds divergence, does not resist an attacker. */
  readonly hash: string;
}

/**
 * Hashes what can be read of the state: every row from the compact revision on, for every key the version that was
 * newest before it (unless deleted), sessions, leases and intents.
 *
 * Rows that compaction may or may not have removed yet do not count, nor do pointers to them. The sum over the rows
 * is the same in any order, so nothing has to be held. Cost: one walk over heads and kept history.
 */
export function* digestState(revision: number, compactRevision: number): Reading<StateDigest> {
  const sum = new HashSum();
  yield* addHistory(sum, revision, compactRevision);
  yield* addOldHeads(sum, compactRevision);
  for (const prefix of Object.values(STATE_PREFIXES)) {
    const { gte, lt } = prefixRange(prefix);
    yield* eachRow(gte, lt, (key, value) => sum.add(key, value));
  }
  return { revision, compactRevision, hash: sum.hex(revision, compactRevision) };
}

type ChunkVisitor = (rows: readonly StoredRow[]) => Reading<void>;

function* eachChunk(gte: Uint8Array, lt: Uint8Array, visit: ChunkVisitor): Reading<void> {
  let from = gte;
  while (compareBytes(from, lt) < 0) {
    const rows = yield* scanChunk(from, lt);
    const last = rows.at(-1);
    if (last === undefined) return;
    yield* visit(rows);
    from = keyAfter(last[0]);
  }
}

/** Rows from the compact revision on, and the older live rows that they supersede. */
function* addHistory(sum: HashSum, revision: number, compactRevision: number): Reading<void> {
  const gte = revisionKey(Math.max(0, compactRevision), 0);
  yield* eachChunk(gte, revisionKey(revision + 1, 0), function* addRows(rows) {
    const older: Uint8Array[] = [];
    for (const [key, row] of rows) {
      sum.addRow(row);
      const prevMain = rowPrevMain(row);
      // A row at the compact revision itself hides its predecessor from every permitted read.
      const visible = prevMain > 0 && prevMain < compactRevision;
      if (visible && revisionKeyMain(key) > compactRevision) older.push(rowPrevStoreKey(row));
    }
    for (const row of yield* getMany(older)) {
      if (row !== undefined && !rowIsTombstone(row)) sum.addRow(row);
    }
  });
}

/** Keys whose newest version is older than the compact revision. */
function* addOldHeads(sum: HashSum, compactRevision: number): Reading<void> {
  const { gte, lt } = prefixRange(HEAD_PREFIX);
  yield* eachChunk(gte, lt, function* addRows(rows) {
    const heads = rows.map(([, value]) => decodeHead(value));
    const old = heads.filter((head) => !head.deleted && head.modMain < compactRevision);
    const pointers = old.map((head) => revisionKey(head.modMain, head.modSub));
    for (const row of yield* getMany(pointers)) if (row !== undefined) sum.addRow(row);
  });
}

/** Two 32-bit lanes of MurmurHash3's mixing over each row, added up. */
export class HashSum {
  private low = 0;
  private high = 0;

  /** A revision row without its pointer to the previous row. */
  addRow(row: Uint8Array): void {
    this.add(row.subarray(0, PREV_AT), row.subarray(PREV_END));
  }

  add(first: Uint8Array, second: Uint8Array): void {
    this.low = (this.low + lane(first, second, 0x9747b28c)) >>> 0;
    this.high = (this.high + lane(first, second, 0x5bd1e995)) >>> 0;
  }

  hex(revision: number, compactRevision: number): string {
    const tail = revisionKey(revision, 0);
    this.add(tail, revisionKey(compactRevision + 1, REVISION_PREFIX));
    return this.high.toString(16).padStart(8, '0') + this.low.toString(16).padStart(8, '0');
  }
}

function lane(first: Uint8Array, second: Uint8Array, seed: number): number {
  let hash = mix(mix(seed, first), second);
  hash ^= first.length * 31 + second.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mix(seed: number, bytes: Uint8Array): number {
  let hash = seed;
  for (const byte of bytes) {
    let k = Math.imul(byte + 1, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    hash ^= Math.imul(k, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  return hash;
}
