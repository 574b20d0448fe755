import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fromUtf8, KvError, type KvRequest, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import { isSerializable } from '@kvorum/mvcc';
import {
  CompactionRequestSchema,
  Compare_CompareResult,
  Compare_CompareTarget,
  type CompareSchema,
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  PutRequestSchema,
  PutResponseSchema,
  type RangeRequest_SortTarget,
  RangeRequestSchema,
  type RangeStreamResponse,
  type RequestOpSchema,
  TxnRequestSchema,
  TxnResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kvHandlers } from '../../src/etcd/services/kv.ts';
import type { RouteOptions } from '../../src/router/router.ts';
import { but, Collected, callOf, plain, refusal, withoutLeaders } from '../support/etcd-calls.ts';
import { type OneMember, startOneMember, temporaryDirectory } from '../support/one-member.ts';

type Init<Schema extends Parameters<typeof create>[0]> = MessageInitShape<Schema>;
type Op = Init<typeof RequestOpSchema>;

const MAX = 2n ** 63n - 1n;

/** A member of its own, with the handlers and short forms of the requests. */
function member(shards: number) {
  const directory = temporaryDirectory();
  let running: OneMember | undefined;
  beforeAll(async () => {
    running = await startOneMember(directory.path, { shards });
  });
  afterAll(async () => {
    await running?.stop();
    directory.remove();
  });
  const handlers = () => {
    if (running === undefined) throw new Error('not started');
    return kvHandlers(running.member.host);
  };
  const call = callOf();
  const put = (key: string, value = '', more: Init<typeof PutRequestSchema> = {}) =>
    handlers().put(create(PutRequestSchema, { key: utf8(key), value: utf8(value), ...more }), call);
  const range = (key: string, end = '', more: Init<typeof RangeRequestSchema> = {}) =>
    handlers().range(
      create(RangeRequestSchema, { key: utf8(key), rangeEnd: utf8(end), ...more }),
      call,
    );
  const remove = (key: string, end = '', more: Init<typeof DeleteRangeRequestSchema> = {}) =>
    handlers().deleteRange(
      create(DeleteRangeRequestSchema, { key: utf8(key), rangeEnd: utf8(end), ...more }),
      call,
    );
  const txn = (request: Init<typeof TxnRequestSchema>) =>
    handlers().txn(create(TxnRequestSchema, request), call);
  const compact = (revision: bigint) =>
    handlers().compact(create(CompactionRequestSchema, { revision }), call);
  const keys = async (...args: Parameters<typeof range>) => {
    const { kvs, more, count } = await range(...args);
    return `${kvs.map((kv) => fromUtf8(kv.key)).join(' ')} of ${count}${more ? ' more' : ''}`;
  };
  const host = () => {
    if (running === undefined) throw new Error('not started');
    return running.member.host;
  };
  return { host, handlers, put, range, remove, txn, compact, keys, call };
}

const putOp = (key: string, value = ''): Op => ({
  request: { case: 'requestPut', value: { key: utf8(key), value: utf8(value) } },
});
const rangeOp = (key: string, more: Init<typeof RangeRequestSchema> = {}): Op => ({
  request: { case: 'requestRange', value: { key: utf8(key), ...more } },
});
const deleteOp = (key: string, end = ''): Op => ({
  request: { case: 'requestDeleteRange', value: { key: utf8(key), rangeEnd: utf8(end) } },
});
const txnOp = (value: Init<typeof TxnRequestSchema>): Op => ({
  request: { case: 'requestTxn', value },
});

describe('with one shard', () => {
  const { host, handlers, put, range, remove, txn, compact, keys, call } = member(1);

  it('starts at revision 1, compacted to -1, and numbers writes from 2', async () => {
    const { header } = await range('a');
    expect(header).toMatchObject({ revision: 1n, memberId: host().self });
    expect(header?.clusterId).toBe(BigInt(`0x${host().clusterId}`));
    expect(header?.raftTerm).toBeGreaterThan(0n);
    expect(await refusal(compact(-1n))).toContain('has been compacted');
    expect(plain(PutResponseSchema, await put('a', '1'))).toEqual({ header: { revision: '2' } });
    expect(plain(PutResponseSchema, await put('a', '2', { prevKv: true }))).toEqual({
      header: { revision: '3' },
      prevKv: { key: 'YQ==', value: 'MQ==', createRevision: '2', modRevision: '2', version: '1' },
    });
    expect(plain(DeleteRangeResponseSchema, await remove('nothing'))).toEqual({
      header: { revision: '3' },
    });
    expect(plain(DeleteRangeResponseSchema, await remove('a', '', { prevKv: true }))).toEqual({
      header: { revision: '4' },
      deleted: '1',
      prevKvs: [
        { key: 'YQ==', value: 'Mg==', createRevision: '2', modRevision: '3', version: '2' },
      ],
    });
  });

  it('answers ranges with every option', async () => {
    for (const key of ['r/d', 'r/c', 'r/b', 'r/a']) await put(key, key);
    expect(await keys('r/', 'r0')).toBe('r/a r/b r/c r/d of 4');
    expect(await keys('r/', 'r0', { limit: 2n })).toBe('r/a r/b of 4 more');
    expect(await keys('r/', 'r0', { limit: -1n })).toBe('r/a r/b r/c r/d of 4');
    expect(await keys('r/', 'r0', { limit: MAX })).toBe('r/a r/b r/c r/d of 4');
    expect(await keys('r/', 'r0', { sortOrder: 2, limit: 1n })).toBe('r/d of 4 more');
    expect(await keys('r/', 'r0', { sortTarget: 3, limit: 2n })).toBe('r/c r/b of 4 more');
    expect(await keys('r/', 'r0', { countOnly: true })).toBe(' of 4');
    expect(await keys('r/b', 'r/a')).toBe(' of 0');
    expect(await keys('r/', 'r0', { minModRevision: MAX })).toBe(' of 4');
    expect(await keys('r/', 'r0', { maxCreateRevision: MAX, revision: -5n })).toBe(
      'r/a r/b r/c r/d of 4',
    );
    const kept = await range('r/a', '', { keysOnly: true });
    expect(kept.kvs[0]?.value).toEqual(new Uint8Array(0));
    expect(await refusal(range('', 'x'))).toContain('etcdserver: key is not provided');
    for (const wrong of [{ sortOrder: 9 }, { sortTarget: 9 }]) {
      expect(await refusal(range('r/', 'r0', wrong))).toContain('invalid sort option');
    }
    for (const revision of [1000n, MAX]) {
      expect(await refusal(range('r/', 'r0', { revision }))).toContain('is a future revision');
    }
  });

  it('refuses puts as etcd does', async () => {
    expect(await refusal(put(''))).toContain('key is not provided');
    expect(await refusal(put('k', 'v', { ignoreValue: true }))).toContain('value is provided');
    expect(await refusal(put('k', '', { ignoreLease: true, lease: 1n }))).toContain(
      'lease is provided',
    );
    expect(await refusal(put('none', '', { ignoreValue: true }))).toContain('key not found');
    expect(await refusal(put('k', '', { lease: -(2n ** 63n) }))).toContain('lease not found');
    // The lease is looked at first.
    expect(await refusal(put('none', '', { ignoreValue: true, lease: MAX }))).toContain(
      'requested lease not found',
    );
    // In a txn the key is.
    const value = { key: utf8('none'), ignoreValue: true, lease: MAX };
    const success = [{ request: { case: 'requestPut', value } } as const];
    expect(await refusal(txn({ success }))).toContain('key not found');
    expect(await refusal(put('k', 'x'.repeat(1_600_000)))).toContain('request is too large');
  });

  it('runs transactions, with the headers that etcd sends', async () => {
    await put('t', 'old');
    const { header } = await range('t');
    const now = Number(header?.revision);
    const answer = await txn({
      compare: [{ key: utf8('t'), target: Compare_CompareTarget.VERSION, result: 1 }],
      success: [
        rangeOp('t'),
        putOp('t', 'new'),
        rangeOp('t'),
        txnOp({ success: [putOp('u')] }),
        deleteOp('nothing'),
      ],
    });
    const before = { key: 'dA==', createRevision: `${now}`, value: 'b2xk' };
    expect(plain(TxnResponseSchema, answer)).toEqual({
      header: { revision: `${now + 1}` },
      succeeded: true,
      responses: [
        {
          responseRange: {
            header: { revision: `${now}` },
            kvs: [{ ...before, modRevision: `${now}`, version: '1' }],
            count: '1',
          },
        },
        { responsePut: { header: { revision: `${now + 1}` } } },
        {
          responseRange: {
            header: { revision: `${now + 1}` },
            kvs: [{ ...before, value: 'bmV3', modRevision: `${now + 1}`, version: '2' }],
            count: '1',
          },
        },
        {
          responseTxn: {
            header: {},
            succeeded: true,
            responses: [{ responsePut: { header: { revision: `${now + 1}` } } }],
          },
        },
        { responseDeleteRange: { header: { revision: `${now + 1}` } } },
      ],
    });
    expect(plain(TxnResponseSchema, await txn({}))).toEqual({
      header: { revision: `${now + 1}` },
      succeeded: true,
    });
  });

  it('refuses transactions in etcd’s order', async () => {
    const many = Array.from({ length: 129 }, () => putOp('same'));
    const cases: readonly (readonly [Init<typeof TxnRequestSchema>, string])[] = [
      [{ success: many }, 'too many operations'],
      [{ failure: many }, 'too many operations'],
      [{ compare: Array.from({ length: 129 }, () => ({})) }, 'too many operations'],
      [{ compare: [{}], success: [{}] }, 'key is not provided'],
      [{ success: [{}] }, 'etcdserver: key not found'],
      [
        { success: [rangeOp('x', { sortTarget: 9 as RangeRequest_SortTarget }), {}] },
        'invalid sort option',
      ],
      [{ success: [putOp('x'), putOp('x')] }, 'duplicate key'],
      [{ success: [deleteOp('a', 'c'), putOp('b')] }, 'duplicate key'],
      [{ success: [rangeOp('x', { revision: 1_000_000n }), putOp('z')] }, 'future revision'],
      [{ success: [rangeOp('x', { revision: MAX }), putOp('z')] }, 'future revision'],
      [
        { success: [...many.slice(0, 127), txnOp({ success: many.slice(0, 2) })] },
        'too many operations',
      ],
    ];
    for (const [request, text] of cases) expect(await refusal(txn(request))).toContain(text);
    expect((await range('z')).count).toBe(0n);
    expect(await refusal(txn({ success: [deleteOp('q'), deleteOp('q')] }))).toBe('OK');
  });

  it('compares as etcd does, unset and unknown members too', async () => {
    await put('c', '5');
    const { EQUAL, GREATER, LESS, NOT_EQUAL } = Compare_CompareResult;
    const { VERSION, MOD, VALUE, LEASE } = Compare_CompareTarget;
    type Case = readonly [Init<typeof CompareSchema>, boolean];
    const cases: readonly Case[] = [
      [{ result: GREATER, target: VERSION }, true],
      [{ result: LESS, target: MOD, targetUnion: { case: 'modRevision', value: MAX } }, true],
      [{ result: GREATER, target: MOD, targetUnion: { case: 'modRevision', value: -MAX } }, true],
      [{ result: EQUAL, target: MOD, targetUnion: { case: 'version', value: 7n } }, false],
      [{ result: EQUAL, target: VALUE, targetUnion: { case: 'value', value: utf8('5') } }, true],
      [{ result: NOT_EQUAL, target: VALUE }, true],
      [{ result: EQUAL, target: LEASE }, true],
      [{ key: utf8('no'), result: EQUAL, target: VALUE }, false],
      [{ key: utf8('no'), result: EQUAL, target: VERSION }, true],
      [{ result: 9 as typeof EQUAL, target: VERSION }, true],
      [{ result: 9 as typeof EQUAL, target: VALUE }, true],
      [{ key: utf8('no'), result: 9 as typeof EQUAL, target: VALUE }, false],
      [{ key: utf8('no'), result: 9 as typeof EQUAL, target: VERSION }, true],
      [{ result: EQUAL, target: 9 as typeof VERSION }, true],
      [{ result: GREATER, target: 9 as typeof VERSION }, false],
    ];
    for (const [compare, holds] of cases) {
      const { succeeded } = await txn({ compare: [{ key: utf8('c'), ...compare }] });
      expect({ compare, succeeded }).toEqual({ compare, succeeded: holds });
    }
  });

  it('streams a range in pieces of one revision, and leaves sorting and filters to Range', async () => {
    for (let i = 0; i < 35; i += 1) await put(`s/${i + 100}`, 'v');
    const at = (await range('s/')).header?.revision;
    const stream = async (more: Init<typeof RangeRequestSchema>) => {
      const out = new Collected<RangeStreamResponse>();
      const request = create(RangeRequestSchema, {
        key: utf8('s/'),
        rangeEnd: utf8('s0'),
        ...more,
      });
      await handlers().rangeStream(request, out, call);
      const pieces = out.messages.map(({ rangeResponse }) => rangeResponse);
      const rest = pieces.slice(0, -1);
      expect(rest.every((one) => one?.header === undefined && one?.count === 0n)).toBe(true);
      expect(pieces.at(-1)?.header?.revision).toBe(at);
      const last = pieces.at(-1);
      return [pieces.map((one) => one?.kvs.length), last?.count, last?.more];
    };
    expect(await stream({})).toEqual([[10, 20, 5], 35n, false]);
    expect(await stream({ limit: 12n })).toEqual([[10, 2], 35n, true]);
    expect(await stream({ countOnly: true })).toEqual([[0], 35n, false]);
    expect(await refusal(stream({ sortOrder: 2 }))).toBe(
      'UNIMPLEMENTED RangeStream does not support custom sort orders',
    );
    expect(await refusal(stream({ minModRevision: 1n }))).toContain('revision filters');
  });

  it('compacts: at the compacted revision reading goes on, below it does not', async () => {
    const { header } = await put('r/a', 'last');
    const at = header?.revision ?? 0n;
    expect((await compact(at)).header?.revision).toBe(at);
    expect((await range('r/a', '', { revision: at })).count).toBe(1n);
    expect(await refusal(range('r/a', '', { revision: at - 1n }))).toContain('has been compacted');
    for (const revision of [at, 0n, -MAX]) {
      expect(await refusal(compact(revision))).toContain('required revision has been compacted');
    }
    expect(await refusal(compact(MAX))).toContain('is a future revision');
    // A negative revision is the newest for a range, and a compacted one inside a txn: etcd checks them in two places.
    expect((await range('r/a', '', { revision: -1n })).count).toBe(1n);
    const inTxn = txn({ success: [rangeOp('r/a', { revision: -1n })] });
    expect(await refusal(inTxn)).toContain('required revision has been compacted');
  });

  it('waits for a revision that a local reading does not know yet', async () => {
    const { router } = host();
    const behind = but(host(), 'router', {
      execute: (request: KvRequest, options: RouteOptions) => {
        const isLocal = isSerializable(request);
        if (isLocal) return Promise.reject(new KvError('KV_FUTURE_REVISION'));
        return router.execute(request, options);
      },
    } as typeof router);
    const { range: read, txn: run } = kvHandlers(behind);
    const asked = { key: utf8('r/a'), serializable: true };
    expect((await read(create(RangeRequestSchema, asked), call)).count).toBe(1n);
    const inTxn = create(TxnRequestSchema, { success: [rangeOp('r/a', asked)] });
    expect((await run(inTxn, call)).succeeded).toBe(true);
  });

  it('refuses at once what requires a leader while there is none', async () => {
    const leaderless = withoutLeaders(host());
    const request = create(RangeRequestSchema, { key: utf8('a') });
    const { range: read } = kvHandlers(leaderless);
    expect(await refusal(read(request, callOf({ hasleader: 'true' })))).toBe(
      'UNAVAILABLE etcdserver: no leader',
    );
    expect(await refusal(read(request, callOf()))).toBe('OK');
  });
});

describe('with four shards', () => {
  const { put, range, remove, txn, compact, keys } = member(4);
  const tagged = (tag: string) => `{${tag}}`;

  it('merges a plain range, and behaves as etcd inside one shard', async () => {
    for (const tag of ['1', '2', '3', '4', '5', '6']) await put(`${tagged(tag)}k`, tag);
    expect(await keys('{', '|', { limit: 4n })).toBe('{1}k {2}k {3}k {4}k of 6 more');
    expect((await range('{1}', '{1~', { revision: 1n })).count).toBe(0n);
    const { succeeded } = await txn({ success: [putOp('{1}a'), putOp('{1}b')] });
    expect(succeeded).toBe(true);
    const { kvs } = await range('{1}a', '{1}c');
    expect(new Set(kvs.map((kv) => kv.modRevision)).size).toBe(1);
  });

  it('says of a txn over several shards which keys lie where, and which tag brings them together', async () => {
    const refused = await refusal(txn({ success: ['alpha', 'b', 'c', 'd'].map((k) => putOp(k)) }));
    expect(refused).toMatch(/^FAILED_PRECONDITION kv: keys of one atomic request lie in several/);
    expect(refused).toMatch(/"alpha" lies in shard \d, "b" in shard \d, "c" in shard \d, "d" in/);
    expect(refused).toContain('"{alpha}alpha" and "{alpha}b"');
    const many = Array.from({ length: 100 }, (_, i) => putOp(`key${i}${'x'.repeat(1000)}`));
    expect((await refusal(txn({ success: many }))).length).toBeLessThan(1000);
  });

  it('refuses what no single revision can say', async () => {
    const all = await refusal(range('\0', '\0', { revision: 1n }));
    expect(all).toContain('a range starting at "\\x00" spans the shards');
    expect(all).toContain('for example "{tag}…"');
    const historic = await refusal(range('a', 'z', { revision: 1n }));
    expect(historic).toMatch(/^FAILED_PRECONDITION .*"a" spans the shards .*revisions of its own/);
    expect(await refusal(remove('a', 'z'))).toMatch(/^FAILED_PRECONDITION /);
    expect(await refusal(compact(1n))).toMatch(/^FAILED_PRECONDITION .*kvctl compaction REVISION/);
    expect(await refusal(range(fromUtf8(RANGE_END_OPEN), '\0'))).toBe('OK');
  });
});
