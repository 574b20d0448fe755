import type { Rng } from '@kvorum/ports';
import { BROKERS, MEMBERS, SHARDS, SMALL_DISK_MEMBER } from './chaos-cluster.ts';
import {
  drawMs,
  drawVictim,
  type Fault,
  type Longest,
  seconds,
  victimBroker,
  victimMember,
  victimText,
} from './fault.ts';

const all = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** A rolling restart waits for each process before the next. */
const READY_MS = 60_000;

export function killMember(rng: Rng, { holdMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const downMs = drawMs(rng, 50, holdMs);
  return {
    kind: 'kill -9 of a member',
    text: `kill -9 of ${victimText(victim, 'member')}, started again after ${seconds(downMs)}`,
    grips: ['members'],
    startsMembers: true,
    run: async (world) => {
      const i = await victimMember(victim, world);
      await world.killMember(i);
      await world.pause(downMs);
      await world.startMember(i);
    },
  };
}

export function killAllMembers(rng: Rng, { holdMs }: Longest): Fault {
  const downMs = drawMs(rng, 50, holdMs);
  return {
    kind: 'kill -9 of all members',
    text: `kill -9 of all members, started again after ${seconds(downMs)}`,
    grips: ['members'],
    startsMembers: true,
    run: async (world) => {
      await Promise.all(all(MEMBERS).map((i) => world.killMember(i)));
      await world.pause(downMs);
      await Promise.all(all(MEMBERS).map((i) => world.startMember(i)));
    },
  };
}

export function pauseMember(rng: Rng, { pauseMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const forMs = drawMs(rng, 100, pauseMs);
  return {
    kind: 'SIGSTOP of a member',
    text: `SIGSTOP of ${victimText(victim, 'member')} for ${seconds(forMs)}`,
    grips: ['members'],
    startsMembers: false,
    run: async (world) => {
      const i = await victimMember(victim, world);
      world.members.pause(i);
      await world.pause(forMs).finally(() => world.members.resume(i));
    },
  };
}

export function restartMembersInTurn(): Fault {
  return {
    kind: 'rolling restart of the members',
    text: 'SIGTERM and restart of one member after the other',
    grips: ['members'],
    startsMembers: true,
    run: async (world) => {
      for (const i of all(MEMBERS)) {
        await world.killMember(i, 'SIGTERM');
        await world.startMember(i);
        await world.members.ready(i, READY_MS);
      }
    },
  };
}

export function killBroker(rng: Rng, { holdMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const downMs = drawMs(rng, 50, holdMs);
  return {
    kind: 'kill -9 of a broker',
    text: `kill -9 of ${victimText(victim, 'broker')}, started again after ${seconds(downMs)}`,
    grips: ['brokers'],
    startsMembers: false,
    run: async (world) => {
      const broker = await victimBroker(victim, world);
      await world.ground.kafka.kill(broker);
      await world.pause(downMs);
      await world.ground.kafka.restart(broker);
    },
  };
}

export function pauseBroker(rng: Rng, { pauseMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const forMs = drawMs(rng, 100, pauseMs);
  return {
    kind: 'SIGSTOP of a broker',
    text: `SIGSTOP of ${victimText(victim, 'broker')} for ${seconds(forMs)}`,
    grips: ['brokers'],
    startsMembers: false,
    run: async (world) => {
      const { kafka } = world.ground;
      const broker = await victimBroker(victim, world);
      await kafka.pause(broker);
      try {
        await world.pause(forMs);
      } finally {
        await kafka.resume(broker);
      }
    },
  };
}

export function killAllBrokers(rng: Rng, { holdMs }: Longest): Fault {
  const downMs = drawMs(rng, 50, holdMs);
  return {
    kind: 'all brokers down',
    text: `kill -9 of all brokers, started again after ${seconds(downMs)}`,
    grips: ['brokers'],
    startsMembers: false,
    run: async (world) => {
      const { kafka } = world.ground;
      await Promise.all(all(BROKERS).map((i) => kafka.kill(i + 1)));
      await world.pause(downMs);
      await Promise.all(all(BROKERS).map((i) => kafka.restart(i + 1)));
    },
  };
}

export function pauseAllBrokers(rng: Rng, { pauseMs }: Longest): Fault {
  const forMs = drawMs(rng, 1000, pauseMs);
  return {
    kind: 'SIGSTOP of all brokers',
    text: `SIGSTOP of all brokers for ${seconds(forMs)}`,
    grips: ['brokers'],
    startsMembers: false,
    run: async (world) => {
      const { kafka } = world.ground;
      await Promise.all(all(BROKERS).map((i) => kafka.pause(i + 1)));
      try {
        await world.pause(forMs);
      } finally {
        await Promise.all(all(BROKERS).map((i) => kafka.resume(i + 1)));
      }
    },
  };
}

export function restartBrokersInTurn(): Fault {
  return {
    kind: 'rolling restart of the brokers',
    text: 'SIGTERM and restart of one broker after the other',
    grips: ['brokers'],
    startsMembers: false,
    run: async (world) => {
      for (const i of all(BROKERS)) await world.ground.kafka.restart(i + 1);
    },
  };
}

/** As the operations guide has it: free space, then restart the member. */
export function fillDisk(rng: Rng, { holdMs }: Longest): Fault {
  const forMs = drawMs(rng, 500, holdMs);
  return {
    kind: 'full disk',
    text: `the disk of member ${SMALL_DISK_MEMBER + 1} is full for ${seconds(forMs)}, then it is restarted`,
    grips: ['members'],
    startsMembers: true,
    run: async (world) => {
      const { disk } = world.ground;
      disk?.fill();
      await world.pause(forMs).finally(() => disk?.empty());
      await world.killMember(SMALL_DISK_MEMBER, 'SIGTERM');
      await world.startMember(SMALL_DISK_MEMBER);
    },
  };
}

const DAY_SECONDS = 86_400;
/** Tokens of users live a little longer than that at most: this is about clocks, not about logging in again. */
const DAYS_MAX = 24;

export function jumpClock(rng: Rng, { holdMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const forMs = drawMs(rng, 2000, Math.max(2000, holdMs));
  const distance = Math.round(drawMs(rng, 1000, DAYS_MAX * DAY_SECONDS * 1000) / 1000);
  const offset = rng.integer(0, 2) === 0 ? distance : -distance;
  return {
    kind: 'clock jump',
    text: `the clock of ${victimText(victim, 'member')} jumps by ${offset} s, and back after ${seconds(forMs)}`,
    grips: ['clocks'],
    startsMembers: false,
    run: async (world) => {
      const { clocks } = world.ground;
      const name = `m${(await victimMember(victim, world)) + 1}`;
      clocks?.set(name, offset);
      await world.pause(forMs).finally(() => clocks?.set(name, 0));
    },
  };
}
