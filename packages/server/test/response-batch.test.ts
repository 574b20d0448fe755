import type { Revision } from '@kvorum/base';
import { unpackFrame } from '@kvorum/wire';
import { describe, expect, it } from 'vitest';
import { putItem, ResponseBatch } from '../src/http/response-batch.ts';

function batchWithSent(): { readonly batch: ResponseBatch; readonly sent: unknown[][] } {
  const sent: unknown[][] = [];
  const batch = new ResponseBatch((frames) => sent.push(Array.from(frames, unpackFrame)));
  return { batch, sent };
}

const answer = (id: number): ReturnType<typeof putItem> =>
  putItem(id, { ok: true, response: { op: 'put', revision: 7 as Revision } });
const turnEnd = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('ResponseBatch', () => {
  it('sends the answers of a turn at its end, those of a shard in one frame', async () => {
    const { batch, sent } = batchWithSent();
    batch.add('0', answer(1));
    batch.add('1', answer(2));
    batch.add('0', answer(3));
    expect(sent).toEqual([]);
    await turnEnd();
    expect(sent).toEqual([
      [
        [
          102,
          '0',
          [
            [1, 0, 7],
            [3, 0, 7],
          ],
        ],
        [102, '1', [[2, 0, 7]]],
      ],
    ]);
  });

  it('sends at once what is flushed, and once only', async () => {
    const { batch, sent } = batchWithSent();
    batch.add('0', answer(1));
    batch.flush();
    expect(sent).toEqual([[[102, '0', [[1, 0, 7]]]]]);
    await turnEnd();
    expect(sent).toHaveLength(1);
    batch.flush();
    expect(sent).toHaveLength(1);
    batch.add('0', answer(2));
    await turnEnd();
    expect(sent).toHaveLength(2);
  });
});
