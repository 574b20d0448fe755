import { KvError, type Limits, type ShardId } from '@kvorum/base';
import type { SlotCommand, SlotExport, SlotImport } from '@kvorum/mvcc';
import type { Clock } from '@kvorum/ports';
import {
  finishMove,
  movesOf,
  retryMove,
  type ShardMap,
  type SlotMove,
  slotSpansOf,
  switchMove,
} from '@kvorum/shard';
import type { ReplicaPort } from './api.ts';
import { countOf, parseSlotExport, type SlotRequest } from './slot-requests.ts';
import { dropPiece, hasDrops, takeStep } from './slot-source.ts';

/** The slots are frozen once no more than this is left to copy. */
const TAIL_BYTES_MAX = 256 * 1024;
/** After a hand-over that took too long. */
const RETRY_MS = 2000;

export interface SlotMoveHost {
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'slotMoveBytesPerSecond' | 'slotHandOverMsMax'>;
  /** The newest map this member knows. */
  readonly map: () => ShardMap | undefined;
  /**
   * Changes the map by compare-and-set; resolves with the map as the edit left it, or as a linearizable reading found it when there
   * was nothing to change.
   */
  readonly updateMap: (change: (map: ShardMap) => ShardMap | undefined) => Promise<ShardMap>;
  /** This member's replica of a shard, while it leads. */
  readonly leading: (shard: ShardId) => ReplicaPort | undefined;
  /** Asks the leader of a shard, wherever it is. */
  readonly ask: (request: SlotRequest) => Promise<unknown>;
}

/** What a move has done so far, as far as the member that drives it knows. */
export interface SlotMoveProgress {
  readonly copiedRows: number;
  readonly copiedBytes: number;
  /** Revision of the source that the copy has come to, and the source's own. */
  readonly next: number;
  readonly sourceRevision: number;
}

/** Lets at most so many bytes a second through, over all moves of a member. */
export class Throttle {
  readonly #host: Pick<SlotMoveHost, 'clock' | 'limits'>;
  #freeAtMs = 0;

  constructor(host: Pick<SlotMoveHost, 'clock' | 'limits'>) {
    this.#host = host;
  }

  async take(bytes: number): Promise<void> {
    const { clock, limits } = this.#host;
    const nowMs = clock.nowMs();
    this.#freeAtMs =
      Math.max(nowMs, this.#freeAtMs) + (bytes * 1000) / limits.slotMoveBytesPerSecond;
    await pause(clock, this.#freeAtMs - nowMs);
  }
}

export function pause(clock: Clock, delayMs: number): Promise<void> {
  if (delayMs < 1) return Promise.resolve();
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}

/**
 * Drives one move from where it stands to its end, on the leader of the shard that takes the slots. All that must not be forgotten
 * stands in the map and in the replicated states of the two shards: after a crash or a change of leader another driver goes on.
 *
 * Order of a hand-over: freeze in the source's log; the last changes into the target's log; seal there; the map switches, if no
 * later attempt has begun (the decision); adoption in the target's log; release and drop in the source's.
 */
export class SlotMoveDriver {
  readonly #host: SlotMoveHost;
  readonly #throttle: Throttle;
  readonly #id: string;
  #rows = 0;
  #bytes = 0;
  #next = 0;
  #sourceRevision = 0;
  /** Compact revision of the source at the last piece. */
  #floor = -1;

  constructor(host: SlotMoveHost, throttle: Throttle, id: string) {
    this.#host = host;
    this.#throttle = throttle;
    this.#id = id;
  }

  progress(): SlotMoveProgress {
    return {
      copiedRows: this.#rows,
      copiedBytes: this.#bytes,
      next: this.#next,
      sourceRevision: this.#sourceRevision,
    };
  }

  /** Resolves when the move is over or not this member's to drive. Errors: any; then somebody begins again. */
  async run(): Promise<void> {
    for (;;) {
      const map = this.#host.map();
      const move = map === undefined ? undefined : this.#moveIn(map);
      if (map === undefined || move === undefined) return;
      if (this.#host.leading(move.to) === undefined) return;
      if (move.phase === 'copying') await this.#copy(map, move);
      else if (move.phase === 'switched') await this.#complete(map.version, move);
      else await this.#undo(move);
    }
  }

  #moveIn(map: ShardMap): SlotMove | undefined {
    return movesOf(map).find(({ id }) => id === this.#id);
  }

  #target(move: SlotMove): ReplicaPort {
    const replica = this.#host.leading(move.to);
    if (replica !== undefined) return replica;
    throw new KvError('KV_NOT_LEADER', undefined, { details: { shard: move.to } });
  }

  #step(move: SlotMove, command: SlotCommand): Promise<number> {
    return takeStep(this.#target(move), this.#host.clock, command);
  }

  #import(move: SlotMove): SlotImport | undefined {
    const { ownership } = this.#target(move).slotStatus();
    return ownership?.imports.find((one) => one.move === move.id);
  }

  async #copy(map: ShardMap, move: SlotMove): Promise<void> {
    const { id, attempt, slots } = move;
    const owned = slotSpansOf(map, move.to);
    const begin = { op: 'slots', action: 'import-begin', move: id } as const;
    await this.#step(move, { ...begin, attempt, slots, owned });
    const { state } = this.#import(move) ?? {};
    // All is here already, and the source waits: an earlier driver came so far.
    if (state === 'sealed') return this.#switch(move);
    let next = this.#importedTo(move);
    this.#floor = this.#import(move)?.floor ?? -1;
    for (;;) {
      const piece = await this.#pull(move, next);
      if (piece === undefined) return this.#discard(move);
      next = piece.next;
      const bytes = bytesOf(piece.rows);
      await this.#throttle.take(bytes);
      if (next > piece.revision && bytes <= TAIL_BYTES_MAX) break;
      const current = this.#host.map();
      const known = current === undefined ? undefined : this.#moveIn(current);
      if (known?.phase !== 'copying') return;
    }
    await this.#handOver(move, next);
  }

  #importedTo(move: SlotMove): number {
    const found = this.#import(move);
    if (found !== undefined) return found.next;
    throw new KvError('KV_INVALID_ARGUMENT', `move ${move.id} is not known to shard ${move.to}`);
  }

  /**
   * Copies one piece from revision `from` on; a piece without rows is not worth a record. Undefined: the source was compacted beyond
   * it meanwhile. Deletions of keys that are copied may be gone there, so the copy has to begin anew.
   */
  async #pull(move: SlotMove, from: number): Promise<SlotExport | undefined> {
    const { from: shard, slots } = move;
    const piece = parseSlotExport(await this.#host.ask({ kind: 'export', shard, slots, from }));
    const { compactRevision } = piece;
    if (from > 0 && compactRevision > from && compactRevision > this.#floor) return undefined;
    this.#floor = compactRevision;
    if (piece.rows.length > 0) await this.#write(move, piece);
    this.#rows += piece.rows.length;
    this.#bytes += bytesOf(piece.rows);
    this.#next = piece.next;
    this.#sourceRevision = piece.revision;
    return piece;
  }

  async #write(
    move: SlotMove,
    { rows, next: to, compactRevision: floor }: SlotExport,
  ): Promise<void> {
    const from = this.#importedTo(move);
    const rowsOf = { op: 'slots', action: 'import-rows', move: move.id } as const;
    await this.#step(move, { ...rowsOf, from, to, floor, rows });
  }

  async #handOver(move: SlotMove, copiedTo: number): Promise<void> {
    const { clock, limits, updateMap, ask } = this.#host;
    const { id, attempt, from: shard, slots } = move;
    // A meta group that does not answer now would not decide in time either.
    const map = await updateMap(() => undefined);
    const known = this.#moveIn(map);
    if (known?.phase !== 'copying' || known.attempt !== attempt) return;
    const untilMs = clock.nowMs() + limits.slotHandOverMsMax;
    const owned = slotSpansOf(map, shard);
    const mapVersion = map.version;
    const frozen = await ask({
      kind: 'freeze',
      shard,
      move: id,
      attempt,
      mapVersion,
      slots,
      owned,
    });
    const sealed = countOf(frozen, 'revision');
    let next = copiedTo;
    let piece: SlotExport | undefined;
    do {
      if (clock.nowMs() > untilMs) return this.#tryLater(move);
      piece = await this.#pull(move, next);
      if (piece === undefined) return this.#tryLater(move);
      next = piece.next;
    } while (next <= sealed);
    if (this.#importedTo(move) <= sealed) await this.#write(move, { ...piece, rows: [] });
    const floor = piece.compactRevision;
    await this.#step(move, {
      op: 'slots',
      action: 'import-seal',
      move: id,
      attempt,
      sealed,
      floor,
    });
    if (clock.nowMs() > untilMs) return this.#tryLater(move);
    await this.#switch(move);
  }

  /** The decision: from here on the slots are the target's, unless the source was given them back before. */
  async #switch(move: SlotMove): Promise<void> {
    const { id, attempt } = move;
    const switched = await this.#host.updateMap((map) => switchMove(map, id, attempt));
    const decided = this.#moveIn(switched);
    if (decided?.phase === 'switched') await this.#complete(switched.version, decided);
  }

  /** The source must serve its slots again: first the map says that this attempt is void. */
  async #tryLater(move: SlotMove): Promise<void> {
    const { clock, updateMap, ask } = this.#host;
    const { id, attempt, from: shard } = move;
    const map = await updateMap((current) => retryMove(current, id, attempt));
    const known = this.#moveIn(map);
    if (known === undefined || known.phase === 'switched') return;
    await ask({ kind: 'unfreeze', shard, move: id, attempt: known.attempt - 1 });
    await pause(clock, RETRY_MS);
  }

  async #complete(mapVersion: number, move: SlotMove): Promise<void> {
    const { ask } = this.#host;
    const { id, from: shard } = move;
    if (this.#import(move)?.state !== 'adopted') {
      await this.#step(move, { op: 'slots', action: 'adopt', move: id, mapVersion });
    }
    await ask({ kind: 'release', shard, move: id, mapVersion });
    while (countOf(await ask({ kind: 'drop', shard, move: id }), 'left') > 0) {
      await this.#throttle.take(TAIL_BYTES_MAX);
    }
    await this.#finish(move);
  }

  /** Gives up what is copied, to the last row. */
  async #discard(move: SlotMove): Promise<void> {
    const { clock } = this.#host;
    const { id } = move;
    if (this.#import(move) !== undefined) {
      await this.#step(move, { op: 'slots', action: 'discard', move: id });
    }
    while (hasDrops(this.#target(move), id)) {
      await dropPiece(this.#target(move), clock, id);
      await this.#throttle.take(TAIL_BYTES_MAX);
    }
  }

  async #undo(move: SlotMove): Promise<void> {
    const { ask } = this.#host;
    const { id, attempt, from: shard } = move;
    await this.#discard(move);
    await ask({ kind: 'unfreeze', shard, move: id, attempt });
    await this.#finish(move);
  }

  /** Waits until this member knows, so that it does not drive the move again. */
  async #finish({ id }: SlotMove): Promise<void> {
    const { clock, map, updateMap } = this.#host;
    const { version } = await updateMap((current) => finishMove(current, id));
    for (let i = 0; i < 100 && (map()?.version ?? version) < version; i += 1)
      await pause(clock, 20);
  }
}

function bytesOf(rows: readonly Uint8Array[]): number {
  return rows.reduce((sum, row) => sum + row.length, 0);
}
