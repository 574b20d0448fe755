import { shardId } from '@kvorum/base';
import { LeaseService } from './leases/lease-service.ts';
import { firstMapOf, fixedMapOf, slotSpace } from './moves/slot-groups.ts';
import { SlotService } from './moves/slot-service.ts';
import type { Swarm } from './swarm.ts';
import type { WorldOptions } from './world.ts';

/** The shards of a run, and what its members do beside their replicas. */
export function shardsOf({ movesMeanMs, shards, leaseHolders = 0 }: Swarm): Partial<WorldOptions> {
  if (movesMeanMs === undefined) {
    if (leaseHolders === 0) return { shards };
    return {
      shards,
      service: (world, member, parts) =>
        new LeaseService({ ...parts, self: () => member.id }, fixedMapOf(world.members, shards)),
    };
  }
  const meta = shardId(shards);
  return {
    shards: shards + 1,
    slots: (shard) => slotSpace(shard === shardId(shards - 1)),
    service: (world, member, parts) =>
      new SlotService({
        world,
        member,
        ...parts,
        firstMap: firstMapOf(world.members, shards),
        meta,
      }),
  };
}
