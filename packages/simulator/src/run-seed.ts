import process from 'node:process';
import { type ShardId, shardId } from '@kvorum/base';
import { seededRng } from '@kvorum/testkit';
import { Audit } from './audit.ts';
import { checkHistory } from './checkers/check-history.ts';
import type { RecordedHistory } from './checkers/recorded-history.ts';
import { SimClient } from './clients.ts';
import { damageLog } from './fault-actions.ts';
import { Nemesis } from './faults.ts';
import { History, type OpRecord, type WatchRecord } from './history.ts';
import { checkDamaged } from './invariants/damage.ts';
import { DiskChecker } from './invariants/disks.ts';
import { checkFencing, checkOwnership, checkPast } from './invariants/final.ts';
import { LagChecker } from './invariants/learner-lag.ts';
import { checkMemberships } from './invariants/memberships.ts';
import { MoveChecker } from './invariants/moves.ts';
import { type Problem, Problems } from './invariants/names.ts';
import { checkOutcomes } from './invariants/outcomes.ts';
import { checkRealTime } from './invariants/real-time.ts';
import { ReplicaChecker } from './invariants/replicas.ts';
import { checkLinearizable } from './invariants/revision-order.ts';
import { TruncationChecker } from './invariants/truncations.ts';
import { VoteChecker } from './invariants/votes.ts';
import { checkWatch } from './invariants/watches.ts';
import { placesOf } from './leases/lease-places.ts';
import { LeaseWorkload } from './leases/lease-workload.ts';
import type { SimMember } from './member.ts';
import { Operator } from './moves/operator.ts';
import { fixedRouting, movingRouting, type Routing } from './moves/routing.ts';
import { firstMapOf, GROUP_IDS } from './moves/slot-groups.ts';
import type { Plant } from './plant.ts';
import { recordGroups, recordShards } from './recorded-run.ts';
import { Recovery } from './recovery.ts';
import { shardsOf } from './shards-of.ts';
import { drawSwarm, type Swarm } from './swarm.ts';
import { Truth } from './truth.ts';
import { SimWatcher } from './watchers.ts';
import { World } from './world.ts';

export interface RunOptions {
  readonly print?: (line: string) => void;
  /** Replaces what the seed drew, for scripted schedules and planted bugs. */
  readonly adjust?: (swarm: Swarm) => Swarm;
  readonly plant?: Plant;
  /** Ends the run at the first violation: what is looked for is found. */
  readonly stopAtFirst?: boolean;
  /** Also runs the checkers of recorded histories, which judge without the simulator's own bookkeeping. */
  readonly crossCheck?: boolean;
  /** Is given what clients did and saw, when the run is over. */
  readonly onHistory?: (history: RecordedHistory) => void;
}

export interface RunResult {
  readonly seed: number;
  readonly swarm: Swarm;
  /** Empty = every check held. */
  readonly problems: readonly Problem[];
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
/** Long enough for everybody to start, read the log and see what is wrong with it. */
const RESTART_MS = 12_000;

/** One run: a cluster under faults, then healed; checked all the while and at the end. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const run = new Run(seed, options);
  const unheard = (error: unknown): void => run.unheard(error);
  process.on('unhandledRejection', unheard);
  try {
    await run.safety();
    await run.liveness();
  } catch (error) {
    // A broken invariant of the simulated code surfaces here: it is a finding, not the end of the campaign.
    run.fail(textOf(error));
  } finally {
    process.off('unhandledRejection', unheard);
  }
  return run.result();
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

class Run {
  readonly #seed: number;
  readonly #swarm: Swarm;
  readonly #world: World;
  readonly #history = new History();
  readonly #audit = new Audit();
  readonly #truths: Map<ShardId, Truth>;
  readonly #checker: ReplicaChecker;
  readonly #nemesis: Nemesis;
  readonly #clients: readonly SimClient[];
  readonly #watchers: readonly SimWatcher[];
  readonly #leases: LeaseWorkload;
  readonly #problems: Problems = new Problems();
  readonly #stopAtFirst: boolean;
  readonly #options: RunOptions;
  /** In runs whose slots move. */
  readonly #moves: { readonly checker: MoveChecker; readonly operator: Operator } | undefined;
  /** The shard whose log was damaged. */
  #damaged: ShardId | undefined;
  /** The same one, once an operator has it go on: what was seen of it before is judged by then. */
  #recovered: ShardId | undefined;

  constructor(seed: number, options: RunOptions) {
    this.#seed = seed;
    this.#stopAtFirst = options.stopAtFirst === true;
    this.#options = options;
    const drawn = drawSwarm(seededRng(seed));
    const swarm = options.adjust?.(drawn) ?? drawn;
    this.#swarm = swarm;
    const world = new World({
      seed,
      members: swarm.members,
      ...(swarm.voters === undefined ? {} : { voters: swarm.voters }),
      ...shardsOf(swarm),
      appendMs: [0, swarm.appendMsMax],
      replicationMs: [0, swarm.replicationMsMax],
      readMs: [0, swarm.readMsMax],
      storeMsMax: swarm.storeMsMax,
      driftMax: swarm.driftMax,
      limits: swarm.limits,
      autoCompaction: swarm.autoCompaction,
      ...(options.print === undefined ? {} : { print: options.print }),
      ...(options.plant === undefined ? {} : { plant: options.plant }),
    });
    this.#world = world;
    this.#truths = new Map(world.shards.map((shard) => [shard, new Truth(world.slotsOf(shard))]));
    const votes = new VoteChecker(world, this.#truths, this.#problems);
    const lag = new LagChecker(world, this.#problems);
    world.observe(lag);
    this.#checker = new ReplicaChecker(world, {
      truths: this.#truths,
      votes,
      lag,
      problems: this.#problems,
    });
    world.observe(votes);
    world.observe(new TruncationChecker(world, this.#problems));
    world.observe(new DiskChecker(world, this.#truths, this.#problems));
    world.onEvent(() => this.#checker.step());
    this.#nemesis = new Nemesis(world, swarm);
    this.#moves = this.#movesOf(swarm);
    const rng = world.rng('clients');
    const { keys, stuckPerMille } = swarm;
    const parts = { world, history: this.#history, audit: this.#audit, keys, stuckPerMille };
    const own = (): ReturnType<typeof seededRng> => seededRng(rng.integer(0, 2 ** 48));
    const firstMap = this.#moves?.checker.map;
    const routed = (): Partial<{ routing: Routing }> =>
      firstMap === undefined ? {} : { routing: movingRouting(world, own(), firstMap) };
    this.#clients = Array.from(
      { length: swarm.clients },
      (_, i) => new SimClient({ ...parts, ...routed() }, i, own()),
    );
    this.#watchers = Array.from(
      { length: swarm.watchers },
      (_, i) => new SimWatcher({ ...parts, ...routed() }, i, own()),
    );
    this.#leases = new LeaseWorkload({
      world,
      truths: this.#truths,
      problems: this.#problems,
      history: this.#history,
      holders: swarm.leaseHolders ?? 0,
      driftMax: swarm.driftMax,
      routing: () => routed().routing ?? fixedRouting(world),
      places: placesOf(firstMap, shardId(swarm.shards)),
    });
  }

  #movesOf({
    movesMeanMs,
    shards,
  }: Swarm): { checker: MoveChecker; operator: Operator } | undefined {
    if (movesMeanMs === undefined) return undefined;
    const world = this.#world;
    const firstMap = firstMapOf(world.members, shards);
    const parts = { truths: this.#truths, problems: this.#problems, firstMap };
    return {
      checker: new MoveChecker(world, { ...parts, meta: shardId(shards) }),
      operator: new Operator(world, world.rng('moves'), movesMeanMs),
    };
  }

  fail(problem: string): void {
    this.#problems.add('no-alarm', problem);
  }

  unheard(error: unknown): void {
    this.#problems.add('failures-heard', textOf(error));
  }

  async safety(): Promise<void> {
    const world = this.#world;
    world.start();
    this.#nemesis.start();
    this.#moves?.operator.start();
    for (const client of this.#clients) client.start();
    for (const watcher of this.#watchers) watcher.start();
    this.#leases.start();
    const { damage, safetyMs } = this.#swarm;
    if (damage === undefined) {
      await this.#pass(safetyMs, () => false);
      return;
    }
    const rng = world.rng('damage');
    const shard = world.shards[rng.integer(0, world.shards.length)] as ShardId;
    await this.#pass(rng.integer(safetyMs / 4, safetyMs), () => false);
    this.#damage(shard, rng);
    await this.#pass(safetyMs / 2, () => false);
  }

  #damage(shard: ShardId, rng: ReturnType<typeof seededRng>): void {
    const { damage } = this.#swarm;
    const truth = this.#truths.get(shard);
    truth?.extend(this.#world.history(shard));
    this.#checker.check();
    if (damage === undefined || !damageLog(this.#world, rng, { shard, damage })) return;
    this.#world.trace.line('fault', `${damage} shard ${shard}`);
    this.#damaged = shard;
    if (truth === undefined) return;
    truth.startMoved = true;
    // A moved start takes nothing from the history; anything else leaves a log that says something else.
    if (damage !== 'start-moved') truth.freeze();
  }

  async liveness(): Promise<void> {
    if (this.#stopped()) return;
    const world = this.#world;
    const healthy = this.#nemesis.heal();
    this.#moves?.operator.finish();
    for (const watcher of this.#watchers) watcher.restrict(healthy);
    await this.#pass(QUIET_MS, () => false);
    for (const client of this.#clients) client.finish();
    this.#leases.finish();
    const settled = await this.#pass(LIVENESS_MS, () => this.#isSettled(healthy));
    if (!settled) {
      const open = this.#open(healthy);
      this.#moves?.checker.checkEnded();
      this.#problems.add('liveness', `not settled after ${LIVENESS_MS} ms: ${open}`);
    }
    await this.#pass(QUIET_MS, () => false);
    if (this.#damaged !== undefined) await this.#restartAll(this.#damaged);
    if (this.#damaged !== undefined && settled) await this.#recover(this.#damaged);
    await this.#takeHashes(healthy);
    if (settled) this.#moves?.checker.checkDisks(healthy);
    const lives = new Map(world.members.map((member) => [member, member.life]));
    for (const member of world.members) if (!healthy.includes(member)) member.crash();
    await world.stop();
    this.#finalChecks(settled, healthy, lives);
  }

  /** Who starts again looks at the log it left: now everybody has to know. */
  async #restartAll(shard: ShardId): Promise<void> {
    this.#nemesis.mendAll();
    for (const member of this.#world.members) {
      if (member.running) member.crash();
      member.start();
    }
    await this.#pass(RESTART_MS, () => false);
    this.#problems.addAll('detect-and-halt', checkDamaged(this.#world, shard));
  }

  /** A shard that nobody leads after that goes on in the next generation of its log. */
  async #recover(shard: ShardId): Promise<void> {
    const world = this.#world;
    const truth = this.#truths.get(shard);
    if (truth === undefined || this.#stopped() || world.leader(shard) !== undefined) return;
    truth.extend(world.history(shard));
    if (!truth.frozen) this.#checkWhole(shard, truth);
    for (const { record } of this.#watchers) {
      if (record.shard === shard) this.#checkWatcher(record, false);
    }
    this.#recovered = shard;
    await new Recovery({
      world,
      shard,
      keys: this.#swarm.keys,
      truths: this.#truths,
      problems: this.#problems,
      pass: (msMax, done) => this.#pass(msMax, done),
    }).run();
  }

  result(): RunResult {
    const { ops } = this.#history;
    for (const { member, shard, text, excused } of this.#world.alarms) {
      if (excused || shard === this.#damaged) continue;
      this.#problems.add('no-alarm', `${member.name} shard ${shard}: ${text}`);
    }
    const sum = (count: (truth: Truth) => number): number =>
      [...this.#truths.values()].reduce((total, truth) => total + count(truth), 0);
    return {
      seed: this.#seed,
      swarm: this.#swarm,
      problems: this.#problems.found,
      traceDigest: this.#world.trace.digest(),
      opCount: ops.length,
      okCount: ops.filter(({ outcome }) => outcome?.kind === 'ok').length,
      unknownCount: ops.filter(({ outcome }) => outcome?.kind === 'unknown').length,
      revisionCount: sum((truth) => truth.revision - 1),
      fencedCount: sum((truth) => truth.fenced),
    };
  }

  #stopped(): boolean {
    return this.#stopAtFirst && this.#problems.found.length > 0;
  }

  /** Lets time pass until `done`, looking at the replicas all the while. */
  async #pass(msMax: number, done: () => boolean): Promise<boolean> {
    const world = this.#world;
    const untilMs = world.clock.nowMs() + msMax;
    let hashAtMs = world.clock.nowMs() + HASH_EVERY_MS;
    while (world.clock.nowMs() < untilMs) {
      if (this.#stopped()) return false;
      const isDone = await world.runUntil(done, CHECK_EVERY_MS);
      this.#moves?.checker.check();
      if (isDone) return true;
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
        if (!member.paused) await this.#takeHash(member, shard);
      }
    }
  }

  async #takeHash(member: SimMember, shard: ShardId): Promise<void> {
    const replica = member.replica(shard);
    const generation = this.#world.generation(shard);
    if (replica?.status().raft.accepted.generation !== generation) return;
    try {
      const { index, hash } = await replica.stateHash();
      // The shard was recovered meanwhile: the content may be one that it has left.
      if (generation !== this.#world.generation(shard)) return;
      this.#checker.hash(member.name, shard, { index, hash });
    } catch {
      // The member crashed meanwhile: there is nothing to compare.
    }
  }

  #isSettled(healthy: readonly SimMember[]): boolean {
    const isMoving = (this.#moves?.checker.open.length ?? 0) > 0;
    const idle = this.#clients.every((client) => client.idle) && this.#leases.open.length === 0;
    return !isMoving && idle && this.#behind(healthy).length === 0;
  }

  /** Healthy replicas that have not applied the whole history, and shards that nobody leads. */
  #behind(healthy: readonly SimMember[]): readonly string[] {
    const shards = this.#world.shards.filter((shard) => shard !== this.#damaged);
    return shards.flatMap((shard) => {
      const truth = this.#truths.get(shard);
      truth?.extend(this.#world.history(shard));
      const leader = this.#world.leader(shard);
      const leaderless = leader === undefined ? [`shard ${shard} has no leader`] : [];
      const late = healthy.filter(
        (member) => member.replica(shard)?.status().appliedIndex !== truth?.index,
      );
      const behind = late.map((member) => `${member.name} is behind on ${shard}`);
      return [...leaderless, ...behind, ...this.#misplaced(shard)];
    });
  }

  /** The membership that the map wants has come about. */
  #misplaced(shard: ShardId): readonly string[] {
    const wanted = this.#world.wanted.get(shard)?.voters;
    const voters = this.#world.leader(shard)?.replica(shard)?.status().raft.voters ?? [];
    if (wanted === undefined || wanted.every((id) => voters.includes(id))) return [];
    return [`shard ${shard} has the voters ${voters.join(',')}, wanted are ${wanted.join(',')}`];
  }

  #open(healthy: readonly SimMember[]): string {
    const open = this.#history.ops.filter(({ outcome }) => outcome === undefined);
    const ops = open.slice(0, 5).map((op) => `${op.client} #${op.id} since ${op.startMs} ms`);
    return [...this.#behind(healthy), ...ops, ...this.#leases.open].join('; ');
  }

  #finalChecks(
    settled: boolean,
    healthy: readonly SimMember[],
    lives: ReadonlyMap<SimMember, number | undefined>,
  ): void {
    this.#checker.check();
    const stopped = new Map([...lives].filter(([member]) => healthy.includes(member)));
    this.#problems.addAll('answered-once', this.#audit.problems);
    if (this.#damaged === undefined) {
      this.#problems.addAll('answered-once', this.#audit.unanswered(stopped));
    }
    for (const [shard, truth] of this.#truths) {
      truth.extend(this.#world.history(shard));
      if (!truth.frozen && shard !== this.#recovered) this.#checkWhole(shard, truth);
    }
    this.#checkGroups();
    this.#leases.check();
    this.#checkWatches(settled);
    this.#crossCheck();
  }

  /** Where slots move, a group is what a shard is elsewhere. */
  #checkGroups(): void {
    const { checker } = this.#moves ?? {};
    if (checker === undefined) return;
    checker.check();
    checker.checkWrites(this.#history.ops);
    for (const group of GROUP_IDS) this.#checkShard(group, checker.groupTruth(group));
  }

  #checkWatches(settled: boolean): void {
    for (const { record } of this.#watchers) {
      if (record.shard === this.#recovered) continue;
      this.#checkWatcher(record, settled && record.shard !== this.#damaged);
    }
  }

  /** @param whole - the quiet time has brought it up to the end: a watcher on one key hears nothing of the others. */
  #checkWatcher(record: WatchRecord, whole: boolean): void {
    const { checker } = this.#moves ?? {};
    const truth = checker?.groupTruth(record.shard) ?? this.#truths.get(record.shard);
    if (truth === undefined || truth.frozen) return;
    if (whole) record.next = Math.max(record.next, truth.revision + 1);
    if (checker === undefined) this.#problems.addAll('watch', checkWatch(record, truth));
    else checker.checkWatch(record);
  }

  /** By the checkers of recorded histories. */
  #crossCheck(): void {
    const { crossCheck, onHistory } = this.#options;
    if (crossCheck !== true && onHistory === undefined) return;
    const shards = this.#world.shards.filter(
      (shard) => shard !== this.#recovered && this.#truths.get(shard)?.frozen === false,
    );
    const run = { seed: this.#seed };
    const history =
      this.#moves === undefined
        ? recordShards(this.#world, shards, this.#history, run)
        : recordGroups(this.#history, run);
    onHistory?.(history);
    if (crossCheck !== true) return;
    const { findings, unverified } = checkHistory(history);
    for (const { rule, text } of findings) this.#problems.add('cross-check', `${rule}: ${text}`);
    for (const text of unverified) this.#problems.add('cross-check', `not verified: ${text}`);
  }

  #checkWhole(shard: ShardId, truth: Truth): void {
    this.#problems.addAll('one-content', truth.forked);
    const initial = this.#world.initialVoters;
    this.#problems.addAll('membership', checkMemberships(truth, initial));
    if (this.#moves !== undefined) return;
    const ops = this.#history.ops.filter((op) => op.shard === shard);
    this.#problems.addAll('outcomes', checkOutcomes(ops, truth));
    this.#checkShard(shard, truth);
  }

  #checkShard(shard: ShardId, truth: Truth): void {
    const ops: readonly OpRecord[] = this.#history.ops.filter((op) => op.shard === shard);
    const watches = this.#history.watches.filter((watch) => watch.shard === shard);
    const problems = this.#problems;
    problems.addAll('linearizable', checkLinearizable(ops, truth));
    problems.addAll('real-time', checkRealTime(ops, watches));
    problems.addAll('history', checkPast(ops, truth));
    problems.addAll('fencing', checkFencing(ops));
    problems.addAll('shard-ownership', checkOwnership(shard, truth));
  }
}
