import { isKvError, type ShardId } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { abortMove, beginMoves, movesOf, type ShardMap } from '@kvorum/shard';
import type { World } from '../world.ts';
import { GROUP_IDS, shardOfGroup, spanOfGroup } from './slot-groups.ts';
import { SlotService } from './slot-service.ts';

/** After the cluster is healed a move may take so long; then it is aborted. */
const PATIENCE_MS = 30_000;

/** Whoever has shards scaled up and down, at random moments, and changes their mind. */
export class Operator {
  readonly #world: World;
  readonly #rng: Rng;
  readonly #meanMs: number;
  #raging = true;
  #moves = 0;

  constructor(world: World, rng: Rng, meanMs: number) {
    this.#world = world;
    this.#rng = rng;
    this.#meanMs = meanMs;
  }

  start(): void {
    this.#world.clock.setTimer(this.#rng.integer(1, 2 * this.#meanMs), () => {
      if (!this.#raging) return;
      this.start();
      this.#act(this.#rng.integer(0, 3) === 0);
    });
  }

  /** Begins nothing more; what does not end is aborted after a while. */
  finish(): void {
    this.#raging = false;
    const abort = (): void => {
      this.#act(true);
      this.#world.clock.setTimer(PATIENCE_MS / 6, abort);
    };
    this.#world.clock.setTimer(PATIENCE_MS, abort);
  }

  /** The newest map that any member knows. */
  get map(): ShardMap | undefined {
    let newest: ShardMap | undefined;
    for (const { service } of this.#world.members) {
      if (!(service instanceof SlotService)) continue;
      if (newest === undefined || service.map.version > newest.version) newest = service.map;
    }
    return newest;
  }

  #act(aborts: boolean): void {
    const { members, trace } = this.#world;
    const member = members[this.#rng.integer(0, members.length)];
    const { service } = member ?? {};
    if (!(service instanceof SlotService)) return;
    const seed = this.#rng.integer(0, 2 ** 30);
    this.#moves += 1;
    const id = this.#moves.toString(16).padStart(16, '0');
    service
      .updateMap((map) => {
        const [open] = movesOf(map);
        if (open !== undefined) return aborts ? abortMove(map, open.id) : undefined;
        return aborts || !this.#raging ? undefined : this.#begin(map, seed, id);
      })
      .catch((error: unknown) => {
        trace.line('operator', String(error));
        if (!isKvError(error)) throw error;
      });
  }

  /** Some or all groups of a shard that has some go to another one. */
  #begin(map: ShardMap, seed: number, id: string): ShardMap | undefined {
    const { trace } = this.#world;
    const from = shardOfGroup(map, GROUP_IDS[seed % GROUP_IDS.length] as ShardId);
    const others = map.shards.map((shard) => shard.id).filter((other) => other !== from);
    const to = others[(seed >> 4) % others.length];
    const owned = GROUP_IDS.filter((group) => shardOfGroup(map, group) === from);
    const some = owned.filter((_, i) => ((seed >> (8 + i)) & 1) === 1);
    const slots = (some.length === 0 ? owned : some).map((group) => spanOfGroup(Number(group)));
    if (to === undefined) return undefined;
    trace.line('operator', `move ${id} of ${JSON.stringify(slots)} from ${from} to ${to}`);
    return beginMoves(map, { shards: [], moves: [{ from, to, slots }] }, [id]);
  }
}
