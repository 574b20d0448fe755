import type { Rng } from '@kvorum/ports';
import { MEMBERS } from './chaos-cluster.ts';
import type { World } from './world.ts';

/** What a fault takes hold of; two that take hold of the same thing are not injected at once. */
export type Grip = 'members' | 'brokers' | 'peer-links' | 'broker-links' | 'clocks';

/** A fault with everything drawn. */
export interface Fault {
  /** Name in the report. */
  readonly kind: string;
  /** With what was drawn, for people. */
  readonly text: string;
  readonly grips: readonly Grip[];
  /** Whether members start in it: they refuse to while a topic's settings are weak. */
  readonly startsMembers: boolean;
  /** Injects it, holds it and heals it; resolved when it is healed. */
  readonly run: (world: World) => Promise<void>;
}

export type DrawFault = (rng: Rng, longest: Longest) => Fault;

/** Upper bounds of what is drawn, milliseconds. */
export interface Longest {
  readonly pauseMs: number;
  readonly holdMs: number;
}

/** Of a run of two minutes. */
export const SHORT: Longest = { pauseMs: 6000, holdMs: 4000 };
export const LONG: Longest = { pauseMs: 30_000, holdMs: 12_000 };

/** Half of the faults are aimed at whoever leads a shard. */
export type Victim =
  | { readonly kind: 'number'; readonly index: number }
  | { readonly kind: 'leader'; readonly shard: string };

export function drawVictim(rng: Rng, shards: number): Victim {
  return rng.integer(0, 2) === 0
    ? { kind: 'number', index: rng.integer(0, MEMBERS) }
    : { kind: 'leader', shard: `${rng.integer(0, shards)}` };
}

export function victimText(victim: Victim, what: 'member' | 'broker'): string {
  if (victim.kind === 'number') return `${what} ${victim.index + 1}`;
  return what === 'member'
    ? `the leader of shard ${victim.shard}`
    : `the broker that leads the topic of shard ${victim.shard}`;
}

/** Index of the member meant. */
export async function victimMember(victim: Victim, world: World): Promise<number> {
  return victim.kind === 'number' ? victim.index : world.leaderMember(victim.shard);
}

/** Number of the broker meant, from 1. */
export async function victimBroker(victim: Victim, world: World): Promise<number> {
  return victim.kind === 'number' ? victim.index + 1 : world.leaderBroker(victim.shard);
}

/** Short ones as likely as long ones: the exponent is uniform. */
export function drawMs(rng: Rng, fromMs: number, toMs: number): number {
  const exponent = rng.integer(0, 1001) / 1000;
  return Math.round(fromMs * (toMs / fromMs) ** exponent);
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
