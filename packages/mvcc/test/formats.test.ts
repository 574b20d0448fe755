import { readFileSync, writeFileSync } from 'node:fs';
import {
  fromHex,
  KvError,
  type LeaseId,
  NO_LEASE,
  type SessionTag,
  type TxnOp,
  type TxnRequest,
  term,
  toHex,
  utf8,
} from '@kvorum/base';
import {
  COMPACTION_KEY,
  decodeHead,
  decodeLease,
  decodeMeta,
  decodeOrigins,
  decodeWriteSet,
  Engine,
  encodeLease,
  encodeMeta,
  encodeWriteSet,
  HARD_STATE_KEY,
  headKey,
  initialMeta,
  MEMBERSHIP_KEY,
  META_KEY,
  type Proposal,
  REVISION_TIMES_KEY,
  type RowFields,
  revisionKey,
  SHARD_TIME_KEY,
  STATE_PREFIXES,
  sessionKey,
  writeSetEvents,
} from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OriginRecorder } from '../src/origins.ts';
import { decodeResult, encodeResult } from '../src/result-codec.ts';
import { rowPrefixes } from '../src/row-codec.ts';
import { MemoryStore, TestReplica } from './harness.ts';

const CLIENT = '00112233445566778899aabbccddeeff';

const put: RowFields = {
  modMain: 2 ** 40 + 1,
  modSub: 0,
  create: 7,
  version: 3,
  lease: -5n as LeaseId,
  deleted: false,
  prevMain: 2 ** 33,
  prevSub: 4,
  key: utf8('key'),
  value: utf8('value'),
};
const tombstone: RowFields = {
  ...put,
  modSub: 1,
  create: 0,
  version: 0,
  lease: NO_LEASE,
  deleted: true,
  key: utf8('gone'),
  value: new Uint8Array(0),
};

function sample(origins?: Uint8Array): Uint8Array {
  return encodeWriteSet([put, tombstone], {
    leaderTimeMs: 1_700_000_000_000,
    baseRevision: 2 ** 40,
    revisionCount: 1,
    compactRevision: 12,
    sessions: [
      { storeKey: sessionKey(CLIENT), value: utf8('row') },
      { storeKey: sessionKey('f'.repeat(32)), value: undefined },
    ],
    leases: [{ storeKey: utf8('l1234567'), value: new Uint8Array(0) }],
    origins,
  });
}

function sampleOrigins(): Uint8Array | undefined {
  const recorder = new OriginRecorder();
  recorder.begin({ user: 'alice', client: 'billing@h1' });
  recorder.end({ revision: 1, compactedTo: -1 }, { revision: 2, compactedTo: 1 });
  return recorder.encode();
}

/** Compares with checked-in bytes: what a version wrote stays readable for ever. */
function expectGolden(name: string, bytes: Uint8Array): void {
  const path = new URL(`./golden/${name}`, import.meta.url);
  if (process.env['KV_REWRITE'] === '1') writeFileSync(path, `${toHex(bytes)}\n`);
  expect(toHex(bytes)).toBe(readFileSync(path, 'utf8').trim());
}

it('every row of its own kind has a key of its own', () => {
  const single = { COMPACTION_KEY, HARD_STATE_KEY, MEMBERSHIP_KEY, META_KEY };
  const keys = Object.values({ ...single, REVISION_TIMES_KEY, SHARD_TIME_KEY });
  const first = [
    ...keys.map((key) => key[0]),
    ...Object.values(STATE_PREFIXES),
    ...Object.values(rowPrefixes),
  ];
  expect(new Set(first).size).toBe(first.length);
});

describe('write set', () => {
  it('keeps its bytes', () => {
    expectGolden('write-set-v1.hex', sample());
    expectGolden('write-set-v2.hex', sample(sampleOrigins()));
  });

  it('applies by slices: heads, rows, sessions, leases', () => {
    const decoded = decodeWriteSet(sample());
    if (!decoded.ok) throw decoded.error;
    const { leaderTimeMs, baseRevision, revisionCount, compactRevision } = decoded.value;
    expect({ leaderTimeMs, baseRevision, revisionCount, compactRevision }).toEqual({
      leaderTimeMs: 1_700_000_000_000,
      baseRevision: 2 ** 40,
      revisionCount: 1,
      compactRevision: 12,
    });
    const events = [...writeSetEvents(decoded.value)];
    expect(events.map(({ type, kv }) => [type, kv.modRevision, kv.lease])).toEqual([
      ['put', 2 ** 40 + 1, -5n],
      ['delete', 2 ** 40 + 1, 0n],
    ]);
  });

  it('names who asked in version 2, which changes nothing else', () => {
    const decoded = decodeWriteSet(sample(sampleOrigins()));
    if (!decoded.ok) throw decoded.error;
    const origins = decodeOrigins(decoded.value.origins ?? new Uint8Array(0));
    if (!origins.ok) throw origins.error;
    const alice = { user: 'alice', client: 'billing@h1' };
    expect([origins.value.of(0), origins.value.of(1)]).toEqual([alice, undefined]);
    expect(origins.value.compactedBy).toEqual(alice);
    const plain = decodeWriteSet(sample());
    if (!plain.ok) throw plain.error;
    expect(plain.value.origins).toBeUndefined();
    expect([...writeSetEvents(decoded.value)]).toEqual([...writeSetEvents(plain.value)]);
  });

  it('reads heads back, with revisions above 2^32 and negative leases', () => {
    const store = new MemoryStore();
    const engine = Engine.load(
      { ...initialMeta(), revision: (2 ** 40) as never },
      new TestReplica().limits,
    );
    const applied = engine.apply(sample());
    if (!applied.ok) throw applied.error;
    applied.value.writeTo(store);
    const head = store.get(headKey(utf8('key'))) ?? new Uint8Array(0);
    expect(decodeHead(head)).toEqual({
      modMain: 2 ** 40 + 1,
      modSub: 0,
      create: 7,
      version: 3,
      lease: -5n,
      deleted: false,
    });
    expect(store.get(revisionKey(2 ** 40 + 1, 1))).toBeDefined();
    expect(store.get(sessionKey(CLIENT))).toEqual(utf8('row'));
  });

  it('refuses damage and other versions with an error, never an exception', () => {
    const good = sample();
    expect(decodeWriteSet(good.slice(0, -1)).ok).toBe(false);
    expect(decodeWriteSet(new Uint8Array([...good, 0])).ok).toBe(false);
    const newer = good.slice();
    newer[0] = 5;
    const refused = decodeWriteSet(newer);
    expect(!refused.ok && refused.error.message).toContain('unknown version 5');
    const flip = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(
        fc.array(flip, { minLength: 1, maxLength: 6 }),
        fc.nat(good.length),
        (flips, cut) => {
          const bad = good.slice(0, cut);
          for (const [at, mask] of flips) if (at < cut) bad[at] = (bad[at] ?? 0) ^ mask;
          const result = decodeWriteSet(bad);
          if (result.ok)
            expect([...writeSetEvents(result.value)]).toHaveLength(result.value.changeCount);
          else expect(result.error.code).toBe('KV_CORRUPT');
        },
      ),
      { seed: 7, numRuns: 2000 },
    );
  });

  it('is refused on another state than it was made for', () => {
    const replica = new TestReplica();
    replica.batch([{ request: { op: 'put', key: utf8('a'), value: utf8('1') } }]);
    const again = replica.engine.apply(replica.lastPayload ?? new Uint8Array(0));
    expect(!again.ok && again.error.code).toBe('KV_CORRUPT');
  });
});

describe('meta row', () => {
  it('keeps its bytes and reads back', () => {
    const meta = {
      ...initialMeta(),
      term: term(9),
      leaderId: 'ab'.repeat(16),
      seq: 3,
      chainHash: fromHex('cd'.repeat(32)) ?? new Uint8Array(0),
      compactRevision: 0,
    };
    expectGolden('meta-v1.hex', encodeMeta(meta));
    for (const one of [meta, initialMeta()]) {
      const decoded = decodeMeta(encodeMeta(one));
      expect(decoded.ok && decoded.value).toEqual(one);
    }
    expect(decodeMeta(new Uint8Array([9])).ok).toBe(false);
    expect(decodeMeta(encodeMeta(meta).slice(0, -1)).ok).toBe(false);
  });
});

describe('lease row', () => {
  it('reads back', () => {
    const lease = { id: 77n as LeaseId, ttlSeconds: 60, grantedAtMs: 5 };
    expect(decodeLease(encodeLease(lease))).toEqual({ ok: true, value: lease });
    expect(decodeLease(new Uint8Array(3)).ok).toBe(false);
  });
});

describe('stored results', () => {
  it('read back every kind of answer, nested too', () => {
    const replica = new TestReplica();
    const key = utf8('k');
    const write = { op: 'put' as const, key, value: utf8('v'), prevKv: true };
    const proposals: Proposal[] = [
      { request: write },
      { request: write },
      {
        request: {
          op: 'txn',
          compare: [],
          success: [
            { op: 'range', key },
            { op: 'delete-range', key, prevKv: true },
            {
              op: 'txn',
              compare: [],
              success: [{ op: 'put', key: utf8('n'), value: key }],
              failure: [],
            },
          ],
          failure: [],
        },
      },
      { request: { op: 'compact', revision: 3 } },
      { request: { op: 'compact', revision: 2 } },
    ];
    for (const result of replica.batch(proposals)) {
      const back = decodeResult(encodeResult(result));
      expect(back).toEqual(result);
      if (!result.ok && back?.ok === false) {
        expect(back.error.details).toEqual(result.error.details);
        expect(back.error.message).toBe(result.error.message);
      }
    }
    const error = new KvError('KV_INVALID_ARGUMENT', 'why: so', { details: { limit: 3 } });
    const back = decodeResult(encodeResult({ ok: false, error }));
    expect(back?.ok === false && back.error.message).toBe(error.message);
    expect(decodeResult(new Uint8Array([99]))).toBeUndefined();
  });
});

describe('record size', () => {
  const big = new Uint8Array(100_000).fill(1);
  const limits = { recordBytesMax: 350_000 };
  const write = (name: string): Proposal => ({
    request: { op: 'put', key: utf8(name), value: big },
  });

  it('turns away what no longer fits, and only that', () => {
    const replica = new TestReplica(limits);
    const results = replica.batch([
      write('a'),
      write('b'),
      write('c'),
      write('d'),
      { request: { op: 'put', key: utf8('e'), value: utf8('1') } },
    ]);
    expect(results.map((one) => (one.ok ? 'ok' : one.error.code))).toEqual([
      'ok',
      'ok',
      'ok',
      'KV_TOO_MANY_REQUESTS',
      'ok',
    ]);
    expect(replica.engine.revision).toBe(5);
    expect(replica.lastPayload?.length).toBeLessThan(limits.recordBytesMax);
  });

  it('undoes a txn that outgrows the record, in a batch that goes on', () => {
    const replica = new TestReplica(limits);
    replica.batch([write('a')]);
    const key = utf8('a');
    const ops = ['a', 'b', 'c', 'd'].map((name) => ({
      op: 'put' as const,
      key: utf8(name),
      value: big,
    }));
    const results = replica.batch([
      { request: { op: 'txn', compare: [], success: ops, failure: [] } },
      { request: { op: 'put', key, value: utf8('after'), prevKv: true } },
    ]);
    expect(results[0]?.ok === false && results[0].error.code).toBe('KV_REQUEST_TOO_LARGE');
    const second = results[1];
    const prevKv =
      second?.ok === true && second.response.op === 'put' ? second.response.prevKv : undefined;
    expect(prevKv?.value.length).toBe(big.length);
    expect(prevKv?.version).toBe(1);
    const range = replica.run(replica.engine.range({ op: 'range', key, rangeEnd: utf8('z') }));
    expect(range.ok && range.value.count).toBe(1);
  });

  it('refuses a range whose answer exceeds its limit, and answers it page by page', () => {
    const replica = new TestReplica({ rangeBytesMax: 10_000 });
    const keys = Array.from({ length: 20 }, (_, i) => utf8(`k${String(i).padStart(2, '0')}`));
    for (const key of keys) {
      replica.batch([{ request: { op: 'put', key, value: new Uint8Array(1000) } }]);
    }
    const range = { op: 'range', key: utf8('k'), rangeEnd: utf8('l') } as const;
    const whole = replica.run(replica.engine.range(range));
    expect(whole.ok ? 'ok' : whole.error.code).toBe('KV_REQUEST_TOO_LARGE');
    const page = replica.run(replica.engine.range({ ...range, limit: 5 }));
    expect(page.ok && page.value.kvs.length).toBe(5);
    const names = replica.run(replica.engine.range({ ...range, keysOnly: true }));
    expect(names.ok && names.value.kvs.length).toBe(20);
  });

  it('bounds the whole answer of a txn or a delete; what is refused has no effect anywhere', () => {
    const replica = new TestReplica({ rangeBytesMax: 10_000 });
    const key = utf8('k');
    for (const name of ['k1', 'k2', 'k3', 'k4', 'k5', 'k6']) {
      replica.batch([{ request: { op: 'put', key: utf8(name), value: new Uint8Array(2000) } }]);
    }
    const range = { op: 'range', key, rangeEnd: utf8('k5') } as const;
    const get = { op: 'range', key: utf8('k1') } as const;
    const put = { op: 'put', key: utf8('new'), value: key } as const;
    const over = { op: 'put', key: utf8('k1'), value: key, prevKv: true } as const;
    const gone = { op: 'delete-range', key, rangeEnd: utf8('l'), prevKv: true } as const;
    const txn = (...success: readonly TxnOp[]): TxnRequest => {
      return { op: 'txn', compare: [], success, failure: [] };
    };
    const tooMuch = [
      gone,
      txn(put, range, get),
      txn(put, range, over),
      txn(put, txn(range), txn(get)),
      txn(
        put,
        { ...gone, rangeEnd: utf8('k3') },
        { ...range, key: utf8('k3') },
        { ...get, key: utf8('k5') },
      ),
    ] as const;
    const at = replica.engine.revision;
    for (const request of tooMuch) {
      const [result] = replica.batch([{ request }]);
      expect(result?.ok === false && result.error.code).toBe('KV_REQUEST_TOO_LARGE');
      expect(result?.ok === false && result.error.details.limit).toBe(10_000);
      expect(replica.lastPayload).toBeUndefined();
    }
    expect(replica.engine.revision).toBe(at);
    const readOnly = replica.run(
      replica.engine.readTxn({ op: 'txn', compare: [], success: [range, get], failure: [] }),
    );
    expect(readOnly.ok ? 'ok' : readOnly.error.code).toBe('KV_REQUEST_TOO_LARGE');
    // In a batch the others go on, and the next command has the whole room again.
    const results = replica.batch([
      { request: txn(put, range, get) },
      { request: txn(put, range) },
      { request: txn(over) },
      { request: { op: 'delete-range', key, rangeEnd: utf8('l') } },
    ]);
    expect(results.map((result) => result.ok)).toEqual([false, true, true, true]);
  });

  it('counts the session rows of commands that write nothing', () => {
    const replica = new TestReplica({ recordBytesMax: 64 * 1024, sessionResultBytesMax: 16_384 });
    const key = utf8('stored');
    replica.batch([{ request: { op: 'put', key, value: new Uint8Array(12_000) } }]);
    const tag = (client: number, seq: number): SessionTag => ({
      clientId: String(client).padStart(32, '0'),
      seq,
      ackedThrough: 0,
      retry: false,
    });
    const clients = Array.from({ length: 20 }, (_, i) => i);
    for (const client of clients) {
      const compare = { key, target: 'version', result: 'greater', value: 9 } as const;
      const failure = [{ op: 'range', key } as const];
      const request = { op: 'txn', compare: [compare], success: [], failure } as const;
      replica.batch([{ request, session: tag(client, 1) }]);
    }
    const results = replica.batch(
      clients.map((client) => ({
        request: { op: 'delete-range', key: utf8('none') },
        session: tag(client, 2),
      })),
    );
    expect(replica.lastPayload?.length).toBeLessThanOrEqual(64 * 1024);
    const codes = results.map((result) => (result.ok ? 'ok' : result.error.code));
    expect([...new Set(codes)]).toEqual(['ok', 'KV_TOO_MANY_REQUESTS']);
  });

  it('does not remember a command that was turned away: its retry is executed', () => {
    const replica = new TestReplica(limits);
    const session = { clientId: CLIENT, seq: 4, ackedThrough: 0, retry: false };
    const tagged = { ...write('d'), session };
    const results = replica.batch([write('a'), write('b'), write('c'), tagged]);
    expect(results[3]?.ok).toBe(false);
    expect(replica.batch([{ ...tagged, session: { ...session, retry: true } }])[0]?.ok).toBe(true);
  });
});
