import type { Rng } from '@kvorum/ports';
import type { PeerLinkFaults } from '@kvorum/testkit';
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
};

/** How a minority stays broken for good in the liveness phase. */
const LEFT_OUT = ['down', 'paused', 'cut', 'deaf', 'mute', 'no-log'] as const;

/**
 * Breaks the cluster as the swarm says, half of the time at a leader, and heals each fault after a while. In the liveness phase it heals a
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

  /** Ends the safety phase. Returns the members that are healthy from now on: a majority. */
  heal(): readonly SimMember[] {
    const { broker, members, trace } = this.#world;
    this.#raging = false;
    this.#cancel();
    broker.setAppendFaultRates(undefined);
    broker.setUnavailable(false);
    for (const member of members) {
      broker.setUnavailable(false, member.name);
      if (member.paused) member.resume();
      if (!member.running) member.start();
    }
    this.#links(HEALTHY);
    const minority = Math.floor((members.length - 1) / 2);
    const victims = new Set<SimMember>();
    for (let i = this.#rng.integer(0, minority + 1); i > 0; i -= 1) victims.add(this.#target());
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
    const { broker, network, trace } = this.#world;
    const member = this.#target();
    if (!member.running || member.paused) return;
    const other = this.#any(this.#world.members);
    trace.line('fault', `${action} ${member.name} ${other.name}`);
    switch (action) {
      case 'kill':
        member.crash();
        this.#later(() => {
          if (!member.running) member.start();
        });
        break;
      case 'machine-crash':
        member.crash((unsynced) => this.#rng.integer(0, unsynced + 1));
        this.#later(() => {
          if (!member.running) member.start();
        });
        break;
      case 'pause':
        member.pause();
        this.#later(() => {
          if (member.paused) member.resume();
        });
        break;
      case 'cut':
        network.cut(member.id, other.id);
        this.#later(() => {
          network.setFaults(member.id, other.id, { cut: false });
          network.setFaults(other.id, member.id, { cut: false });
        });
        break;
      case 'one-way-cut':
        network.setFaults(member.id, other.id, { cut: true });
        this.#later(() => network.setFaults(member.id, other.id, { cut: false }));
        break;
      case 'member-outage':
        broker.setUnavailable(true, member.name);
        this.#later(() => broker.setUnavailable(false, member.name));
        break;
      case 'outage':
        broker.setUnavailable(true);
        this.#later(() => broker.setUnavailable(false));
        break;
      case 'transfer':
        this.#transfer(member, other);
        break;
    }
  }

  #transfer(member: SimMember, target: SimMember): void {
    for (const shard of this.#world.shards) {
      member.call(shard, (replica) => {
        replica.transferLeadership(target.id).then(
          () => this.#world.trace.line(member.name, `shard ${shard} moved to ${target.name}`),
          (error: Error) => this.#world.trace.line(member.name, `not moved: ${error.message}`),
        );
      });
    }
  }

  #breakForGood(member: SimMember): void {
    const { broker, members, network, trace } = this.#world;
    const how = LEFT_OUT[this.#rng.integer(0, LEFT_OUT.length)] ?? 'down';
    trace.line('fault', `${how} for good: ${member.name}`);
    if (how === 'down') member.crash();
    else if (how === 'paused') member.pause();
    else if (how === 'no-log') broker.setUnavailable(true, member.name);
    for (const other of members) {
      if (how === 'cut' || how === 'mute') network.setFaults(member.id, other.id, { cut: true });
      if (how === 'cut' || how === 'deaf') network.setFaults(other.id, member.id, { cut: true });
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
    const leader = this.#rng.integer(0, 2) === 0 ? this.#world.leader(shard) : undefined;
    return leader ?? this.#any(this.#world.members);
  }

  #any<T>(items: readonly T[]): T {
    return items[this.#rng.integer(0, items.length)] as T;
  }
}
