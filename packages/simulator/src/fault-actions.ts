import { logOffset, type MemberId, type ShardId } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { SimMember } from './member.ts';
import type { Action } from './swarm.ts';
import type { World } from './world.ts';

/** One fault about to happen. */
export interface FaultScene {
  readonly world: World;
  readonly rng: Rng;
  readonly member: SimMember;
  readonly other: SimMember;
  readonly faultMsMax: number;
  /** Whether faults still may happen: the safety phase lasts. */
  readonly raging: () => boolean;
}

/** Ends a fault. Called at most once, and not at all when the safety phase ends first: then everything is healed at once. */
export type Heal = () => void;

const DAY_MS = 86_400_000;
const EFFECTS_MAX = 12;
const GATHERED_WRITES_MAX = 8;

function restart(member: SimMember): void {
  if (!member.running) member.start();
}

/** A killed process leaves at most its last writes in its own memory: the store gathers small ones for a moment. */
function keepNearlyAll(rng: Rng): (unsynced: number) => number {
  return (unsynced) => unsynced - rng.integer(0, Math.min(unsynced, GATHERED_WRITES_MAX) + 1);
}

function kill({ member, rng }: FaultScene): Heal {
  member.crash(keepNearlyAll(rng));
  return () => restart(member);
}

function killAtEffect({ member, rng, world, faultMsMax, raging }: FaultScene): undefined {
  const downMs = rng.integer(1, faultMsMax + 1);
  member.crashAt(rng.integer(1, EFFECTS_MAX), keepNearlyAll(rng), () => {
    world.clock.setTimer(downMs, () => {
      if (raging()) restart(member);
    });
  });
}

function machineCrash({ member, rng }: FaultScene): Heal {
  member.crash((unsynced) => rng.integer(0, unsynced + 1));
  return () => restart(member);
}

function wake(member: SimMember): Heal {
  return () => {
    if (member.paused) member.resume();
  };
}

function pause({ member }: FaultScene): Heal {
  member.pause();
  return wake(member);
}

/** The whole machine stands still, and what is sent to it is lost; whoever waits for it waits for time-outs. */
function suspend({ member, world: { members, network } }: FaultScene): Heal {
  const links = members
    .filter((other) => other !== member)
    .map(({ id }) => [id, network.faultsOf(id, member.id).lossPerMille] as const);
  for (const [id] of links) network.setFaults(id, member.id, { lossPerMille: 1000 });
  member.suspend();
  return () => {
    for (const [id, lossPerMille] of links) network.setFaults(id, member.id, { lossPerMille });
    wake(member)();
  };
}

function clockJump({ member, rng }: FaultScene): undefined {
  member.clock.jump(rng.integer(-DAY_MS, DAY_MS));
}

function cut({ world: { network }, member, other }: FaultScene): Heal {
  network.cut(member.id, other.id);
  return () => {
    network.setFaults(member.id, other.id, { cut: false });
    network.setFaults(other.id, member.id, { cut: false });
  };
}

function oneWayCut({ world: { network }, member, other }: FaultScene): Heal {
  network.setFaults(member.id, other.id, { cut: true });
  return () => network.setFaults(member.id, other.id, { cut: false });
}

function isolate({ world: { network, members }, member }: FaultScene): Heal {
  const set = (faults: { readonly cut: boolean }): void => {
    for (const { id } of members) {
      if (id === member.id) continue;
      network.setFaults(member.id, id, faults);
      network.setFaults(id, member.id, faults);
    }
  };
  set({ cut: true });
  return () => set({ cut: false });
}

/** Every connection of one member hangs: what is under way arrives late, when each is free again. */
function hang({ world: { clock, members, network }, member, rng, raging }: FaultScene): Heal {
  const others = members.filter((other) => other !== member);
  for (const { id } of others) {
    network.setFaults(member.id, id, { clogged: true });
    network.setFaults(id, member.id, { clogged: true });
  }
  const free = (from: SimMember, to: SimMember): void => {
    clock.setTimer(rng.integer(0, 100), () => {
      if (raging()) network.setFaults(from.id, to.id, { clogged: false });
    });
  };
  return () => {
    for (const other of others) {
      free(member, other);
      free(other, member);
    }
  };
}

/** Stops a random subset of the links one after the other and lets them go on in another order. */
function swizzle({ world, rng, faultMsMax, raging }: FaultScene): Heal {
  const { clock, members, network } = world;
  const links = members.flatMap((from) =>
    members.filter((to) => to !== from && rng.integer(0, 2) === 0).map((to) => [from, to] as const),
  );
  const later = (spanMs: number, act: () => void): void => {
    clock.setTimer(rng.integer(0, spanMs + 1), () => {
      if (raging()) act();
    });
  };
  for (const [from, to] of links) {
    later(faultMsMax / 2, () => network.setFaults(from.id, to.id, { clogged: true }));
  }
  return () => {
    for (const [from, to] of links) {
      later(faultMsMax / 2, () => network.setFaults(from.id, to.id, { clogged: false }));
    }
  };
}

function memberOutage({ world: { broker }, member }: FaultScene): Heal {
  broker.setUnavailable(true, member.name);
  return () => broker.setUnavailable(false, member.name);
}

function outage({ world: { broker } }: FaultScene): Heal {
  broker.setUnavailable(true);
  return () => broker.setUnavailable(false);
}

function staleBroker({ world: { broker }, member }: FaultScene): Heal {
  broker.setStale(true, member.name);
  return () => broker.setStale(false, member.name);
}

function anyShard({ world, rng }: FaultScene): ShardId {
  return world.shards[rng.integer(0, world.shards.length)] as ShardId;
}

function partitionLeader(scene: FaultScene): undefined {
  const { rng, world, faultMsMax } = scene;
  world.broker.changeLeader(world.logName(anyShard(scene)), {
    kept: rng.integer(0, 3),
    hiddenCount: rng.integer(0, 4),
    hiddenMs: rng.integer(0, faultMsMax + 1),
  });
}

function isrShrunk(scene: FaultScene): Heal {
  const { broker } = scene.world;
  const name = scene.world.logName(anyShard(scene));
  broker.setIsrBelowMin(name, true);
  return () => broker.setIsrBelowMin(name, false);
}

function diskFull({ member }: FaultScene): Heal {
  member.spoil('full');
  return () => {
    // What broke meanwhile stays halted until the process starts again.
    member.crash();
    member.repair();
    restart(member);
  };
}

function diskWiped({ member, world }: FaultScene): Heal | undefined {
  if (!world.hasSpare(member)) return undefined;
  member.crash();
  member.wipe();
  return () => restart(member);
}

/** A member is away, and an operator says that its disk no longer keeps records in the log. */
function givenUp({ member, world: { members, shards, trace } }: FaultScene): Heal | undefined {
  if (members.some(({ damaged }) => damaged)) return undefined;
  const tell = (given: readonly MemberId[]): void => {
    trace.line('fault', `given up: ${given.join(' ') || 'nobody'}`);
    for (const other of members) {
      for (const shard of shards) {
        other.call(shard, (replica) => replica.excludeFromTruncation(given));
      }
    }
  };
  member.crash();
  member.expendable = true;
  tell([member.id]);
  return () => {
    tell([]);
    restart(member);
  };
}

function bitFlip({ member, rng, world }: FaultScene): Heal | undefined {
  const givenUp = world.members.some((one) =>
    world.shards.some((shard) => one.replica(shard)?.status().truncation.excluded.length !== 0),
  );
  // Until it is healed its log may be cut below what no other disk holds.
  const alone = world.members.length === 1;
  if (alone || givenUp || !world.hasSpare(member)) return undefined;
  for (const shard of world.shards) {
    member.stores.damage(shard, (rows) => rng.integer(0, rows));
  }
  member.spoil('damaged');
  return () => {
    member.crash();
    member.wipe();
    restart(member);
  };
}

function transfer({ world, member, other }: FaultScene): undefined {
  for (const shard of world.shards) {
    member.call(shard, (replica) => {
      replica.transferLeadership(other.id).then(
        () => world.trace.line(member.name, `shard ${shard} moved to ${other.name}`),
        (error: Error) => world.trace.line(member.name, `not moved: ${error.message}`),
      );
    });
  }
}

/** The shard map wants other voters: any of the members, any number of them; the rest follow or are no members at all. */
function membership(scene: FaultScene): undefined {
  const { world, rng } = scene;
  // As kvctl's preview of quorums has it: nobody goes before a replacement is complete.
  if (world.awaitsReplacement()) return undefined;
  const chosen = world.members.filter(() => rng.integer(0, 3) > 0);
  const voters = chosen.length === 0 ? [scene.member] : chosen;
  const rest = world.members.filter((member) => !voters.includes(member));
  world.want(anyShard(scene), voters, rng.integer(0, 2) === 0 ? rest : []);
}

/** A member's disk is gone for good, and an operator replaces the member: the same name under a new id. */
function memberReplaced({ member, world }: FaultScene): Heal | undefined {
  if (!world.maySpare(member)) return undefined;
  member.crash();
  world.replace(member);
  return () => restart(member);
}

/** Somebody deletes the files of one replica and starts the member as if nothing were missing; then it is replaced. */
function filesDeleted(scene: FaultScene): Heal | undefined {
  const { member, world } = scene;
  if (!world.maySpare(member)) return undefined;
  member.crash();
  world.deleteFiles(member, anyShard(scene));
  member.start();
  return () => replaceBereft(member, world);
}

/** The way back for a member that misses the files of a replica. */
export function replaceBereft(member: SimMember, world: World): void {
  if (member.bereft.size === 0) return;
  member.crash();
  world.replace(member);
  member.start();
}

/** What each kind of fault does; `member` is the one it is aimed at. */
export const FAULTS: Readonly<Record<Action, (scene: FaultScene) => Heal | undefined>> = {
  kill,
  'kill-at-effect': killAtEffect,
  'machine-crash': machineCrash,
  pause,
  suspend,
  'clock-jump': clockJump,
  cut,
  'one-way-cut': oneWayCut,
  isolate,
  hang,
  swizzle,
  'member-outage': memberOutage,
  outage,
  'stale-broker': staleBroker,
  'partition-leader': partitionLeader,
  'isr-shrunk': isrShrunk,
  'disk-full': diskFull,
  'disk-wiped': diskWiped,
  'bit-flip': bitFlip,
  'given-up': givenUp,
  transfer,
  membership,
  'member-replaced': memberReplaced,
  'files-deleted': filesDeleted,
};

/** Breaks a log against all promises; false when there is nothing to break yet. */
export function damageLog(
  world: World,
  rng: Rng,
  { shard, damage }: { readonly shard: ShardId; readonly damage: string },
): boolean {
  const { broker } = world;
  const name = world.logName(shard);
  const bounds = broker.bounds(name);
  if (bounds === undefined || bounds.end < 3) return false;
  if (damage === 'start-moved') {
    // Near the end, where somebody may still have to read.
    broker.truncateHead(name, logOffset(bounds.end - rng.integer(0, 3)));
  } else if (damage === 'topic-recreated') {
    broker.deleteLog(name);
    broker.createLog(name);
  } else {
    const lost = rng.integer(1, Math.min(5, bounds.end) + 1);
    const { entries } = broker.history(name);
    // The new leader of the partition may hold other, older records in the place of the lost ones.
    const others = entries.slice(0, rng.integer(0, 4)).map(({ bytes }) => bytes);
    broker.rewriteTail(name, logOffset(bounds.end - lost), others);
  }
  return true;
}
