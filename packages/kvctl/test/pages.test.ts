import { KvError, type Revision, utf8 } from '@kvorum/base';
import { Entry, type KeyRange, type RangeOptions, type RangeResult } from '@kvorum/client';
import { expect, it } from 'vitest';
import { entriesOf } from '../src/pages.ts';

const KEYS = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, '0')}`);
const ANSWER_KEYS_MAX = 4;

/** A cluster whose values are so large that an answer holds four of them. */
class LargeValues {
  readonly asked: (number | undefined)[] = [];

  async range(range: string | Uint8Array | KeyRange, options: RangeOptions = {}) {
    const { limit = Number.POSITIVE_INFINITY } = options;
    this.asked.push(options.limit);
    const from = typeof range === 'object' && 'from' in range ? range.from : '';
    const first = typeof from === 'string' ? from : Buffer.from(from).toString();
    const found = KEYS.filter((key) => key >= first);
    if (Math.min(limit, found.length) > ANSWER_KEYS_MAX) throw new KvError('KV_REQUEST_TOO_LARGE');
    const revision = 7 as Revision;
    const result: RangeResult = {
      entries: found.slice(0, limit).map(
        (key) =>
          new Entry({
            ...{ key: utf8(key), value: utf8('v'), version: 1, lease: 0n as Entry['lease'] },
            ...{ createRevision: revision, modRevision: revision },
          }),
      ),
      count: found.length,
      more: found.length > limit,
      shards: [{ shard: '0', revision }],
    };
    return result;
  }
}

it('reads ranges whose values do not fit into an answer in smaller pages', async () => {
  const client = new LargeValues();
  const call = () => ({ signal: new AbortController().signal, timeoutMs: 1000 });
  const found: string[] = [];
  for await (const entry of entriesOf(client, { prefix: '' }, {}, call)) {
    found.push(entry.keyText());
  }
  expect(found).toEqual(KEYS);
  expect(client.asked.slice(0, 5)).toEqual([500, 125, 31, 7, 1]);
});
