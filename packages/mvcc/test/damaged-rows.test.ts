import { InvariantError, KvError, utf8 } from '@kvorum/base';
import {
  decodeHead,
  decodeWriteSet,
  encodeWriteSet,
  META_KEY,
  type Proposal,
  revisionKey,
  sessionKey,
} from '@kvorum/mvcc';
import { describe, expect, it } from 'vitest';
import { decodeResult, encodeResult } from '../src/result-codec.ts';
import { TestReplica } from './harness.ts';

const CLIENT = 'a'.repeat(32);
const FRAME = { leaderTimeMs: 1, baseRevision: 1, revisionCount: 0 };
const corrupt: unknown = expect.objectContaining({ code: 'KV_CORRUPT' });

function tagged(value: string): Proposal {
  const session = { clientId: CLIENT, seq: 1, ackedThrough: 0, retry: false };
  return { session, request: { op: 'put', key: utf8('k'), value: utf8(value), prevKv: true } };
}

describe('damaged bytes are told from bugs', () => {
  it('a stored refusal whose details are no JSON is not a result', () => {
    const bytes = encodeResult({ ok: false, error: new KvError('KV_NO_SPACE', 'text') });
    expect(decodeResult(bytes)).toMatchObject({ ok: false });
    const damaged = Uint8Array.from(bytes);
    damaged[damaged.length - 1] = 0x3c;
    expect(decodeResult(damaged)).toBeUndefined();
  });

  it('a stored result nested without end is not a result', () => {
    const level = [4, 2, 1, 1]; // txn, revision 2, succeeded, one response
    const bomb = Uint8Array.from({ length: 1 << 20 }, (_, at) => level[at % 4] ?? 0);
    expect(decodeResult(bomb)).toBeUndefined();
  });

  it('an unreadable session row is KV_CORRUPT for the leader that loads it', () => {
    const replica = new TestReplica();
    replica.batch([tagged('1')]);
    const row = replica.store.get(sessionKey(CLIENT)) ?? new Uint8Array(0);
    for (const bad of [row.subarray(0, -1), Uint8Array.of(99), new Uint8Array(0)]) {
      replica.store.put(sessionKey(CLIENT), bad);
      expect(() => replica.restart()).toThrow(corrupt as Error);
    }
  });

  it('a session result that cannot be read is KV_CORRUPT for the retry that asks for it', () => {
    const replica = new TestReplica();
    replica.batch([{ request: { op: 'put', key: utf8('k'), value: utf8('0') } }]);
    replica.batch([tagged('1')]);
    const row = Uint8Array.from(replica.store.get(sessionKey(CLIENT)) ?? []);
    const at = row.indexOf(2, 5); // the tag of a put with its previous value
    row[at] = 99;
    replica.store.put(sessionKey(CLIENT), row);
    replica.restart();
    expect(() => replica.batch([tagged('1')])).toThrow(corrupt as Error);
  });

  it('a head that is none is KV_CORRUPT', () => {
    expect(() => decodeHead(new Uint8Array(39))).toThrow(corrupt as Error);
    expect(() => decodeHead(Uint8Array.of(1))).toThrow(corrupt as Error);
  });

  it.each([
    ['delete', { op: 'delete-range', key: utf8('k') }],
    ['put', { op: 'put', key: utf8('k'), value: utf8('2') }],
  ] as const)('a %s is not watched without what it replaces', (_, request) => {
    const replica = new TestReplica();
    replica.hub.add(1, { key: utf8('k'), prevKv: true }, replica.engine.revision);
    replica.batch([{ request: { op: 'put', key: utf8('k'), value: utf8('1') } }]);
    replica.store.delete(revisionKey(2, 0));
    expect(() => replica.batch([{ request }])).toThrow(new InvariantError('row 2 is missing'));
  });

  it('a write set cannot reach rows of another kind', () => {
    const change = { storeKey: META_KEY, value: utf8('x') };
    for (const frame of [{ sessions: [change] }, { leases: [change] }]) {
      const bytes = encodeWriteSet([], { ...FRAME, ...frame });
      expect(decodeWriteSet(bytes)).toMatchObject({ ok: false, error: { code: 'KV_CORRUPT' } });
    }
  });
});
