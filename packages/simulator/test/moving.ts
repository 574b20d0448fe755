import {
  fromUtf8,
  KvError,
  META_SHARD,
  type ShardId,
  shardId,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import {
  type CommandResult,
  type HandOverEvent,
  type ReplicaPort,
  SlotMover,
  type SlotRequest,
} from '@kvorum/replica';
import { beginMoves, movesOf, type ShardMap, SLOT_COUNT, shardOfKey, slotOf } from '@kvorum/shard';
import { firstMapOf, type SimMember, World, type WorldOptions } from '@kvorum/simulator';
import { seededRng } from '@kvorum/testkit';
import { expect } from 'vitest';

export const SOURCE = shardId(0);
export const TARGET = shardId(1);
export const KEYS: readonly string[] = Array.from({ length: 12 }, (_, i) => `key-${i}`);
export const WRITE_MS = 3000;
const GIVE_UP_MS = 120_000;

/** Half of the slots of one shard move to another, there and back, while members die and clients write. */
export class Moving {
  readonly world: World;
  readonly #rng: ReturnType<typeof seededRng>;
  map: ShardMap;
  readonly #movers = new Map<SimMember, { readonly life: number; readonly mover: SlotMover }>();
  /** Last value that was acknowledged, and last one tried. */
  readonly acknowledged = new Map<string, number>();
  readonly tried = new Map<string, number>();
  /** What the movers could not explain. */
  readonly broken: string[] = [];
  /** What the movers told of their hand-overs. */
  readonly told: HandOverEvent[] = [];
  #writing = true;

  constructor(seed: number, options: Partial<WorldOptions> = {}) {
    this.#rng = seededRng(seed);
    this.world = new World({
      seed,
      members: 3,
      shards: 2,
      storeMsMax: 2,
      ...options,
      slots: (shard) => ({
        count: SLOT_COUNT,
        ofKey: (key: Uint8Array) => slotOf(key, []),
        ofRange: () => undefined,
        startsEmpty: shard === TARGET,
      }),
    });
    this.map = firstMapOf(this.world.members, 2);
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.world.clock.setTimer(delayMs, () => resolve()));
  }

  #leading(member: SimMember, shard: ShardId): ReplicaPort | undefined {
    if (shard === META_SHARD) return undefined;
    const replica = member.replica(shard);
    return replica?.status().raft.role === 'leader' ? replica : undefined;
  }

  /** A process that died takes its mover with it. */
  tend(): void {
    for (const member of this.world.members) {
      const { life } = member;
      const found = this.#movers.get(member);
      if (found !== undefined && found.life === life) continue;
      found?.mover.stop();
      this.#movers.delete(member);
      if (life === undefined) continue;
      const mover = this.#moverOf(member, life);
      this.#movers.set(member, { life, mover });
      mover.start();
    }
  }

  #moverOf(member: SimMember, life: number): SlotMover {
    const alive = (): boolean => member.life === life && !member.paused;
    const quiet = (): void => undefined;
    return new SlotMover({
      clock: member.clock,
      limits: this.world.limits,
      logger: {
        debug: quiet,
        info: quiet,
        warn: quiet,
        error: (f, t) => this.broken.push(t + JSON.stringify(f)),
      },
      told: (event) => this.told.push(event),
      map: () => this.map,
      leading: (shard) => (alive() ? this.#leading(member, shard) : undefined),
      updateMap: async (change) => {
        await this.#pause(this.#rng.integer(0, 50));
        const next = change(this.map);
        if (next !== undefined) this.map = { ...next, version: this.map.version + 1 };
        await this.#pause(this.#rng.integer(0, 50));
        return this.map;
      },
      ask: (request) => this.#ask(request),
    });
  }

  async #ask(request: SlotRequest): Promise<unknown> {
    await this.#pause(this.#rng.integer(0, 10));
    const leader = this.world.leader(request.shard);
    const mover = leader === undefined ? undefined : this.#movers.get(leader)?.mover;
    if (mover === undefined) throw new KvError('KV_NO_LEADER');
    // An answer may be lost with the member; a step may be taken all the same.
    const answer = await Promise.race([mover.serve(request), this.#pause(6000)]);
    if (answer === undefined) throw new KvError('KV_UNAVAILABLE');
    return answer;
  }

  begin(from: ShardId, to: ShardId, id: string): void {
    const slots = [[0, SLOT_COUNT / 2 - 1]] as const;
    const next = beginMoves(this.map, { shards: [], moves: [{ from, to, slots }] }, [id]);
    this.map = { ...next, version: this.map.version + 1 };
  }

  /** Begins to write so many keys, one after another each. */
  write(count: number = KEYS.length): void {
    for (const key of KEYS.slice(0, count)) void this.#writer(key);
  }

  stopWriting(): void {
    this.#writing = false;
  }

  async #writer(key: string): Promise<void> {
    while (this.#writing) {
      const value = (this.tried.get(key) ?? 0) + 1;
      this.tried.set(key, value);
      const result = await this.#put(key, value);
      if (result?.ok === true) this.acknowledged.set(key, value);
      await this.#pause(this.#rng.integer(5, 60));
    }
  }

  #put(key: string, value: number): Promise<CommandResult | undefined> {
    const request = { op: 'put', key: utf8(key), value: utf8(String(value)) } as const;
    return this.submit(shardOfKey(this.map, utf8(key)), request);
  }

  /** To whoever leads the shard; undefined when nobody answers. */
  submit(shard: ShardId, request: WriteRequest): Promise<CommandResult | undefined> {
    const member = this.world.leader(shard);
    return new Promise((resolve) => {
      this.world.clock.setTimer(WRITE_MS, () => resolve(undefined));
      member?.call(shard, (replica) =>
        replica.submit({
          request,
          session: undefined,
          deadlineMs: member.nowMs() + WRITE_MS,
          bytes: 64,
          done: resolve,
        }),
      );
    });
  }

  async read(key: string): Promise<number | undefined> {
    let found: { readonly value: number } | undefined;
    for (let i = 0; i < 50 && found === undefined; i += 1) {
      const shard = shardOfKey(this.map, utf8(key));
      const member = this.world.leader(shard);
      let answered = false;
      member?.call(shard, (replica) =>
        replica.get(utf8(key), member.nowMs() + WRITE_MS, (result) => {
          answered = true;
          if (result.ok)
            found = { value: result.kv === undefined ? 0 : Number(fromUtf8(result.kv.value)) };
        }),
      );
      await this.world.runUntil(() => answered, WRITE_MS);
      if (found === undefined) await this.world.run(200);
    }
    return found?.value;
  }

  /** Runs until no slots move; members die meanwhile. */
  async settle(deaths: number): Promise<void> {
    const { world } = this;
    for (let i = 0; i < deaths; i += 1) {
      await this.#run(this.#rng.integer(10, 1500));
      const victim = world.members[this.#rng.integer(0, world.members.length)];
      victim?.crash((unsynced) => this.#rng.integer(0, unsynced + 1));
      await this.#run(this.#rng.integer(10, 3000));
      if (victim?.running === false) victim.start();
    }
    for (let ms = 0; movesOf(this.map).length > 0 && ms < GIVE_UP_MS; ms += 100)
      await this.#run(100);
    expect(movesOf(this.map)).toEqual([]);
    // Until the mover knows as well.
    await this.#run(200);
  }

  async #run(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 20) {
      this.tend();
      await this.world.run(Math.min(20, left));
    }
  }

  async end(): Promise<void> {
    for (const { mover } of this.#movers.values()) mover.stop();
    await this.world.stop();
  }
}
