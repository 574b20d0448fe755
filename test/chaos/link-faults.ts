import type { Rng } from '@kvorum/ports';
import { BROKERS, MEMBERS, SHARDS } from './chaos-cluster.ts';
import {
  drawMs,
  drawVictim,
  type Fault,
  type Grip,
  type Longest,
  seconds,
  victimMember,
  victimText,
} from './fault.ts';
import { cut, delay, heal, type Link, pick, reset, type Way } from './links.ts';

const WAYS: readonly Way[] = ['in', 'out', 'both'];

/** Which connections of a member: to the members, to the brokers, or all. */
interface Reach {
  readonly text: string;
  readonly kinds: readonly Link['kind'][];
  readonly grips: readonly Grip[];
}

const REACHES: readonly Reach[] = [
  { text: 'to the other members', kinds: ['peer'], grips: ['peer-links'] },
  { text: 'to the brokers', kinds: ['broker'], grips: ['broker-links'] },
  {
    text: 'to members and brokers',
    kinds: ['peer', 'broker'],
    grips: ['peer-links', 'broker-links'],
  },
];

/** A member loses one way, or both, of all its connections of a kind. */
export function isolateMember(rng: Rng, { holdMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const reach = pick(rng, REACHES);
  const way = pick(rng, WAYS);
  const forMs = drawMs(rng, 500, holdMs);
  const what = way === 'both' ? 'nothing passes' : `nothing passes ${way}wards`;
  return {
    kind: `cut ${way === 'both' ? 'both ways' : 'one way'} ${reach.text}`,
    text: `${what} on the connections of ${victimText(victim, 'member')} ${reach.text} for ${seconds(forMs)}`,
    grips: reach.grips,
    startsMembers: false,
    run: async (world) => {
      const member = await victimMember(victim, world);
      const touching = world.ground.links.around(member, reach.kinds);
      cut(touching, way);
      await world.pause(forMs).finally(() => heal(touching));
    },
  };
}

/** One connection loses one direction: what elections without pre-vote and check-quorum never get over. */
export function cutOneLink(rng: Rng, { holdMs }: Longest): Fault {
  const kind = pick(rng, ['peer', 'broker'] as const);
  const from = rng.integer(0, MEMBERS);
  const others = Array.from({ length: kind === 'peer' ? MEMBERS : BROKERS }, (_, i) => i).filter(
    (to) => kind === 'broker' || to !== from,
  );
  const to = pick(rng, others);
  const direction = pick(rng, ['forth', 'back'] as const);
  const forMs = drawMs(rng, 500, holdMs);
  const name = `member ${from + 1} → ${kind === 'peer' ? 'member' : 'broker'} ${to + 1}`;
  return {
    kind: 'cut one way of one connection',
    text: `the ${direction === 'forth' ? 'requests' : 'answers'} of ${name} are lost for ${seconds(forMs)}`,
    grips: [kind === 'peer' ? 'peer-links' : 'broker-links'],
    startsMembers: false,
    run: async (world) => {
      const { proxy } = world.ground.links.of(kind, from, to);
      proxy.cut([direction]);
      await world.pause(forMs).finally(() => proxy.heal());
    },
  };
}

export function slowLinks(rng: Rng, { holdMs }: Longest): Fault {
  const victim = drawVictim(rng, SHARDS);
  const reach = pick(rng, REACHES);
  const ms = drawMs(rng, 2, 400);
  const jitterMs = drawMs(rng, 2, 400);
  const forMs = drawMs(rng, 1000, holdMs);
  return {
    kind: `delay ${reach.text}`,
    text: `${ms} to ${ms + jitterMs} ms each way on the connections of ${victimText(victim, 'member')} ${reach.text} for ${seconds(forMs)}`,
    grips: reach.grips,
    startsMembers: false,
    run: async (world) => {
      const member = await victimMember(victim, world);
      const touching = world.ground.links.around(member, reach.kinds);
      delay(touching, { ms, jitterMs });
      await world.pause(forMs).finally(() => heal(touching));
    },
  };
}

export function resetLinks(rng: Rng): Fault {
  const victim = drawVictim(rng, SHARDS);
  const reach = pick(rng, REACHES);
  const times = rng.integer(1, 8);
  const everyMs = drawMs(rng, 50, 1000);
  return {
    kind: `reset ${reach.text}`,
    text: `${times} times RST on the connections of ${victimText(victim, 'member')} ${reach.text}, every ${seconds(everyMs)}`,
    grips: reach.grips,
    startsMembers: false,
    run: async (world) => {
      const member = await victimMember(victim, world);
      const touching = world.ground.links.around(member, reach.kinds);
      for (let i = 0; i < times; i += 1) {
        reset(touching);
        await world.pause(everyMs);
      }
    },
  };
}
