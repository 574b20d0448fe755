import { isKvError, META_SHARD, SESSION_EVICTABLE_IDLE_MS } from '@kvorum/base';
import type { FrozenSlots } from '@kvorum/mvcc';
import { isLeftOver, movesOf, retireShard, type ShardMap, type SlotMove } from '@kvorum/shard';
import type { ReplicaPort } from './api.ts';
import { Gate, handOverMs } from './hand-over-budget.ts';
import type { ReplicaLogger } from './replica-options.ts';
import {
  pause,
  type SharedByMoves,
  SlotMoveDriver,
  type SlotMoveHost,
  type SlotMoveProgress,
  Throttle,
  voidAttempt,
} from './slot-move-driver.ts';
import type { SlotRequest } from './slot-requests.ts';
import { dropPiece, serveSlotRequest, takeStep } from './slot-source.ts';

const LOOK_MS = 50;
/** After a move that broke off. */
const RETRY_MS = 300;

export interface SlotMoverHost extends SlotMoveHost {
  readonly logger: ReplicaLogger;
}

/**
 * Drives the slot moves of the map from this member: those into shards it leads from end to end; of shards it leads and that give
 * slots, that none stays frozen for long. A shard left over by a merge it takes out of the map, once no client can ask any more
 * what became of a write.
 */
export class SlotMover {
  readonly #host: SlotMoverHost;
  readonly #shared: SharedByMoves;
  readonly #drivers = new Map<string, SlotMoveDriver>();
  /** Since when this member has seen something that should pass: a freeze, a left-over shard, a copy without a move. */
  readonly #since = new Map<string, number>();
  /** What is being set right at the moment. */
  readonly #busy = new Set<string>();
  #cancelTimer: () => void = () => undefined;
  #stopped = false;

  constructor(host: SlotMoverHost) {
    this.#host = withNewestMap(host);
    this.#shared = { throttle: new Throttle(host), gate: new Gate() };
  }

  start(): void {
    this.#schedule();
  }

  /** What is under way breaks off; whoever leads next goes on. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  /** Answers the driver of a move, on the leader of the shard that gives slots. Errors: KV_NOT_LEADER, those of the step. */
  serve(request: SlotRequest): Promise<unknown> {
    return serveSlotRequest(this.#host, request);
  }

  /** Of the moves that this member drives. */
  progress(): ReadonlyMap<string, SlotMoveProgress> {
    return new Map([...this.#drivers].map(([id, driver]) => [id, driver.progress()]));
  }

  #schedule(): void {
    this.#cancelTimer = this.#host.clock.setTimer(LOOK_MS, () => {
      if (this.#stopped) return;
      this.#schedule();
      this.#look();
    });
  }

  #look(): void {
    const map = this.#host.map();
    if (map === undefined) return;
    const seen = new Set<string>();
    for (const move of movesOf(map)) {
      if (this.#host.leading(move.to) !== undefined) this.#drive(move);
    }
    for (const { id } of map.shards) {
      const replica = id === META_SHARD ? undefined : this.#host.leading(id);
      if (replica !== undefined) this.#lookAfter(map, replica, seen);
    }
    for (const name of this.#since.keys()) if (!seen.has(name)) this.#since.delete(name);
  }

  #drive({ id }: SlotMove): void {
    if (this.#drivers.has(id)) return;
    const driver = new SlotMoveDriver(this.#host, this.#shared, id);
    this.#drivers.set(id, driver);
    void this.#guarded(`move ${id}`, () => driver.run()).then(() => this.#drivers.delete(id));
  }

  /** A step that fails is taken again, by this member or by the next leader: what went wrong is only told. */
  async #guarded(what: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (this.#stopped) return;
      const { clock, logger } = this.#host;
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      if (!isKvError(error)) logger.error({ what, detail }, 'slot move broke');
      else logger.info({ what, code: error.code, error: error.message }, 'slot move: once more');
      await pause(clock, RETRY_MS);
    }
  }

  #lookAfter(map: ShardMap, replica: ReplicaPort, seen: Set<string>): void {
    const { shard } = replica;
    const { ownership } = replica.slotStatus();
    const { limits } = this.#host;
    for (const frozen of ownership?.frozen ?? []) {
      const name = `freeze ${shard} ${frozen.move} ${frozen.attempt}`;
      const budgetMs = handOverMs(limits, frozen.attempt);
      this.#after(name, budgetMs, seen, () => this.#unfreeze(replica, frozen));
    }
    const known = new Set(movesOf(map).map(({ id }) => id));
    for (const { move, state } of ownership?.imports ?? []) {
      if (state === 'adopted' || known.has(move)) continue;
      this.#after(`copy ${shard} ${move}`, RETRY_MS, seen, () => this.#discard(replica, move));
    }
    for (const { move } of ownership?.drops ?? []) {
      if (known.has(move)) continue;
      this.#after(`drop ${shard} ${move}`, RETRY_MS, seen, async () => {
        await dropPiece(replica, this.#host.clock, move);
      });
    }
    if (!isLeftOver(map, shard)) return;
    this.#after(`rest ${shard}`, SESSION_EVICTABLE_IDLE_MS, seen, async () => {
      await this.#host.updateMap((current) => retireShard(current, shard));
    });
  }

  #after(name: string, delayMs: number, seen: Set<string>, act: () => Promise<void>): void {
    seen.add(name);
    const nowMs = this.#host.clock.nowMs();
    const since = this.#since.get(name) ?? nowMs;
    this.#since.set(name, since);
    if (nowMs - since < delayMs || this.#busy.has(name)) return;
    this.#busy.add(name);
    void this.#guarded(name, act).then(() => this.#busy.delete(name));
  }

  /**
   * The hand-over takes too long. Whether it has come about is what the map says; unless it has, the attempt is made void there
   * before the slots are served again, so that nobody can decide it afterwards.
   */
  async #unfreeze(replica: ReplicaPort, { move, attempt }: FrozenSlots): Promise<void> {
    const { clock } = this.#host;
    const map = await voidAttempt(this.#host, move, attempt);
    const known = movesOf(map).find(({ id }) => id === move);
    const { version: mapVersion } = map;
    const step =
      known?.phase === 'switched'
        ? ({ op: 'slots', action: 'release', move, mapVersion } as const)
        : ({ op: 'slots', action: 'unfreeze', move, attempt, mapVersion } as const);
    await takeStep(replica, clock, step);
  }

  /** A copy whose move is over: begun by a leader who did not know that yet. */
  async #discard(replica: ReplicaPort, move: string): Promise<void> {
    const { clock, updateMap } = this.#host;
    const map = await updateMap(() => undefined);
    if (movesOf(map).some(({ id }) => id === move)) return;
    await takeStep(replica, clock, { op: 'slots', action: 'discard', move });
  }
}

/**
 * The map that an edit has shown counts from then on. The member itself may hear of it late, or never: its own replica of the meta group may
 * have failed while it leads other shards.
 */
function withNewestMap(host: SlotMoverHost): SlotMoverHost {
  let shown: ShardMap | undefined;
  return {
    ...host,
    map: () => {
      const known = host.map();
      if (known === undefined || shown === undefined) return known;
      return shown.version > known.version ? shown : known;
    },
    updateMap: async (change) => {
      const map = await host.updateMap(change);
      if (shown === undefined || map.version > shown.version) shown = map;
      return map;
    },
  };
}
