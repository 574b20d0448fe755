import type { Rng } from '@kvorum/ports';
import type { PeerLinkFaults } from '@kvorum/testkit';
import { FAULTS, replaceBereft } from './fault-actions.ts';
import type { SimMember } from './member.ts';
import { ACTIONS, type Action, type Swarm } from './swarm.ts';
import type { World } from './world.ts';

const EVERY_MS = 100;
const HEALTHY: PeerLinkFaults = {
  delayMsMin: 0,
  delayMsMax: 2,
  lossPerMille: 0,
  duplicationPerMille: 0,
  cut: false,
  clogged: false,
};

/** How a minority stays broken for good in the liveness phase. */
const LEFT_OUT = [
  'down',
  'paused',
  'suspended',
  'cut',
  'deaf',
  'mute',
  'clogged',
  'no-log',
  'stale-log',
  'disk-full',
] as const;

/**
 * Breaks the cluster as the swarm says, at a leader as often as the swarm says, and heals each fault after a while. In the liveness phase it heals a
 * majority for good and leaves the rest broken for good.
 */
export class Nemesis {
  readonly #world: World;
  readonly #swarm: Swarm;
  readonly #rng: Rng;
  #cancel: () => void = () => undefined;
  #raging = false;

  constructor(world: World, swarm: Swarm) {
    this.#world = world;
    this.#swarm = swarm;
    this.#rng = world.rng('faults');
  }

  start(): void {
    this.#raging = true;
    this.#world.broker.setAppendFaultRates(this.#swarm.appendFaults);
    this.#links(this.#swarm.peerFaults);
    this.#schedule();
  }

  /** Heals also what was left broken for good. */
  mendAll(): void {
    for (const member of this.#world.members) this.#mend(member);
    this.#links(HEALTHY);
  }

  /** Ends the safety phase. Returns the members that are healthy from now on: a majority. */
  heal(): readonly SimMember[] {
    const { broker, members, trace } = this.#world;
    this.#raging = false;
    this.#cancel();
    broker.setAppendFaultRates(undefined);
    broker.setUnavailable(false);
    for (const shard of this.#world.shards) {
      broker.setIsrBelowMin(this.#world.logName(shard), false);
    }
    for (const member of members) this.#mend(member);
    this.#links(HEALTHY);
    const minority = Math.floor((members.length - 1) / 2);
    const victims = new Set<SimMember>();
    if (this.#swarm.meanMs.membership !== undefined) {
      // Who votes at this moment is open: everybody is needed, and everybody is to vote in the end.
      for (const shard of this.#world.shards) this.#world.want(shard, members);
      return members;
    }
    for (let i = this.#rng.integer(0, minority + 1); i > 0; i -= 1) victims.add(this.#target());
    // Somebody who stays must hold what the logs have lost.
    for (const victim of victims) if (!this.#mayLeave(victim, victims)) victims.delete(victim);
    for (const victim of victims) this.#breakForGood(victim);
    const healthy = members.filter((member) => !victims.has(member));
    trace.line('world', `liveness: healthy ${healthy.map((member) => member.name).join(' ')}`);
    return healthy;
  }

  #schedule(): void {
    this.#cancel = this.#world.clock.setTimer(EVERY_MS, () => {
      this.#schedule();
      for (const action of ACTIONS) {
        const mean = this.#swarm.meanMs[action];
        if (mean !== undefined && this.#rng.integer(0, mean) < EVERY_MS) this.#act(action);
      }
    });
  }

  #act(action: Action): void {
    const member = this.#target();
    if (!member.running || member.paused) return;
    const other = this.#any(this.#world.members);
    this.#world.trace.line('fault', `${action} ${member.name} ${other.name}`);
    const heal = FAULTS[action]({
      world: this.#world,
      rng: this.#rng,
      member,
      other,
      faultMsMax: this.#swarm.faultMsMax,
      raging: () => this.#raging,
    });
    if (heal !== undefined) this.#later(heal);
  }

  #mend(member: SimMember): void {
    const { broker } = this.#world;
    broker.setUnavailable(false, member.name);
    broker.setStale(false, member.name);
    member.spare();
    if (member.paused) member.resume();
    if (member.diskTrouble || member.full || member.damaged) {
      member.crash();
      if (member.damaged) member.wipe();
      member.repair();
    }
    replaceBereft(member, this.#world);
    if (!member.running) member.start();
  }

  #breakForGood(member: SimMember): void {
    const { broker, trace } = this.#world;
    const how = LEFT_OUT[this.#rng.integer(0, LEFT_OUT.length)] ?? 'down';
    trace.line('fault', `${how} for good: ${member.name}`);
    switch (how) {
      case 'down':
        member.crash();
        break;
      case 'paused':
        member.pause();
        break;
      case 'suspended':
        member.suspend();
        break;
      case 'no-log':
        broker.setUnavailable(true, member.name);
        break;
      case 'stale-log':
        // A leader whose appends only ever time out, while its reads work, is known to keep leading: docs/testing.md.
        if (this.#leads(member)) broker.setUnavailable(true, member.name);
        else broker.setStale(true, member.name);
        break;
      case 'disk-full':
        member.spoil('full');
        break;
      case 'clogged':
        this.#linksOf(member, { out: { clogged: true }, in: {} });
        break;
      default:
        this.#linksOf(member, { out: { cut: how !== 'deaf' }, in: { cut: how !== 'mute' } });
    }
  }

  #mayLeave(victim: SimMember, victims: ReadonlySet<SimMember>): boolean {
    const { broker, members, shards } = this.#world;
    return shards.every((shard) => {
      const start = broker.bounds(this.#world.logName(shard))?.start ?? 0;
      const holds = (member: SimMember): boolean => member.durableOffset(shard) + 1 >= start;
      const stays = members.filter((member) => member === victim || !victims.has(member));
      return start === 0 || stays.some((member) => member !== victim && holds(member));
    });
  }

  #leads(member: SimMember): boolean {
    const roles = this.#world.shards.map((shard) => member.replica(shard)?.status().raft.role);
    return roles.includes('leader') || roles.includes('leader-elect');
  }

  #linksOf(
    member: SimMember,
    faults: { readonly out: Partial<PeerLinkFaults>; readonly in: Partial<PeerLinkFaults> },
  ): void {
    const { members, network } = this.#world;
    for (const { id } of members) {
      if (id === member.id) continue;
      network.setFaults(member.id, id, faults.out);
      network.setFaults(id, member.id, faults.in);
    }
  }

  #later(heal: () => void): void {
    this.#world.clock.setTimer(this.#rng.integer(1, this.#swarm.faultMsMax + 1), () => {
      if (this.#raging) heal();
    });
  }

  #links(faults: PeerLinkFaults): void {
    const { members, network } = this.#world;
    for (const from of members) {
      for (const to of members) if (from !== to) network.setFaults(from.id, to.id, faults);
    }
  }

  #target(): SimMember {
    const shard = this.#any(this.#world.shards);
    const aimed = this.#rng.integer(0, 100) < this.#swarm.leaderPercent;
    const leader = aimed ? this.#world.leader(shard) : undefined;
    return leader ?? this.#any(this.#world.members);
  }

  #any<T>(items: readonly T[]): T {
    return items[this.#rng.integer(0, items.length)] as T;
  }
}
