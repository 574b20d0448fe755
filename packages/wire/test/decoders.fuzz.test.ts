import {
  type Compare,
  clusterId,
  copyBytes,
  ERROR_TABLE,
  type ErrorCode,
  KvError,
  type KvRequest,
  leaderId,
  leaseId,
  memberId,
  shardId,
  type TxnOp,
  term,
  toHex,
} from '@kvorum/base';
import {
  CONTROL_METHODS,
  decodeLogRecord,
  encodeLogRecord,
  encodePeerFrame,
  errorFromPlain,
  type LogPage,
  type LogParams,
  type LogRecord,
  PeerFrameDecoder,
  type PeerItem,
  packFrame,
  parseClientFrame,
  parseHashParams,
  parseHealth,
  parseKvRequest,
  parseLogPage,
  parseLogParams,
  parseMemberStatus,
  parseMembers,
  parseServerFrame,
  parseShardHash,
  parseShards,
  parseTransferParams,
  plainError,
} from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import {
  BYTES,
  COUNT,
  expectTyped,
  fuzz,
  hasStableCode,
  mutationSeeds,
  SEED,
  tried,
} from '../../../test/fuzz/fuzz.ts';
import { mutateBytes, mutatePlain } from '../../../test/fuzz/mutate.ts';

const MUTANTS = 16;
const FRAME_BYTES_MAX = 1 << 16;

const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const withoutAbsent = <T extends object>(fields: T): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;

const lease = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(leaseId);
const integer = fc.oneof(fc.integer(), fc.maxSafeInteger());
const flag = optional(fc.boolean());

const range = fc
  .record({
    op: fc.constant('range' as const),
    key: BYTES,
    rangeEnd: optional(BYTES),
    limit: optional(integer),
    revision: optional(integer),
    sortOrder: optional(fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const)),
    sortTarget: optional(
      fc.constantFrom('key' as const, 'version' as const, 'create' as const, 'mod' as const),
    ),
    serializable: flag,
    keysOnly: flag,
    countOnly: flag,
    minModRevision: optional(integer),
    maxCreateRevision: optional(integer),
  })
  .map(withoutAbsent) as fc.Arbitrary<TxnOp>;
const put = fc
  .record({
    op: fc.constant('put' as const),
    key: BYTES,
    value: BYTES,
    lease: optional(lease),
    prevKv: flag,
    ignoreValue: flag,
    ignoreLease: flag,
  })
  .map(withoutAbsent) as fc.Arbitrary<TxnOp>;
const remove = fc
  .record({
    op: fc.constant('delete-range' as const),
    key: BYTES,
    rangeEnd: optional(BYTES),
    prevKv: flag,
  })
  .map(withoutAbsent) as fc.Arbitrary<TxnOp>;
const result = fc.constantFrom(
  'equal' as const,
  'greater' as const,
  'less' as const,
  'not-equal' as const,
);
const compare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({
    key: BYTES,
    result,
    target: fc.constantFrom('version' as const, 'create' as const, 'mod' as const),
    value: integer,
  }),
  fc.record({ key: BYTES, result, target: fc.constant('value' as const), value: BYTES }),
  fc.record({ key: BYTES, result, target: fc.constant('lease' as const), value: lease }),
);
const txnOf = (op: fc.Arbitrary<TxnOp>): fc.Arbitrary<TxnOp> =>
  fc.record({
    op: fc.constant('txn' as const),
    compare: fc.array(compare, { maxLength: 2 }),
    success: fc.array(op, { maxLength: 3 }),
    failure: fc.array(op, { maxLength: 2 }),
  });
const flat = fc.oneof(range, put, remove);
const request: fc.Arbitrary<KvRequest> = fc.oneof(
  flat,
  txnOf(fc.oneof(flat, txnOf(flat))),
  fc
    .record({ op: fc.constant('compact' as const), revision: integer, physical: flag })
    .map(withoutAbsent) as fc.Arbitrary<KvRequest>,
);

const item = fc.oneof(
  fc.tuple(COUNT, fc.constant(1 as const), COUNT, fc.boolean(), BYTES, BYTES),
  fc.tuple(COUNT, fc.constant(2 as const), BYTES),
  fc.tuple(COUNT, fc.constant(3 as const), COUNT, fc.boolean(), request),
);
const clientId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(toHex);
/** Frames as they are packed, and what they are read as. */
type Frame = readonly [packed: readonly unknown[], read: object];
const clientFrame: fc.Arbitrary<Frame> = fc.oneof(
  fc
    .tuple(COUNT, clientId, fc.string())
    .map(
      ([protocol, id, name]): Frame => [
        [1, protocol, id, name],
        { type: 1, protocol, clientId: id, name },
      ],
    ),
  fc
    .tuple(fc.string(), COUNT, COUNT, COUNT, fc.array(item, { maxLength: 4 }))
    .map(
      ([shard, mapVersion, timeoutMs, ackedThrough, items]): Frame => [
        [2, shard, mapVersion, timeoutMs, ackedThrough, items],
        { type: 2, shard, mapVersion, timeoutMs, ackedThrough, items },
      ],
    ),
  fc
    .tuple(COUNT, fc.string(), BYTES)
    .map(
      ([watchId, shard, key]): Frame => [
        [3, watchId, shard, { key }],
        { type: 3, watchId, shard, request: { key } },
      ],
    ),
  COUNT.map((watchId): Frame => [[4, watchId], { type: 4, watchId }]),
  fc
    .tuple(COUNT, fc.constantFrom(...CONTROL_METHODS))
    .map(([id, method]): Frame => [[5, id, method, null], { type: 5, id, method, params: null }]),
);

const id64 = fc.bigInt({ min: 1n, max: (1n << 64n) - 1n });
const plain = fc.oneof(request, COUNT, BYTES, fc.string(), fc.constant(null));
const peerItem: fc.Arbitrary<PeerItem> = fc.oneof(
  fc.record({
    kind: fc.constant('hello' as const),
    protocolVersion: COUNT,
    // msgpack keeps a bigint a bigint only in its long forms, which ids of members have.
    clusterId: id64.map(clusterId),
    memberId: id64.map(memberId),
    diskId: fc.string(),
  }),
  fc.record({
    kind: fc.constant('messages' as const),
    messages: fc.array(fc.tuple(fc.nat(99_999).map(shardId), plain), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constantFrom('request' as const, 'response' as const),
    id: COUNT,
    payload: plain,
  }),
  fc.constantFrom({ kind: 'ping' as const }, { kind: 'pong' as const }),
);

const logRecord: fc.Arbitrary<LogRecord> = fc
  .record({
    shardUid: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    generation: COUNT,
    term: COUNT.map(term),
    leaderId: clientId.map(leaderId),
    seq: COUNT,
    prevHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    kind: fc.constantFrom(
      'barrier' as const,
      'batch' as const,
      'config' as const,
      'genesis' as const,
    ),
    leaderTimeMs: COUNT,
    payload: BYTES,
  })
  .map((record) =>
    record.kind === 'barrier' ? { ...record, prevHash: new Uint8Array(32) } : record,
  );

/** Takes a frame in pieces of every size: what a stream does to it changes nothing. */
function inPieces(bytes: Uint8Array, seed: number): ReturnType<PeerFrameDecoder['push']> {
  const decoder = new PeerFrameDecoder({ frameBytesMax: FRAME_BYTES_MAX });
  const items: PeerItem[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + ((seed >>> (at % 24)) & 31);
    const pushed = decoder.push(bytes.slice(at, end));
    if (!pushed.ok) return pushed;
    items.push(...pushed.value);
    at = end;
  }
  return { ok: true, value: items };
}

describe('round trips', () => {
  fuzz(
    'log records, client frames, peer frames and requests come back as they were',
    80,
    fc.property(
      logRecord,
      clientFrame,
      fc.array(peerItem, { maxLength: 3 }),
      SEED,
      (record, [frame, read], items, seed) => {
        expect(tried(() => decodeLogRecord(encodeLogRecord(record)))).toEqual({
          ok: true,
          value: record,
        });
        expect(tried(() => parseClientFrame(copyBytes(packFrame(frame))))).toEqual({
          ok: true,
          value: read,
        });
        expect(tried(() => inPieces(encodePeerFrame(items), seed))).toEqual({
          ok: true,
          value: items,
        });
      },
    ),
  );
});

describe('damaged bytes are an error or a value', () => {
  fuzz(
    'log records',
    80,
    fc.property(logRecord, logRecord, SEED, (one, other, seed) => {
      const [bytes, donor] = [encodeLogRecord(one), encodeLogRecord(other)];
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const decoded = tried(() => decodeLogRecord(mutateBytes(bytes, donor, mutation)));
        if (decoded.ok) encodeLogRecord(decoded.value);
        else expect(['malformed', 'unknown-version']).toContain(decoded.error);
      }
    }),
  );

  fuzz(
    'client frames',
    80,
    fc.property(clientFrame, clientFrame, SEED, ([one], [other], seed) => {
      const [bytes, donor] = [packFrame(one), packFrame(other)];
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutateBytes(bytes, donor, mutation);
        expectTyped(tried(() => parseClientFrame(mutant)));
        tried(() => parseServerFrame(mutant));
      }
    }),
  );

  fuzz(
    'peer frames',
    80,
    fc.property(
      fc.array(peerItem, { maxLength: 3 }),
      fc.array(peerItem, { maxLength: 3 }),
      SEED,
      (one, other, seed) => {
        const [bytes, donor] = [encodePeerFrame(one), encodePeerFrame(other)];
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const mutant = mutateBytes(bytes, donor, mutation);
          // The length right again, so that the damage reaches the parser behind it.
          if (mutation % 2 === 0 && mutant.length >= 4) {
            new DataView(mutant.buffer).setUint32(0, mutant.length - 4);
          }
          const whole = tried(() =>
            new PeerFrameDecoder({ frameBytesMax: FRAME_BYTES_MAX }).push(mutant),
          );
          if (!whole.ok) expect(whole.error).toEqual(expect.any(String));
          tried(() => inPieces(mutant, mutation));
        }
      },
    ),
  );

  fuzz(
    'noise as any of them',
    80,
    fc.property(fc.uint8Array({ maxLength: 64 }), SEED, (noise, seed) => {
      tried(() => decodeLogRecord(noise));
      expectTyped(tried(() => parseClientFrame(noise)));
      tried(() => parseServerFrame(noise));
      tried(() => inPieces(noise, seed));
    }),
  );
});

const PARSERS = [
  parseKvRequest,
  parseHashParams,
  parseHealth,
  parseMemberStatus,
  parseMembers,
  parseShardHash,
  parseShards,
  parseTransferParams,
];

const answer = fc.oneof(
  request,
  fc.record({ healthy: fc.boolean(), reasons: fc.array(fc.string(), { maxLength: 2 }) }),
  fc.record({
    shard: fc.string(),
    member: fc.string(),
    index: COUNT,
    revision: COUNT,
    hash: fc.string(),
  }),
  fc.array(
    fc.record({
      id: fc.string(),
      name: fc.string(),
      clientUrls: fc.array(fc.string(), { maxLength: 2 }),
      peerAddress: fc.string(),
      shard: fc.string(),
      slots: fc.array(fc.tuple(COUNT, COUNT), { maxLength: 2 }),
      voters: fc.array(fc.string(), { maxLength: 2 }),
      term: COUNT,
      revision: COUNT,
    }),
    { maxLength: 2 },
  ),
);

const cursor = fc.record({
  offset: fc.nat(),
  position: optional(
    fc.record({
      term: fc.nat(),
      leaderId: fc.constantFrom('', 'a'.repeat(32)),
      seq: fc.nat(),
      chainHash: fc.constant('0f'.repeat(32)),
    }),
  ),
});
const logParams: fc.Arbitrary<LogParams> = fc.record({
  shard: fc.constantFrom('0', 'meta', ''),
  cursor: optional(cursor.map(withoutAbsent)),
  from: optional(fc.nat()),
  sinceMs: optional(fc.nat()),
  last: optional(fc.nat()),
  key: optional(BYTES),
  values: optional(fc.boolean()),
  waitMs: optional(fc.nat()),
});
const logPage: fc.Arbitrary<LogPage> = fc.record({
  shard: fc.string(),
  logName: fc.string(),
  start: fc.nat(),
  end: fc.nat(),
  next: cursor.map(withoutAbsent),
  records: fc.array(
    fc.record({
      offset: fc.nat(),
      bytes: fc.nat(),
      timeMs: fc.nat(),
      generation: fc.nat(),
      term: fc.nat(),
      leader: fc.string(),
      seq: fc.nat(),
      kind: fc.constantFrom('barrier', 'batch', 'config'),
      verdict: fc.constantFrom('accepted', 'ignored', 'unknown'),
      changes: fc.array(
        fc.record({
          type: fc.constantFrom('put' as const, 'delete' as const),
          key: BYTES,
          revision: fc.nat(),
          version: fc.nat(),
          valueBytes: fc.nat(),
          user: fc.string(),
          client: fc.string(),
        }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 3 },
  ),
});

describe('a page of the log', () => {
  fuzz(
    'question and answer read back; of any other shape they are an error or a value',
    100,
    fc.property(logParams, logPage, SEED, (params, page, seed) => {
      const asked = parseLogParams(params);
      if (!asked.ok) throw asked.error;
      expect(withoutAbsent(asked.value)).toEqual(withoutAbsent(params));
      const read = parseLogPage(page);
      if (!read.ok) throw read.error;
      expect(read.value).toEqual(page);
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        expectTyped(parseLogParams(mutatePlain(params, mutation)));
        expectTyped(parseLogPage(mutatePlain(page, mutation)));
      }
    }),
  );
});

describe('plain data of any shape is an error or a value', () => {
  fuzz(
    'requests, parameters and answers of control methods',
    80,
    fc.property(answer, SEED, (value, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutatePlain(value, mutation);
        for (const parse of PARSERS) expectTyped(tried(() => parse(mutant)));
      }
    }),
  );

  fuzz(
    'errors',
    80,
    fc.property(
      fc.constantFrom(...(Object.keys(ERROR_TABLE) as ErrorCode[])),
      fc.string(),
      fc.constantFrom('unknown' as const, 'not-applied' as const),
      SEED,
      (code, detail, outcome, seed) => {
        const error = new KvError(code, detail, { outcome, details: { limit: 1 } });
        const back = errorFromPlain(plainError(error));
        expect(plainError(back)).toEqual(plainError(error));
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const mutant = mutatePlain(plainError(error), mutation);
          expect(hasStableCode(tried(() => errorFromPlain(mutant)))).toBe(true);
        }
      },
    ),
  );
});
