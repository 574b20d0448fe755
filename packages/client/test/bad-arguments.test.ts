import { connect, KvError, type KvorumClient } from '@kvorum/client';
import { describe, expect, it } from 'vitest';
import { useClusters } from './support/clusters.ts';

const { cluster, client } = useClusters();

/** What a caller without a type checker may pass. */
const wrong = <T>(value: unknown): T => value as T;

describe('what no member could read is refused before it is sent', () => {
  it.each<[string, RegExp, (kv: KvorumClient) => Promise<unknown>]>([
    ['a number as a key', /strings or Uint8Arrays/, (kv) => kv.put(wrong(5), 'v')],
    [
      'a text as a revision',
      /revision must be an int/,
      (kv) => kv.get('k', { revision: wrong('new') }),
    ],
    ['a broken revision', /revision must be an integer/, (kv) => kv.get('k', { revision: 1.5 })],
    [
      'a text as a flag',
      /prevKv must be true or false/,
      (kv) => kv.put('k', 'v', { prevKv: wrong('yes') }),
    ],
    ['a number as a flag', /serializable must be/, (kv) => kv.get('k', { serializable: wrong(1) })],
    [
      'an unknown sort order',
      /sortOrder must be one of/,
      (kv) => kv.getAll({ prefix: 'a', sortOrder: wrong('up') }),
    ],
    ['a text as a revision to compact', /revision must be/, (kv) => kv.compact(wrong('all'))],
    ['a broken watch', /startRevision must be/, (kv) => kv.watch('k', { startRevision: -1 })],
    ['an unknown filter', /filters must be/, (kv) => kv.watch('k', { filters: wrong(['no-get']) })],
    [
      'a deadline that is none',
      /timeoutMs must be/,
      (kv) => kv.put('k', 'v', { timeoutMs: Number.NaN }),
    ],
    [
      'an option of put',
      /unknown option prevKV/,
      (kv) => kv.put('k', 'v', wrong({ prevKV: true })),
    ],
    ['an option of get', /unknown option rev /, (kv) => kv.get('k', wrong({ rev: 1 }))],
    [
      'an option of getAll',
      /unknown option limt/,
      (kv) => kv.getAll(wrong({ prefix: 'a', limt: 1 })),
    ],
    ['an option of watch', /unknown option from/, (kv) => kv.watch('k', wrong({ from: 1 }))],
    ['options that are none', /options must be an object/, (kv) => kv.get('k', wrong(null))],
    ['no range', /name the keys by prefix/, (kv) => kv.getAll(wrong(undefined))],
    ['nothing to delete', /name the keys by prefix/, (kv) => kv.delete(wrong(undefined))],
    ['no time of a lease', /ttlSeconds must be/, (kv) => kv.leases.grant(wrong(undefined))],
    [
      'an unknown kind of permission',
      /kind of a permission must be one of read, write, readwrite/,
      (kv) => kv.auth.grantPermission('r', wrong('rw'), 'k'),
    ],
  ])('%s', async (_what, message, call) => {
    const kv = await client(await cluster(1, 2));
    const others = Array.from({ length: 20 }, (_, i) => kv.put(`other/${i}`, 'v'));
    const error = await call(kv).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(KvError);
    expect(error).toMatchObject({
      code: 'KV_INVALID_ARGUMENT',
      outcome: 'not-applied',
      message: expect.stringMatching(message) as unknown,
    });
    expect(await Promise.all(others)).toHaveLength(20);
  });

  it('an option of connect', async () => {
    const options = { endpoint: 'http://127.0.0.1:2379' };
    await expect(connect(wrong(options))).rejects.toMatchObject({
      code: 'KV_CONFIG',
      message: expect.stringMatching(/unknown option endpoint \(known: endpoints/) as unknown,
    });
  });

  it('and a deadline beyond every clock is only a long one', async () => {
    const kv = await client(await cluster(1, 2));
    await kv.put('k', 'v', { timeoutMs: Number.POSITIVE_INFINITY });
    expect((await kv.get('k', { timeoutMs: Number.MAX_VALUE }))?.text()).toBe('v');
  });
});
