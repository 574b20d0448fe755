import {
  assert,
  formatId,
  isKvError,
  leaderId,
  type MemberId,
  memberId,
  type ShardId,
  toHex,
  utf8,
} from '@kvorum/base';
import { decodeMeta, META_KEY } from '@kvorum/mvcc';
import type { LogSpec, PeerTransport, Rng, SharedLog, SharedLogs, StateStore } from '@kvorum/ports';
import {
  createPaces,
  type OpenedShards,
  openReplica,
  type Paces,
  type Replica,
  type ReplicaLogger,
  ReplicaStores,
  type ShardTransport,
} from '@kvorum/replica';
import { type MemoryStateStores, memoryStateStores } from '@kvorum/testkit';
import { MemberClock } from './member-clock.ts';
import type { MemberService } from './member-service.ts';
import { SimProcess } from './process.ts';
import { quietMetrics } from './quiet-metrics.ts';
import { sha256 } from './sha256.ts';
import type { World } from './world.ts';

/** The identity every record of a shard's log carries. */
export function shardUidOf(shard: ShardId): Uint8Array {
  return sha256(utf8(`simulated shard ${shard}`)).slice(0, 16);
}

/** Something that must not happen in a simulation, found while it runs. */
export interface Alarm {
  readonly member: SimMember;
  readonly shard: ShardId;
  readonly text: string;
  readonly atMs: number;
  /** Its disk was bad: breaking was right. */
  readonly excused: boolean;
}

const RESTART_RETRY_MS = 200;
const DAY_MS = 86_400_000;

interface Life {
  readonly process: SimProcess;
  readonly logs: SharedLogs;
  readonly peers: PeerTransport;
  readonly replicas: Map<ShardId, Replica>;
  readonly paces: Paces;
  readonly stores: ReplicaStores;
  service?: MemberService | undefined;
}

/** A member of the simulated cluster over its lives: the disks stay, processes come and go. */
export class SimMember {
  readonly index: number;
  readonly #ids: [MemberId, ...MemberId[]];
  readonly name: string;
  readonly stores: MemoryStateStores;
  readonly clock: MemberClock;
  /** Its disk refuses writes. */
  full = false;
  /** Its disk has rows that cannot be read. */
  damaged = false;
  /** Its disk is or was bad in this life: then its replicas may break and halt. */
  diskTrouble = false;
  /** An operator gave its disk up, or it was replaced: the log need not hold what it lacks. */
  expendable = false;
  /** Highest position that a lost disk of it held synced, by shard. */
  readonly lost: Map<ShardId, number> = new Map();
  /** How often its disk was replaced by an empty one. */
  wipes = 0;
  /** How often a replica of it was closed and opened again while it ran. */
  reopened = 0;
  /** Something happened in it since this was last cleared. */
  dirty = false;
  /** Shards of which its disk has had a replica. */
  readonly #uids = new Set<string>();
  readonly #opened: OpenedShards = {
    has: (uid) => this.#uids.has(toHex(uid)),
    add: async (uid) => {
      this.#uids.add(toHex(uid));
    },
  };
  /** Shards whose files were deleted though the disk is the same: it has no replica of them any more. */
  readonly bereft: Set<ShardId> = new Set();
  readonly #world: World;
  readonly #rng: Rng;
  #life: Life | undefined;
  #boots = 0;
  #crashIn:
    | {
        effects: number;
        readonly keep: (unsynced: number) => number;
        readonly died: () => void;
      }
    | undefined;

  constructor(
    world: World,
    index: number,
    options: {
      readonly rng: Rng;
      readonly wallSkewDays: number | undefined;
      readonly drift: number;
    },
  ) {
    const { rng, wallSkewDays, drift } = options;
    this.#world = world;
    this.index = index;
    this.#ids = [memberId(BigInt(index + 1))];
    this.name = `m${index + 1}`;
    this.#rng = rng;
    // Nothing may rest on clocks that agree: monotonic ones start anywhere, wall clocks are days apart.
    const [startMs, days] = [rng.integer(0, 100_000), rng.integer(0, 3)];
    const wallAheadMs = (wallSkewDays ?? days) * DAY_MS;
    this.clock = new MemberClock(world.clock, { startMs, wallAheadMs, drift });
    const { tear } = world.plant;
    this.stores = memoryStateStores(tear === undefined ? {} : { tear });
  }

  /** Another one after each replacement; the name stays. */
  get id(): MemberId {
    return this.#ids[0];
  }

  /** Who it was before it lost a disk and was replaced. */
  get earlierIds(): readonly MemberId[] {
    return this.#ids.slice(1);
  }

  get running(): boolean {
    return this.#life !== undefined;
  }

  get paused(): boolean {
    return this.#life?.process.paused === true;
  }

  /** The replica of the current life; undefined while the member is down or starting. */
  replica(shard: ShardId): Replica | undefined {
    return this.#life?.replicas.get(shard);
  }

  /** Number of the current life; undefined while the member is down. */
  get life(): number | undefined {
    return this.#life === undefined ? undefined : this.#boots;
  }

  /** Of the current life. */
  get service(): MemberService | undefined {
    return this.#life?.service;
  }

  /** Runs `act` in the member's process, once it is not paused; false when there is no replica to take it. */
  call(shard: ShardId, act: (replica: Replica) => void): boolean {
    const life = this.#life;
    const replica = life?.replicas.get(shard);
    if (life === undefined || replica === undefined) return false;
    life.process.run(() => act(replica));
    return true;
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  start(): void {
    assert(this.#life === undefined, `${this.name} runs already`);
    this.#boots += 1;
    this.diskTrouble = this.full || this.damaged;
    const process = new SimProcess(this.#world.clock, {
      ran: () => {
        this.dirty = true;
      },
      atEffect: () => this.#atEffect(process),
    });
    const peers = this.#world.network.join(this.id);
    const life: Life = {
      process,
      peers,
      logs: this.#world.broker.forMember(this.name),
      replicas: new Map(),
      paces: createPaces(),
      stores: new ReplicaStores(this.stores, this.#opened),
    };
    this.#life = life;
    peers.onMessage((from, { shard, payload }) =>
      process.run(() => life.replicas.get(shard)?.deliver(from, payload)),
    );
    peers.onRequest((from, payload) => {
      const { shard, payload: asked } = payload as { shard: ShardId; payload: unknown };
      if (shard === undefined) return process.asked(async () => life.service?.answer(asked));
      return process.asked(async () => life.replicas.get(shard)?.answer(from, asked));
    });
    peers.onReachability((peer, reachable) =>
      process.run(() => {
        for (const replica of life.replicas.values()) replica.peerReachability(peer, reachable);
      }),
    );
    this.#world.trace.line(this.name, `start, boot ${this.#boots}`);
    for (const shard of this.#world.shards) this.#begin(life, shard);
    life.service = this.#world.serviceOf(this, {
      clock: process.clock(this.clock),
      request: (to, payload, signal) => process.seen(peers.request(to, { payload }, { signal })),
      replica: (shard) => life.replicas.get(shard),
    });
  }

  /** The shard map names another generation of the shard's log: the replica is closed and opened on that one. */
  reopen(shard: ShardId): void {
    const life = this.#life;
    const replica = life?.replicas.get(shard);
    if (life === undefined || replica === undefined) return;
    life.replicas.delete(shard);
    this.reopened += 1;
    life.process.seen(replica.stop()).then(
      () => this.#begin(life, shard),
      (error: unknown) => this.#alarm(shard, `does not close: ${String(error)}`),
    );
  }

  #begin(life: Life, shard: ShardId): void {
    const { peers, process } = life;
    const request: ShardTransport['request'] = (to, payload, options) =>
      process.seen(peers.request(to, { shard, payload }, options));
    const send = (to: MemberId, payload: unknown): void => {
      if (!process.alive) return;
      peers.send(to, { shard, payload });
      const receive = (answer: unknown): void =>
        process.run(() => life.replicas.get(shard)?.deliver(to, answer));
      this.#world.plant.sent?.(payload, { to, receive });
      this.#world.sent(this, shard, payload, to);
    };
    process.seen(this.#open(life, shard, { send, request })).catch((error: unknown) => {
      // What lost its votes is refused.
      if (this.bereft.has(shard) && isKvError(error) && error.code === 'KV_DATA_DIR') return;
      this.#alarm(shard, `does not open: ${String(error)}`);
    });
  }

  /** kill -9, or the death of the whole machine: the stores lose the unsynced writes that `keep` does not keep. */
  crash(keep: (unsynced: number) => number = (unsynced) => unsynced): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    life.process.kill();
    void life.peers.close();
    void life.logs.close();
    this.stores.crash(keep);
    this.#crashIn = undefined;
    this.clock.wake();
    this.#world.trace.line(this.name, 'crash');
    this.#world.crashed(this);
  }

  /** Dies at its `effects`-th effect on a port from now on, just before or just after it. */
  crashAt(effects: number, keep: (unsynced: number) => number, died: () => void): void {
    this.#crashIn = { effects, keep, died };
  }

  /** Its disk goes bad; what is halted by it stays so until the process starts again. */
  spoil(disk: 'full' | 'damaged'): void {
    this.diskTrouble = true;
    if (disk === 'damaged') {
      this.damaged = true;
      return;
    }
    this.full = true;
    this.stores.setFull(true);
  }

  /** There is room on the disk again. */
  repair(): void {
    this.full = false;
    this.stores.setFull(false);
  }

  /** No such death is waiting for it any more. */
  spare(): void {
    this.#crashIn = undefined;
  }

  /** The position that a crash of the machine would leave on its disk; -1 = none. */
  durableOffset(shard: ShardId): number {
    const row = this.stores
      .rows(shard, 'durable')
      .find(([key]) => key.length === META_KEY.length && key[0] === META_KEY[0]);
    const meta = row === undefined ? undefined : decodeMeta(row[1]);
    return meta?.ok === true ? meta.value.offset : -1;
  }

  /** A new disk in place of the old one; the member must be down. */
  wipe(): void {
    assert(this.#life === undefined, `${this.name} runs on the disk that is to be wiped`);
    for (const shard of this.#world.shards) {
      this.lost.set(shard, Math.max(this.lost.get(shard) ?? -1, this.durableOffset(shard)));
    }
    this.stores.wipe();
    this.#uids.clear();
    this.bereft.clear();
    this.expendable = true;
    this.wipes += 1;
    this.damaged = false;
    this.#world.trace.line(this.name, 'wiped');
  }

  /** Somebody deletes the files of one of its replicas; the member must be down. */
  deleteFiles(shard: ShardId): void {
    assert(this.#life === undefined, `${this.name} runs on the files that are deleted`);
    this.lost.set(shard, Math.max(this.lost.get(shard) ?? -1, this.durableOffset(shard)));
    this.bereft.add(shard);
    this.expendable = true;
    this.wipes += 1;
    void this.stores.remove(shard);
    this.#world.trace.line(this.name, `shard ${shard} deleted`);
  }

  /** As `kvctl member replace`: it comes back on an empty disk as somebody else. The member must be down. */
  replace(id: MemberId): void {
    this.wipe();
    this.lost.clear();
    this.#ids.unshift(id);
    this.#world.trace.line(this.name, `replaced: ${id}`);
  }

  pause(): void {
    this.#life?.process.pause();
    this.#world.trace.line(this.name, 'pause');
  }

  /** The whole machine stops, and its monotonic clock with it. */
  suspend(): void {
    this.clock.suspend();
    this.pause();
  }

  resume(): void {
    this.clock.wake();
    this.#world.trace.line(this.name, 'resume');
    this.#life?.process.resume();
  }

  /** An orderly stop. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    life.service?.stop();
    await Promise.all([...life.replicas.values()].map((replica) => replica.stop()));
    life.process.kill();
    await life.peers.close();
    await life.logs.close();
    await this.stores.close();
  }

  #atEffect(process: SimProcess): void {
    const crash = this.#crashIn;
    if (crash === undefined || this.#life?.process !== process) return;
    crash.effects -= 1;
    if (crash.effects > 0) return;
    this.crash(crash.keep);
    crash.died();
  }

  async #open(life: Life, shard: ShardId, transport: ShardTransport): Promise<void> {
    const { process } = life;
    const world = this.#world;
    const generation = world.generation(shard);
    const genesis = world.genesis(shard);
    const log = await process.seen(this.#openLog(life, { shard, generation }));
    const clock = process.clock(this.clock);
    const wrap = (inner: StateStore): StateStore => {
      const store = process.store(inner, clock, (call) => world.storeDelayMs(this, call));
      return world.plant.store?.(store, this) ?? store;
    };
    const store = wrap(await process.seen(life.stores.open(shard, shardUidOf(shard))));
    const traced = this.#traced(process.log(log), { shard, generation });
    const { members } = world;
    const slots = world.slotsOf(shard);
    const leases = life.service?.leases;
    const rank = (this.index - Number(shard) + members.length * 1000) % members.length;
    const boot = this.#boots.toString(16).padStart(16, '0');
    const replica = await openReplica({
      shard,
      shardUid: shardUidOf(shard),
      generation,
      ...(genesis === undefined ? {} : { genesis }),
      self: this.id,
      leaderId: leaderId(formatId(this.id) + boot),
      voters: world.initialVoters,
      preferenceRank: rank,
      log: world.plant.log?.(traced, this) ?? traced,
      store,
      place: process.place(life.stores.placeOf(shard), wrap),
      transport,
      clock,
      rng: this.#rng,
      limits: world.limits,
      ...(slots === undefined ? {} : { slots }),
      ...(leases === undefined ? {} : { leases }),
      metrics: quietMetrics,
      logger: this.#logger(shard, process),
      ...(world.autoCompaction === undefined ? {} : { autoCompaction: world.autoCompaction }),
      paces: life.paces,
      sha256,
    });
    life.replicas.set(shard, replica);
    const wanted = world.wanted.get(shard);
    if (wanted !== undefined) replica.wantMembership(wanted);
    replica.onChange(({ raft: { role, term, leader } }) => {
      world.trace.line(this.name, `shard ${shard} ${role} term ${term} leader ${leader ?? '-'}`);
    });
  }

  /** The log with its appends in the trace, and with what it says of itself noted. */
  #traced(log: SharedLog, { shard, generation }: LogSpec): SharedLog {
    const { trace } = this.#world;
    const { life } = this;
    return {
      ...log,
      append: async (record) => {
        trace.line(this.name, `shard ${shard} append ${record.length} bytes`);
        const outcome = await log.append(record);
        const offset = outcome.kind === 'appended' ? ` at ${outcome.offset}` : '';
        trace.line(this.name, `shard ${shard} append ${outcome.kind}${offset}`);
        return outcome;
      },
      truncate: (before) => {
        trace.line(this.name, `shard ${shard} truncates below ${before}`);
        this.#world.truncated(this, shard, before);
        return log.truncate(before);
      },
      read: async (from, options) => {
        const outcome = await log.read(from, options);
        const lost = outcome.kind === 'out-of-range' && outcome.bounds.end < from;
        if (lost && !options.signal.aborted) {
          const atMs = this.#world.clock.nowMs();
          this.#world.toldOfLoss.push({ member: this, life, shard, generation, atMs });
        }
        return outcome;
      },
    };
  }

  async #openLog(life: Life, spec: LogSpec): Promise<SharedLog> {
    for (;;) {
      try {
        return await life.logs.open(spec, { create: true });
      } catch {
        // The log does not answer: a starting member waits for it.
        await new Promise<void>((resolve) => {
          this.#world.clock.setTimer(RESTART_RETRY_MS, () => life.process.run(resolve));
        });
      }
    }
  }

  #logger(shard: ShardId, process: SimProcess): ReplicaLogger {
    const { trace } = this.#world;
    const note = (fields: object, text: string): void => {
      if (process.alive) trace.line(this.name, `shard ${shard} ${text} ${JSON.stringify(fields)}`);
    };
    return {
      debug: note,
      info: note,
      warn: note,
      error: (fields, text) => {
        note(fields, text);
        if (process.alive) this.#alarm(shard, `${text} ${JSON.stringify(fields)}`);
      },
    };
  }

  #alarm(shard: ShardId, text: string): void {
    this.#world.alarm({ member: this, shard, text });
  }
}
