import {
  DEFAULT_LIMITS,
  ERROR_TABLE,
  type ErrorCode,
  type KeyValue,
  KvError,
  type KvResponse,
  leaseId,
  logIndex,
  logOffset,
  ORIGIN_NAME_BYTES_MAX,
  type Origin,
  originOf,
  type Revision,
  revision,
  type TxnOpResponse,
  term,
  toHex,
  utf8,
} from '@kvorum/base';
import {
  applyWriteSet,
  decodeHead,
  decodeLease,
  decodeMeta,
  decodeOrigins,
  decodeWriteSet,
  encodeLease,
  encodeMeta,
  encodeWriteSet,
  leaseKey,
  type Proposal,
  STORE_FORMAT,
  sessionKey,
  writeSetEvents,
  writeSetRows,
} from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import {
  BYTES,
  COUNT,
  expectTyped,
  fuzz,
  mutationSeeds,
  SEED,
  tried,
  triedThrowing,
} from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { OriginRecorder } from '../src/origins.ts';
import { decodeResult, encodeResult } from '../src/result-codec.ts';
import { rowKeyValue } from '../src/row-codec.ts';
import { TestReplica } from './harness.ts';

const MUTANTS = 16;

const leases = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(leaseId);
const clientId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(toHex);
const keyValue: fc.Arbitrary<KeyValue> = fc.record({
  key: BYTES,
  value: BYTES,
  createRevision: COUNT.map(revision),
  modRevision: COUNT.map(revision),
  version: COUNT,
  lease: leases,
});
const kvs = fc.array(keyValue, { maxLength: 3 });
const revisions = COUNT.map(revision) as fc.Arbitrary<Revision>;
const flatResponse: fc.Arbitrary<TxnOpResponse> = fc.oneof(
  fc.record({ op: fc.constant('put' as const), revision: revisions }),
  fc.record({ op: fc.constant('put' as const), revision: revisions, prevKv: keyValue }),
  fc.record({
    op: fc.constant('delete-range' as const),
    revision: revisions,
    deleted: COUNT,
    prevKvs: kvs,
  }),
  fc.record({
    op: fc.constant('range' as const),
    revision: revisions,
    more: fc.boolean(),
    count: COUNT,
    kvs,
  }),
);
const txnResponseOf = (inner: fc.Arbitrary<TxnOpResponse>): fc.Arbitrary<TxnOpResponse> =>
  fc.record({
    op: fc.constant('txn' as const),
    revision: revisions,
    succeeded: fc.boolean(),
    responses: fc.array(inner, { maxLength: 3 }),
  });
const response: fc.Arbitrary<KvResponse> = fc.oneof(
  flatResponse,
  txnResponseOf(fc.oneof(flatResponse, txnResponseOf(flatResponse))),
  fc.record({ op: fc.constant('compact' as const), revision: revisions }),
);

/** Write sets as a leader makes them: rows in order, session and lease rows behind. */
const writeSet = fc
  .record({
    leaderTimeMs: COUNT,
    baseRevision: fc.nat().map((n) => n + 1),
    keys: fc.array(fc.tuple(BYTES, BYTES, fc.boolean(), fc.boolean()), { maxLength: 4 }),
    compactRevision: fc.option(COUNT, { nil: undefined }),
    sessions: fc.array(fc.tuple(clientId, fc.option(BYTES, { nil: undefined })), { maxLength: 2 }),
    leaseRows: fc.array(fc.tuple(leases, fc.option(BYTES, { nil: undefined })), { maxLength: 2 }),
    user: fc.option(fc.string(), { nil: undefined }),
  })
  .map(({ keys, sessions, leaseRows, user, compactRevision, leaderTimeMs, baseRevision }) => {
    let main = baseRevision;
    let sub = -1;
    const rows = keys.map(([key, value, deleted, sameRevision]) => {
      if (sub >= 0 && sameRevision) sub += 1;
      else {
        main += 1;
        sub = 0;
      }
      const live = deleted ? { create: 0, version: 0 } : { create: main, version: 1 };
      const row = {
        modMain: main,
        modSub: sub,
        ...live,
        lease: leaseId(0n),
        deleted,
        prevMain: 0,
        prevSub: 0,
      };
      return {
        ...row,
        key: key.length === 0 ? utf8('k') : key,
        value: deleted ? new Uint8Array(0) : value,
      };
    });
    return encodeWriteSet(rows, {
      leaderTimeMs,
      baseRevision,
      revisionCount: main - baseRevision,
      ...(compactRevision === undefined ? {} : { compactRevision }),
      sessions: sessions.map(([id, value]) => ({ storeKey: sessionKey(id), value })),
      leases: leaseRows.map(([id, value]) => ({ storeKey: leaseKey(id), value })),
      ...(user === undefined ? {} : { metadata: { user, client: 'c' } }),
    });
  });

const meta = fc.record({
  generation: COUNT,
  offset: fc.oneof(fc.constant(-1), fc.nat()).map(logOffset),
  index: COUNT.map(logIndex),
  term: COUNT.map(term),
  leaderId: fc.oneof(
    fc.constant(''),
    clientId.filter((id) => !/^0+$/.test(id)),
  ),
  seq: COUNT,
  chainHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  lastOffset: fc.oneof(fc.constant(-1), fc.nat()).map(logOffset),
  lastDigest: fc.constantFrom(new Uint8Array(0), new Uint8Array(32).fill(7)),
  revision: COUNT.map(revision),
  compactRevision: fc.oneof(fc.constant(-1), fc.nat()),
  format: fc.constant(STORE_FORMAT),
});

/** Everything that a replica does with an accepted write set. */
function walk(bytes: Uint8Array): void {
  const decoded = decodeWriteSet(bytes);
  expectTyped(decoded);
  if (!decoded.ok) return;
  const sink = { put: () => undefined, delete: () => undefined };
  applyWriteSet(decoded.value, sink);
  for (const row of writeSetRows(decoded.value)) rowKeyValue(row);
  for (const event of writeSetEvents(decoded.value)) expect(event.kv.key.length).toBeGreaterThan(0);
}

describe('stored and logged bytes', () => {
  fuzz(
    'write sets: damaged ones are KV_CORRUPT or can be applied',
    100,
    fc.property(writeSet, writeSet, SEED, (one, other, seed) => {
      expect(decodeWriteSet(one)).toMatchObject({ ok: true, value: { bytes: one } });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        tried(() => walk(mutateBytes(one, other, mutation)));
      }
    }),
  );

  fuzz(
    'meta and lease rows: read back as written, damaged ones are KV_CORRUPT or a value',
    100,
    fc.property(meta, leases, COUNT, SEED, (row, id, count, seed) => {
      const lease = { id, ttlSeconds: count, grantedAtMs: count };
      const [metaBytes, leaseBytes] = [encodeMeta(row), encodeLease(lease)];
      expect(decodeMeta(metaBytes)).toEqual({ ok: true, value: row });
      expect(decodeLease(leaseBytes)).toEqual({ ok: true, value: lease });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = tried(() => decodeMeta(mutateBytes(metaBytes, leaseBytes, mutation)));
        expectTyped(mutant);
        if (mutant.ok) expect(decodeMeta(encodeMeta(mutant.value))).toEqual(mutant);
        expectTyped(tried(() => decodeLease(mutateBytes(leaseBytes, metaBytes, mutation))));
      }
    }),
  );

  fuzz(
    'results of sessions: read back as written, damaged ones are undefined or a result',
    100,
    fc.property(response, response, SEED, (one, other, seed) => {
      const bytes = encodeResult({ ok: true, response: one });
      expect(decodeResult(bytes)).toEqual({ ok: true, response: one });
      const donor = encodeResult({ ok: true, response: other });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        tried(() => decodeResult(mutateBytes(bytes, donor, mutation)));
      }
    }),
  );

  fuzz(
    'refusals of sessions: read back as written, damaged ones are undefined or a result',
    100,
    fc.property(
      fc.constantFrom(...(Object.keys(ERROR_TABLE) as ErrorCode[])),
      fc.string(),
      fc.record({ limit: fc.nat(), hint: fc.string() }),
      SEED,
      (code, detail, details, seed) => {
        const bytes = encodeResult({ ok: false, error: new KvError(code, detail, { details }) });
        expect(decodeResult(bytes)).toMatchObject({ ok: false, error: { code, details } });
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          tried(() => decodeResult(mutateBytes(bytes, bytes, mutation)));
        }
      },
    ),
  );
});

const origin: fc.Arbitrary<Origin | undefined> = fc
  .tuple(
    fc.constantFrom('', 'root', 'ünïcode'),
    fc.oneof(fc.constantFrom('', 'a', 'b'), fc.string({ unit: 'grapheme', maxLength: 90 })),
  )
  .map(([user, client]) => originOf(user, client));

describe('origins', () => {
  fuzz(
    'read back by revision, never take more room than claimed; damage is KV_CORRUPT or a value',
    200,
    fc.property(
      fc.array(fc.tuple(origin, fc.boolean()), { maxLength: 40 }),
      SEED,
      (steps, seed) => {
        const recorder = new OriginRecorder();
        let bytesMax = 0;
        const made: (Origin | undefined)[] = [];
        for (const [who, writes] of steps) {
          bytesMax = recorder.begin(who);
          const after = { revision: writes ? 2 : 1, compactedTo: -1 };
          recorder.end({ revision: 1, compactedTo: -1 }, after);
          if (writes) made.push(who);
          for (const text of [who?.user, who?.client]) {
            expect(utf8(text ?? '').length).toBeLessThanOrEqual(ORIGIN_NAME_BYTES_MAX);
            expect(text ?? '').not.toMatch(/\p{Cc}/u);
          }
        }
        const bytes = recorder.encode();
        expect(bytes === undefined).toBe(made.every((who) => who === undefined));
        if (bytes === undefined) return;
        expect(bytes.length).toBeLessThanOrEqual(bytesMax);
        const read = decodeOrigins(bytes);
        if (!read.ok) throw read.error;
        expect(made.map((_, nth) => read.value.of(nth))).toEqual(made);
        expect(read.value.of(made.length)).toBeUndefined();
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const damaged = tried(() => decodeOrigins(mutateBytes(bytes, bytes, mutation)));
          if (damaged?.ok === true) damaged.value.of(0);
        }
      },
    ),
  );

  fuzz(
    'a batch of named clients stays within a record and names who made each revision',
    40,
    fc.property(
      fc.array(fc.tuple(origin, fc.integer({ min: 0, max: 3000 }), fc.constantFrom('a', 'b')), {
        minLength: 1,
        maxLength: 20,
      }),
      (commands) => {
        const limits = { ...DEFAULT_LIMITS, recordBytesMax: 16_384 };
        const replica = new TestReplica(limits);
        const proposals = commands.map(([who, size, key]): Proposal => {
          const request = { op: 'put' as const, key: utf8(key), value: new Uint8Array(size) };
          return { request, origin: who };
        });
        const results = replica.batch(proposals);
        const payload = replica.lastPayload ?? new Uint8Array(0);
        expect(payload.length).toBeLessThanOrEqual(limits.recordBytesMax);
        const writeSet = decodeWriteSet(payload);
        if (!writeSet.ok) throw writeSet.error;
        const origins = decodeOrigins(writeSet.value.origins ?? new Uint8Array([0, 0]));
        if (!origins.ok) throw origins.error;
        const done = commands.filter((_, i) => results[i]?.ok === true);
        expect(done.map((_, nth) => origins.value.of(nth))).toEqual(done.map(([who]) => who));
      },
    ),
  );
});

const CLIENTS = ['1', '2'].map((digit) => digit.repeat(32));
const tagged: fc.Arbitrary<Proposal> = fc
  .record({
    client: fc.constantFrom(...CLIENTS),
    seq: fc.integer({ min: 1, max: 6 }),
    key: fc.constantFrom('a', 'b'),
    kind: fc.constantFrom('put' as const, 'delete' as const, 'refused' as const),
  })
  .map(({ client, seq, key, kind }) => ({
    session: { clientId: client, seq, ackedThrough: Math.max(0, seq - 4), retry: false },
    request:
      kind === 'delete'
        ? { op: 'delete-range', key: utf8(key), prevKv: true }
        : {
            op: 'put',
            key: utf8(key),
            value: utf8('v'),
            prevKv: kind === 'refused',
            ignoreValue: kind === 'refused',
          },
  }));

/** A replica with sessions, one of which is then damaged. */
function filled(batches: readonly (readonly Proposal[])[]): TestReplica {
  const replica = new TestReplica();
  for (const batch of batches) replica.batch(batch);
  return replica;
}

/** A new leader on a damaged store: it loads the sessions, writes over them, and another one loads them again. */
function use(replica: TestReplica, again: readonly Proposal[]): void {
  replica.restart();
  replica.batch(again);
  replica.restart();
}

describe('a damaged store', () => {
  fuzz(
    'session rows are KV_CORRUPT or a value, which the next batch builds on',
    60,
    fc.property(
      fc.array(fc.array(tagged, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
      SEED,
      (batches, seed) => {
        const source = filled(batches);
        const rows = source.store.keys().filter((key) => key.startsWith('73'));
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const replica = filled(batches);
          const key = Uint8Array.from(
            Buffer.from(rows[Math.abs(mutation) % rows.length] ?? '', 'hex'),
          );
          const row = replica.store.get(key) ?? new Uint8Array(0);
          const donor = replica.store.get(Uint8Array.from(Buffer.from(rows[0] ?? '', 'hex')));
          const damaged = mutateBytes(row, donor ?? row, mutation);
          replica.store.put(key, damaged);
          triedThrowing(() => use(replica, batches.flat()));
          triedThrowing(() => decodeHead(damaged));
        }
      },
    ),
  );
});
