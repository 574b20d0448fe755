import { DEFAULT_LIMITS, revision, shardId } from '@kvorum/base';
import { emptyOwnership } from '@kvorum/mvcc';
import { type ReplicaPort, SlotMover } from '@kvorum/replica';
import { abortMove, beginMoves, finishMove, initialShardMap, type ShardMap } from '@kvorum/shard';
import { VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';

const MOVE = '00000000000000f1';
const SLOTS = [[0, 9]] as const;
const [FROM, TO] = [shardId(0), shardId(1)];
/** So often the map is asked for before the test takes it for a driver that turns round and round. */
const ENOUGH = 20;

function movingMap(): ShardMap {
  const map = initialShardMap({
    clusterId: '00000000000000aa',
    shardCount: 2,
    members: [{ id: '0000000000000001', name: 'm1', peer: 'm1:1', client: 'm1:2' }],
    rules: [],
    replicas: 1,
    uids: ['0'.repeat(32), '1'.repeat(32)],
  });
  return beginMoves(map, { shards: [], moves: [{ from: FROM, to: TO, slots: SLOTS }] }, [MOVE]);
}

/** A shard that has sealed its import in the first attempt, and takes every step. */
function sealedTarget(): ReplicaPort {
  const numbers = { band: 1, next: 9, floor: -1, sealed: 8, adopted: -1, compactedBefore: -1 };
  const sealed = { move: MOVE, attempt: 1, slots: SLOTS, state: 'sealed', ...numbers } as const;
  const target: Partial<ReplicaPort> = {
    shard: TO,
    slotStatus: () => ({
      revision: revision(9),
      ownership: { ...emptyOwnership([]), imports: [sealed] },
    }),
    submit: ({ done }) => done({ ok: true, response: { op: 'compact', revision: revision(9) } }),
  };
  return target as ReplicaPort;
}

it('does not drive on what an edit has shown to be over, whatever map its member knows', async () => {
  const clock = new VirtualClock();
  const known = movingMap();
  const over = finishMove(abortMove(known, MOVE) ?? known, MOVE) ?? known;
  const newest = { ...over, version: known.version + 2 };
  const quiet = (): void => undefined;
  let asked = 0;
  const target = sealedTarget();
  const mover = new SlotMover({
    clock,
    limits: DEFAULT_LIMITS,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    map: () => known,
    leading: (shard) => (shard === TO ? target : undefined),
    updateMap: async (change) => {
      asked += 1;
      if (asked >= ENOUGH) throw new RangeError('it turns round and round');
      return change(newest) ?? newest;
    },
    told: quiet,
    ask: () => Promise.reject(new RangeError('nobody is asked')),
  });
  mover.start();
  for (let i = 0; i < 5; i += 1) {
    clock.advance(50);
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(1);
  }
  mover.stop();
});
