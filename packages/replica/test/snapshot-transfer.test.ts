import { createHash } from 'node:crypto';
import { DEFAULT_LIMITS, logOffset, memberId, utf8 } from '@kvorum/base';
import { encodeMeta, HARD_STATE_KEY, initialMeta, META_KEY } from '@kvorum/mvcc';
import { createPaces, ReplicaStores, SnapshotInstall, SnapshotSource } from '@kvorum/replica';
import { memoryStateStores, seededRng, VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';

const NAME = '0';
const [SOURCE, RECEIVER] = [memberId(1n), memberId(2n)];
const OFFSET = logOffset(5);
const SILENT = (): void => undefined;

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

const options = {
  shardUid: new Uint8Array(16).fill(7),
  generation: 0,
  clock: new VirtualClock(),
  rng: seededRng(1),
  limits: {
    ...DEFAULT_LIMITS,
    snapshotChunkBytes: 10,
    snapshotBytesPerSecond: Number.POSITIVE_INFINITY,
  },
  sha256,
  logger: { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT },
};

it('leaves the vote of the source behind', async () => {
  const store = await memoryStateStores().open(NAME);
  const meta = { ...initialMeta(), offset: OFFSET, lastOffset: OFFSET };
  await store.write(
    (batch) => {
      batch.put(META_KEY, encodeMeta(meta));
      batch.put(HARD_STATE_KEY, utf8('the vote of the source'));
      batch.put(utf8('k1'), utf8('head'));
    },
    { sync: true },
  );
  const source = new SnapshotSource({
    options,
    follows: () => true,
    isBegun: () => true,
    acceptedOffset: () => OFFSET,
    image: async () => ({ image: (await store.image()).image, meta }),
    pinned: SILENT,
  });
  const opened = { has: () => false, add: () => Promise.resolve() };
  const place = new ReplicaStores(memoryStateStores(), opened).placeOf(NAME);
  const request = (_: unknown, payload: unknown): Promise<unknown> =>
    source.answer(RECEIVER, payload);
  const install = new SnapshotInstall({
    options: { ...options, paces: createPaces(), place, transport: { send: SILENT, request } },
    candidates: () => [SOURCE],
    start: () => logOffset(1),
    lost: SILENT,
  });
  expect(await install.run()).toBe(true);
  const side = await place.openSide();
  const found = await side.getMany([META_KEY, HARD_STATE_KEY, utf8('k1')]);
  expect(found).toEqual([encodeMeta(meta), undefined, utf8('head')]);
});
