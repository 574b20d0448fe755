import type { ShardId } from '@kvorum/base';
import { seededRng } from '@kvorum/testkit';
import { Audit } from './audit.ts';
import { checkLinearizable } from './checkers/linearizable.ts';
import { checkOutcomes } from './checkers/outcomes.ts';
import { ReplicaChecker } from './checkers/replicas.ts';
import { checkWatch } from './checkers/watches.ts';
import { SimClient } from './clients.ts';
import { Nemesis } from './faults.ts';
import { History } from './history.ts';
import { checkRealTime } from './invariants/real-time.ts';
import type { SimMember } from './member.ts';
import type { Plant } from './plant.ts';
import { drawSwarm, type Swarm } from './swarm.ts';
import { Truth } from './truth.ts';
import { SimWatcher } from './watchers.ts';
import { World } from './world.ts';

export interface RunOptions {
  readonly print?: (line: string) => void;
  /** Replaces what the seed drew, for scripted schedules and planted bugs. */
  readonly adjust?: (swarm: Swarm) => Swarm;
  readonly plant?: Plant;
}

export interface RunResult {
  readonly seed: number;
  readonly swarm: Swarm;
  /** Empty = every check held. */
  readonly problems: readonly string[];
  /** Equal for equal seeds, or the run was not deterministic. */
  readonly traceDigest: string;
  readonly opCount: number;
  readonly okCount: number;
  readonly unknownCount: number;
  readonly revisionCount: number;
  readonly fencedCount: number;
}

const CHECK_EVERY_MS = 250;
const HASH_EVERY_MS = 2000;
/** After the cluster is healed everything must settle within this virtual time. */
const LIVENESS_MS = 90_000;
const QUIET_MS = 3000;
const PROBLEMS_MAX = 20;

/** One run: a cluster under faults, then healed; checked all the while and at the end. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const run = new Run(seed, options);
  try {
    await run.safety();
    await run.liveness();
  } catch (error) {
    // A broken invariant of the simulated code surfaces here: it is a finding, not the end of the campaign.
    run.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return run.result();
}

class Run {
  readonly #seed: number;
  readonly #swarm: Swarm;
  readonly #world: World;
  readonly #history = new History();
  readonly #audit = new Audit();
  readonly #truths: ReadonlyMap<ShardId, Truth>;
  readonly #checker: ReplicaChecker;
  readonly #nemesis: Nemesis;
  readonly #clients: readonly SimClient[];
  readonly #watchers: readonly SimWatcher[];
  readonly #problems: string[] = [];

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    const drawn = drawSwarm(seededRng(seed));
    const swarm = options.adjust?.(drawn) ?? drawn;
    this.#swarm = swarm;
    const world = new World({
      seed,
      members: swarm.members,
      shards: swarm.shards,
      appendMs: [0, swarm.appendMsMax],
      readMs: [0, swarm.readMsMax],
      storeMsMax: swarm.storeMsMax,
      ...(options.print === undefined ? {} : { print: options.print }),
      ...(options.plant === undefined ? {} : { plant: options.plant }),
    });
    this.#world = world;
    this.#truths = new Map(world.shards.map((shard) => [shard, new Truth()]));
    this.#checker = new ReplicaChecker(world, this.#truths);
    this.#nemesis = new Nemesis(world, swarm);
    const rng = world.rng('clients');
    const parts = { world, history: this.#history, audit: this.#audit, keys: swarm.keys };
    const own = (): ReturnType<typeof seededRng> => seededRng(rng.integer(0, 2 ** 48));
    this.#clients = Array.from({ length: swarm.clients }, (_, i) => new SimClient(parts, i, own()));
    this.#watchers = Array.from(
      { length: swarm.watchers },
      (_, i) => new SimWatcher(parts, i, own()),
    );
  }

  fail(problem: string): void {
    this.#problems.push(problem);
  }

  async safety(): Promise<void> {
    const world = this.#world;
    world.start();
    this.#nemesis.start();
    for (const client of this.#clients) client.start();
    for (const watcher of this.#watchers) watcher.start();
    await this.#pass(this.#swarm.safetyMs, () => false);
  }

  async liveness(): Promise<void> {
    const world = this.#world;
    const healthy = this.#nemesis.heal();
    for (const watcher of this.#watchers) watcher.restrict(healthy);
    await this.#pass(QUIET_MS, () => false);
    for (const client of this.#clients) client.finish();
    const settled = await this.#pass(LIVENESS_MS, () => this.#isSettled(healthy));
    if (!settled)
      this.fail(`liveness: not settled after ${LIVENESS_MS} ms: ${this.#open(healthy)}`);
    await this.#pass(QUIET_MS, () => false);
    await this.#takeHashes(healthy);
    const lives = new Map(world.members.map((member) => [member, member.life]));
    for (const member of world.members) if (!healthy.includes(member)) member.crash();
    await world.stop();
    this.#finalChecks(settled, healthy, lives);
  }

  result(): RunResult {
    const { ops } = this.#history;
    const alarms = this.#world.alarms.map(
      ({ member, shard, text }) => `alarm: ${member} shard ${shard}: ${text}`,
    );
    const problems = [...alarms, ...this.#problems, ...this.#checker.problems];
    const sum = (count: (truth: Truth) => number): number =>
      [...this.#truths.values()].reduce((total, truth) => total + count(truth), 0);
    return {
      seed: this.#seed,
      swarm: this.#swarm,
      problems: problems.slice(0, PROBLEMS_MAX),
      traceDigest: this.#world.trace.digest(),
      opCount: ops.length,
      okCount: ops.filter(({ outcome }) => outcome?.kind === 'ok').length,
      unknownCount: ops.filter(({ outcome }) => outcome?.kind === 'unknown').length,
      revisionCount: sum((truth) => truth.revision - 1),
      fencedCount: sum((truth) => truth.fenced),
    };
  }

  /** Lets time pass until `done`, looking at the replicas all the while. */
  async #pass(msMax: number, done: () => boolean): Promise<boolean> {
    const world = this.#world;
    const untilMs = world.clock.nowMs() + msMax;
    let hashAtMs = world.clock.nowMs() + HASH_EVERY_MS;
    while (world.clock.nowMs() < untilMs) {
      if (await world.runUntil(done, CHECK_EVERY_MS)) return true;
      this.#checker.check();
      if (world.clock.nowMs() < hashAtMs) continue;
      hashAtMs += HASH_EVERY_MS;
      void this.#takeHashes(world.members);
    }
    return false;
  }

  async #takeHashes(members: readonly SimMember[]): Promise<void> {
    for (const shard of this.#world.shards) {
      for (const member of members) {
        const replica = member.paused ? undefined : member.replica(shard);
        if (replica === undefined) continue;
        try {
          const { index, hash } = await replica.stateHash();
          this.#checker.hash(member.name, shard, index, hash);
        } catch {
          // The member crashed meanwhile: there is nothing to compare.
        }
      }
    }
  }

  #isSettled(healthy: readonly SimMember[]): boolean {
    return this.#clients.every((client) => client.idle) && this.#behind(healthy).length === 0;
  }

  /** Healthy replicas that have not applied the whole history, and shards that nobody leads. */
  #behind(healthy: readonly SimMember[]): readonly string[] {
    return this.#world.shards.flatMap((shard) => {
      const truth = this.#truths.get(shard);
      truth?.extend(this.#world.records(shard));
      const leader = this.#world.leader(shard);
      const leaderless = leader === undefined ? [`shard ${shard} has no leader`] : [];
      const late = healthy.filter(
        (member) => member.replica(shard)?.status().appliedIndex !== truth?.index,
      );
      return [...leaderless, ...late.map((member) => `${member.name} is behind on ${shard}`)];
    });
  }

  #open(healthy: readonly SimMember[]): string {
    const open = this.#history.ops.filter(({ outcome }) => outcome === undefined);
    const ops = open.slice(0, 5).map((op) => `${op.client} #${op.id} since ${op.startMs} ms`);
    return [...this.#behind(healthy), ...ops].join('; ');
  }

  #finalChecks(
    settled: boolean,
    healthy: readonly SimMember[],
    lives: ReadonlyMap<SimMember, number | undefined>,
  ): void {
    this.#checker.check();
    const stopped = new Map([...lives].filter(([member]) => healthy.includes(member)));
    this.#problems.push(...this.#audit.problems, ...this.#audit.unanswered(stopped));
    for (const [shard, truth] of this.#truths) {
      truth.extend(this.#world.records(shard));
      const ops = this.#history.ops.filter((op) => op.shard === shard);
      this.#problems.push(...checkOutcomes(ops, truth), ...checkLinearizable(ops, truth));
      const watches = this.#history.watches.filter((watch) => watch.shard === shard);
      this.#problems.push(...checkRealTime(ops, watches));
    }
    for (const { record } of this.#watchers) {
      const truth = this.#truths.get(record.shard);
      if (truth === undefined) continue;
      // A watcher on one key hears nothing of the others: the quiet time has brought it up to the end.
      if (settled) record.next = Math.max(record.next, truth.revision + 1);
      this.#problems.push(...checkWatch(record, truth));
    }
  }
}
