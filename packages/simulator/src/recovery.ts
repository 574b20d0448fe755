import type { ShardId } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { chooseReplica, type Recoverable } from '@kvorum/replica';
import { seededRng } from '@kvorum/testkit';
import { Audit } from './audit.ts';
import { SimClient } from './clients.ts';
import { History, type OpRecord } from './history.ts';
import { checkFencing, checkPast } from './invariants/final.ts';
import type { Problems } from './invariants/names.ts';
import { checkOutcomes } from './invariants/outcomes.ts';
import { checkRealTime } from './invariants/real-time.ts';
import { checkRecovered, stateOf } from './invariants/recovered.ts';
import { checkLinearizable } from './invariants/revision-order.ts';
import { checkWatch } from './invariants/watches.ts';
import type { SimMember } from './member.ts';
import type { Routing } from './moves/routing.ts';
import { Truth } from './truth.ts';
import { SimWatcher } from './watchers.ts';
import type { World } from './world.ts';

const ASK_MS = 10_000;
/** So long members die, come back and hear of the new generation, while clients write. */
const UNREST_MS = 5000;
const DEATHS_MAX = 4;
const AWAY_MS_MAX = 1500;
/** Then everybody must have come to the new generation. */
const SETTLE_MS = 60_000;
const QUIET_MS = 2000;
const CLIENTS = 2;
const STUCK_PER_MILLE = 5;
/** Clients of before have sessions that the recovered state may still know. */
const FIRST_CLIENT = 100;

export interface RecoveryParts {
  readonly world: World;
  readonly shard: ShardId;
  readonly keys: number;
  /** The shard's is replaced by that of the new generation. */
  readonly truths: Map<ShardId, Truth>;
  readonly problems: Problems;
  /** Lets time pass and looks at the replicas meanwhile. */
  readonly pass: (msMax: number, done: () => boolean) => Promise<boolean>;
}

/** An operator lets a shard that nobody leads go on in the next generation of its log, as `kvctl shard recover` has it. */
export class Recovery {
  readonly #parts: RecoveryParts;
  readonly #rng: Rng;
  readonly #history = new History();
  readonly #audit = new Audit();
  #unrest = true;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
    this.#rng = parts.world.rng('damage');
  }

  async run(): Promise<void> {
    const { world, shard, truths, pass } = this.#parts;
    const found = await this.#reports();
    const chosen = this.#choose(found);
    if (chosen === undefined) return;
    const state = stateOf(chosen, shard);
    const late = world.members.filter((member) => member !== chosen && this.#oneIn(3));
    const { revision } = world.recover(shard, chosen, late);
    const truth = Truth.after(state);
    truths.set(shard, truth);
    this.#trouble(late);
    const clients = this.#clients();
    const watcher = this.#watcher(revision);
    await pass(UNREST_MS, () => false);
    this.#unrest = false;
    for (const member of world.members) if (!member.running) member.start();
    for (const member of late) member.reopen(shard);
    for (const client of clients) client.finish();
    const idle = (): boolean => clients.every((client) => client.idle);
    const settled = await pass(SETTLE_MS, () => idle() && this.#follows(truth));
    await pass(QUIET_MS, () => false);
    this.#check(truth, { watcher, settled, revision });
  }

  /** What each replica says of itself, synced. */
  async #reports(): Promise<readonly Recoverable[]> {
    const { world, shard, pass } = this.#parts;
    const found: Recoverable[] = [];
    let open = 0;
    for (const member of world.members) {
      const replica = member.replica(shard);
      if (replica === undefined) continue;
      open += 1;
      void replica.recoveryReport().then((report) => {
        found.push({ member: member.name, report });
        open -= 1;
      });
    }
    await pass(ASK_MS, () => open === 0);
    return found.sort((a, b) => (a.member < b.member ? -1 : 1));
  }

  /** As the command advises, or as an operator has it who knows better. */
  #choose(found: readonly Recoverable[]): SimMember | undefined {
    const { members, trace } = this.#parts.world;
    const any = found[this.#rng.integer(0, Math.max(1, found.length))]?.member;
    const advised = chooseReplica(found, members.length);
    const name = this.#oneIn(3) ? any : advised?.member;
    trace.line('operator', `recovers from ${name}; ${advised?.member} is advised: ${advised?.why}`);
    return members.find((member) => member.name === name);
  }

  #trouble(late: readonly SimMember[]): void {
    const { world, shard } = this.#parts;
    for (const member of late) this.#later(() => member.reopen(shard));
    for (let i = this.#rng.integer(0, DEATHS_MAX); i > 0; i -= 1) {
      const victim = world.members[this.#rng.integer(0, world.members.length)];
      this.#later(() => {
        if (victim?.running !== true) return;
        victim.crash((unsynced) => this.#rng.integer(0, unsynced + 1));
        world.clock.setTimer(this.#rng.integer(1, AWAY_MS_MAX), () => {
          if (this.#unrest && !victim.running) victim.start();
        });
      });
    }
  }

  #later(act: () => void): void {
    this.#parts.world.clock.setTimer(this.#rng.integer(0, UNREST_MS), () => {
      if (this.#unrest) act();
    });
  }

  #oneIn(n: number): boolean {
    return this.#rng.integer(0, n) === 0;
  }

  get #routing(): Routing {
    const { shard } = this.#parts;
    return { groups: [shard], shardOf: (group) => group, refresh: () => undefined };
  }

  #clients(): readonly SimClient[] {
    const { world, keys } = this.#parts;
    const own = { history: this.#history, audit: this.#audit };
    const parts = { world, keys, stuckPerMille: STUCK_PER_MILLE, ...own };
    const clients = Array.from({ length: CLIENTS }, (_, i) => {
      const rng = seededRng(this.#rng.integer(0, 2 ** 48));
      return new SimClient({ ...parts, routing: this.#routing }, FIRST_CLIENT + i, rng);
    });
    for (const client of clients) client.start();
    return clients;
  }

  /** It has seen as much as any replica may have shown. */
  #watcher(from: number): SimWatcher {
    const { world, keys } = this.#parts;
    const own = seededRng(this.#rng.integer(0, 2 ** 48));
    const parts = { world, history: this.#history, keys, routing: this.#routing, from };
    const watcher = new SimWatcher(parts, FIRST_CLIENT, own);
    watcher.start();
    return watcher;
  }

  #follows(truth: Truth): boolean {
    const { world, shard } = this.#parts;
    truth.extend(world.history(shard));
    const generation = world.generation(shard);
    return (
      world.leader(shard) !== undefined &&
      world.members.every((member) => {
        const status = member.replica(shard)?.status();
        const isThere = status?.raft.accepted.generation === generation;
        return isThere && status?.appliedIndex === truth.index;
      })
    );
  }

  #check(
    truth: Truth,
    { watcher, settled, revision }: { watcher: SimWatcher; settled: boolean; revision: number },
  ): void {
    const { world, shard, problems } = this.#parts;
    const { ops } = this.#history;
    truth.extend(world.history(shard));
    problems.addAll('recovered', checkRecovered(world, shard, truth));
    if (!settled) {
      problems.add('liveness', `shard ${shard} has not recovered after ${SETTLE_MS} ms`);
      return;
    }
    problems.addAll('answered-once', this.#audit.problems);
    problems.addAll('one-content', truth.forked);
    problems.addAll('outcomes', checkOutcomes(ops, truth));
    const known = ops.filter((op) => !isOld(op, revision));
    problems.addAll('linearizable', checkLinearizable(known, truth));
    problems.addAll('real-time', checkRealTime(known, [watcher.record]));
    problems.addAll('history', checkPast(ops, truth));
    problems.addAll('fencing', checkFencing(ops));
    const { record } = watcher;
    record.next = Math.max(record.next, truth.revision + 1);
    problems.addAll('watch', checkWatch(record, truth));
  }
}

/** A stale read of a replica that was still of an earlier generation. */
function isOld({ op, outcome }: OpRecord, revision: number): boolean {
  const stale = op.kind === 'list' && op.stale;
  return stale && outcome?.kind === 'ok' && outcome.revision < revision;
}
