// The cluster itself changes, under load and kills: every member replaced, the number of shards raised and lowered.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type KvorumClient } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import { Command, KVCTL } from '../e2e/command.ts';
import { MEMBERS, SHARDS } from './chaos-cluster.ts';
import { drawMs, type Fault, type Longest, SHORT, seconds } from './fault.ts';
import { pick } from './links.ts';
import { nowMs } from './recorder.ts';
import type { World } from './world.ts';

/** What a changed cluster is run with: logs are cut and histories compacted within seconds, so that newcomers install snapshots. */
export const CHANGING_CONFIG: Readonly<Record<string, unknown>> = {
  autoCompaction: { mode: 'revision', retention: '3000' },
  limits: {
    durableMs: 200,
    truncateMs: 500,
    truncateSlackRecords: 50,
    truncateSlackBytes: 1,
    truncateSlackMs: 1,
    snapshotChunkBytes: 20_000,
    // A move of some megabytes takes seconds, in which something can happen to it.
    slotMoveBytesPerSecond: 256 * 1024,
  },
};

const COMMAND_MS = 30_000;
const CHANGE_MS = 600_000;
const POLL_MS = 250;
const KILLS_APART_MS = 8000;
const READY_MS = 60_000;

/** A run of the command line, repeated while the cluster has no leader to do it. Errors: TypeError when it never succeeds. */
async function kvctl(world: World, args: readonly string[]): Promise<string> {
  const endpoints = world.members.endpoints.join(',');
  const untilMs = nowMs() + CHANGE_MS;
  for (;;) {
    const { code, output } = await new Command(KVCTL, ['--endpoints', endpoints, ...args]).end(
      COMMAND_MS,
    );
    if (code === 0) return output;
    if (nowMs() > untilMs) throw new TypeError(`kvctl ${args.join(' ')}: ${output}`);
    await world.pause(POLL_MS);
  }
}

interface MemberLine {
  readonly id: string;
  readonly name: string;
  readonly state?: string;
  readonly started?: boolean;
}

/** What somebody of the cluster answers; undefined while nobody does. */
async function ask<T>(world: World, path: string): Promise<T | undefined> {
  for (const endpoint of world.members.endpoints) {
    const signal = AbortSignal.timeout(1000);
    const answer = await fetch(`${endpoint}${path}`, { signal }).catch(() => undefined);
    const body: unknown = answer?.ok === true ? await answer.json().catch(() => {}) : undefined;
    if (body !== undefined) return body as T;
  }
  return undefined;
}

/** Until it is so. Errors: TypeError when it never is. */
async function until(world: World, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const untilMs = nowMs() + CHANGE_MS;
  while (!(await isSo())) {
    if (nowMs() > untilMs) throw new TypeError(`not within ${CHANGE_MS} ms: ${what}`);
    await world.pause(POLL_MS);
  }
}

interface Kills {
  readonly rng: Rng;
  /** How long a victim stays away, milliseconds. */
  readonly holdMs: number;
  /** Who may be killed right now: never so many that fewer than a majority is left. */
  readonly victims: () => Promise<readonly number[]>;
}

/** Does something while members are killed, one after the other, never two at once; each comes back after a while. */
async function underKills(world: World, kills: Kills, act: () => Promise<void>): Promise<void> {
  const ended = new AbortController();
  const killing = killOn(world, kills, ended.signal);
  // Whatever fails first ends both; a rejection that nobody listens to would end the run without its report.
  killing.catch(() => ended.abort());
  try {
    await Promise.race([act(), killing.then(() => new Promise<never>(() => undefined))]);
  } finally {
    ended.abort();
    await killing;
  }
}

async function killOn(world: World, kills: Kills, ended: AbortSignal): Promise<void> {
  const { rng, holdMs } = kills;
  let apartMs = KILLS_APART_MS;
  while (!ended.aborted) {
    await world.pause(drawMs(rng, 300, apartMs));
    const victims = await kills.victims();
    if (ended.aborted || victims.length === 0) continue;
    const victim = pick(rng, victims);
    await world.killMember(victim);
    await world.pause(drawMs(rng, 50, holdMs));
    const startedMs = nowMs();
    await world.startMember(victim);
    // Whoever is killed again before it serves gets nowhere; whether it ever does is told elsewhere.
    await world.members.ready(victim, READY_MS).catch(() => undefined);
    // On a busy machine everything takes longer, also what a newcomer does once it serves.
    apartMs = Math.max(KILLS_APART_MS, 2 * (nowMs() - startedMs));
  }
}

const everyMember = Array.from({ length: MEMBERS }, (_, i) => i);

/** Its directory is gone for ever; a fresh process takes its place, as the operations guide has it. */
async function replaceMember(world: World, i: number, started: () => void): Promise<void> {
  const name = `m${i + 1}`;
  const path = world.members.configPath(i);
  const config = JSON.parse(readFileSync(path, 'utf8')) as { readonly dataDir: string };
  const before = (await ask<readonly MemberLine[]>(world, '/v1/members')) ?? [];
  const old = before.find((one) => one.name === name)?.id;
  await world.killMember(i);
  rmSync(config.dataDir, { recursive: true, force: true });
  await kvctl(world, ['member', 'replace', name]);
  writeFileSync(path, JSON.stringify({ ...config, join: true }));
  await world.startMember(i);
  started();
  await until(world, `${name} is replaced`, async () => {
    const members = await ask<readonly MemberLine[]>(world, '/v1/members');
    const isSettled = members?.every(({ state, started }) => !state && started !== false) === true;
    return isSettled && members.length === MEMBERS && members.every(({ id }) => id !== old);
  });
}

/**
 * Every member, one after the other; in a short run only one. The newcomer is killed while it catches up, all of them once they are
 * whole again.
 */
export function replaceMembers(rng: Rng, longest: Longest): Fault {
  const { holdMs } = longest;
  const first = rng.integer(0, MEMBERS);
  const order = everyMember
    .map((i) => (first + i) % MEMBERS)
    .slice(0, longest === SHORT ? 1 : MEMBERS);
  const names = order.map((i) => i + 1).join(', ');
  return {
    kind: longest === SHORT ? 'a member replaced' : 'every member replaced',
    text: `of member ${names} the disk is lost, and it is replaced, under kills`,
    grips: ['members', 'brokers', 'peer-links', 'broker-links', 'clocks'],
    startsMembers: true,
    run: async (world) => {
      for (const i of order) {
        // One is gone for good and has to stay the only one that is down: its successor may be killed, nobody else.
        let victims: readonly number[] = [];
        const ofNewcomer = { rng, holdMs, victims: () => Promise.resolve(victims) };
        const started = (): void => {
          victims = [i];
        };
        await underKills(world, ofNewcomer, () => replaceMember(world, i, started));
        await world.members.ready(i, CHANGE_MS);
        const ofAll = { rng, holdMs, victims: () => Promise.resolve(everyMember) };
        const pauseMs = drawMs(rng, 1000, 2 * holdMs);
        await underKills(world, ofAll, () => world.pause(pauseMs));
      }
    },
  };
}

interface ShardLine {
  readonly shard: string;
  readonly slots: readonly unknown[];
}

/** Half of the kills hit who leads a shard that gives or takes slots. */
async function moversOf(world: World, client: KvorumClient, rng: Rng): Promise<readonly number[]> {
  const moves = await client.moves({ timeoutMs: COMMAND_MS }).catch(() => []);
  if (moves.length === 0 || rng.integer(0, 2) === 0) return everyMember;
  const { from, to } = pick(rng, moves);
  return [await world.leaderMember(rng.integer(0, 2) === 0 ? from : to)];
}

async function scaleTo(world: World, client: KvorumClient, shards: number): Promise<void> {
  await kvctl(world, ['shard', 'scale', `${shards}`]);
  await until(world, `${shards} shards`, async () => {
    const moves = await client.moves({ timeoutMs: COMMAND_MS }).catch(() => undefined);
    if (moves?.length !== 0) return false;
    const lines = await ask<readonly ShardLine[]>(world, '/v1/shards');
    return lines?.filter(({ slots }) => slots.length > 0).length === shards;
  });
}

/** To twice as many shards and back. */
export function scaleShards(rng: Rng, { holdMs }: Longest): Fault {
  const restMs = drawMs(rng, 500, holdMs);
  return {
    kind: 'scale to 8 shards and back',
    text: `${SHARDS} shards become ${2 * SHARDS} under kills, and ${SHARDS} again after ${seconds(restMs)}`,
    grips: ['members', 'brokers', 'peer-links', 'broker-links', 'clocks'],
    startsMembers: true,
    run: async (world) => {
      const client = await connect({ endpoints: world.members.endpoints, name: 'scale' });
      const kills = { rng, holdMs, victims: () => moversOf(world, client, rng) };
      try {
        for (const shards of [2 * SHARDS, SHARDS]) {
          await underKills(world, kills, () => scaleTo(world, client, shards));
          await world.pause(restMs);
        }
      } finally {
        await client.close();
      }
    },
  };
}

/** How long a replica that its member no longer has may stand on its disk. */
const TIDY_MS = 180_000;
/** Where a member keeps the votes of replicas that it has given away. */
const RETIRED_VOTES = 'retired-votes';
/** Behind the name of a replica's directory: the place of its images while somebody copies them. It stays when they are gone. */
const IMAGES = '.images';

/** Directories of replicas, and images of them, that no member should have any more. */
export async function orphans(world: World, client: KvorumClient): Promise<readonly string[]> {
  const untilMs = nowMs() + TIDY_MS;
  for (;;) {
    const shards = (await client.shards()).map(({ shard }) => shard);
    const known = new Set([...shards, RETIRED_VOTES]);
    const found = everyMember.flatMap((i) => {
      const config = readFileSync(world.members.configPath(i), 'utf8');
      const { dataDir } = JSON.parse(config) as { readonly dataDir: string };
      const replicas = join(dataDir, 'replicas');
      const isEmpty = (name: string): boolean => readdirSync(join(replicas, name)).length === 0;
      const isPlace = (name: string): boolean =>
        name.endsWith(IMAGES) && known.has(name.slice(0, -IMAGES.length)) && isEmpty(name);
      return readdirSync(replicas)
        .filter((name) => !known.has(name) && !isPlace(name))
        .map((name) => `member ${i + 1} still has replicas/${name}`);
    });
    if (found.length === 0 || nowMs() > untilMs) return found;
    await world.pause(POLL_MS);
  }
}
