import { encodeSnapshot, openSource } from '@kvorum/backup';
import { clusterId, isKvError, shardId } from '@kvorum/base';
import { encodeMeta, initialMeta, META_KEY } from '@kvorum/mvcc';
import {
  MemoryLogBroker,
  memorySnapshotStore,
  memoryStateStores,
  seededRng,
  VirtualClock,
} from '@kvorum/testkit';
import { expect, it } from 'vitest';

it('does not take the log of a recovered shard for that of its copy', async () => {
  const shard = shardId(0);
  const stores = memoryStateStores();
  const state = await stores.open('0');
  const meta = initialMeta();
  await state.write((batch) => batch.put(META_KEY, encodeMeta(meta)), { sync: true });
  const view = state.readView();
  const shardUid = new Uint8Array(16).fill(1);
  const about = { clusterId: clusterId(1n), createdAtMs: 0, withStateHash: true };
  const source = { shard, shardUid, generation: 0, meta, view };
  const store = memorySnapshotStore();
  await store.save(shard, 'copy', encodeSnapshot(source, about));
  const clock = new VirtualClock();
  const broker = new MemoryLogBroker({ clock, rng: seededRng(1) });
  const opening = openSource(
    shard,
    { uid: '01'.repeat(16), generation: 1 },
    {
      store,
      manifest: undefined,
      logs: broker.forMember('m1'),
      until: () => ({ kind: 'end' }),
      scratch: memoryStateStores(),
      progress: () => undefined,
    },
  );
  await expect(opening).rejects.toSatisfy((e) => isKvError(e) && /recovered after/.test(e.message));
});
