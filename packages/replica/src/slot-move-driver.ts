import { KvError, type Limits, type ShardId } from '@kvorum/base';
import { partsOfPiece, type SlotCommand, type SlotExport, type SlotImport } from '@kvorum/mvcc';
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
import { type Gate, handOverMs, isInTime, restMs } from './hand-over-budget.ts';
import { countOf, parseSlotExport, type SlotRequest } from './slot-requests.ts';
import { dropPiece, hasDrops, takeStep } from './slot-source.ts';

/** What a piece that is dropped counts for. */
const DROP_BYTES = 256 * 1024;
/** Of a record, what the rows of a piece may take: beside them it holds which slots the shard has. */
const RECORD_SHARE = 0.5;
/** A copy that has caught up waits for so long for a moment at which the hand-over is likely to be quick enough. */
const PATIENCE_MS = 3000;
const LOOK_MS = 20;

/** What a move tells of its hand-overs. */
export type HandOverEvent =
  /** For so long nobody served the slots, as their driver saw it. */
  | { readonly kind: 'done'; readonly tookMs: number }
  /** It took too long, or was not begun since it would have: the old shard serves on, another attempt follows. */
  | { readonly kind: 'void' }
  /** The move is over. */
  | { readonly kind: 'moved' | 'aborted' };

export interface SlotMoveHost {
  readonly clock: Clock;
  readonly limits: Pick<
    Limits,
    'slotMoveBytesPerSecond' | 'slotHandOverMsAim' | 'slotHandOverMsMax' | 'recordBytesMax'
  >;
  /** Hears what this member has a part in. */
  readonly told: (event: HandOverEvent) => void;
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

/** What the moves of a member have in common. */
export interface SharedByMoves {
  readonly throttle: Throttle;
  /** One hand-over at a time. */
  readonly gate: Gate;
}

export function pause(clock: Clock, delayMs: number): Promise<void> {
  if (delayMs < 1) return Promise.resolve();
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}

/** Has the map say that an attempt is void, unless it has come about or is void already; resolves with what the map says then. */
export async function voidAttempt(
  { updateMap, told }: Pick<SlotMoveHost, 'updateMap' | 'told'>,
  move: string,
  attempt: number,
): Promise<ShardMap> {
  let isVoid = false;
  const map = await updateMap((current) => {
    const next = retryMove(current, move, attempt);
    isVoid = next !== undefined;
    return next;
  });
  if (isVoid) told({ kind: 'void' });
  return map;
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
  readonly #gate: Gate;
  readonly #id: string;
  #rows = 0;
  #bytes = 0;
  #next = 0;
  #sourceRevision = 0;
  /** Compact revision of the source at the last piece. */
  #floor = -1;
  /** How long the freeze took in the last attempt that was too slow; half as long with each attempt that was not begun since. */
  #slowMs = 0;
  /** Then a copy that has caught up has waited long enough: attempts are put off at once until one has the time that it takes. */
  #patientUntilMs = Number.POSITIVE_INFINITY;
  /** Before then no slots are frozen again. */
  #restUntilMs = 0;

  constructor(host: SlotMoveHost, { throttle, gate }: SharedByMoves, id: string) {
    this.#host = host;
    this.#throttle = throttle;
    this.#gate = gate;
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
      else await this.#undo(map, move);
      // What ended the pass may stand in a newer map than the one that this member knows: going round at once would only find the same.
      if (this.#host.map()?.version === map.version) await pause(this.#host.clock, LOOK_MS);
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
    const { clock } = this.#host;
    const { id, attempt, slots } = move;
    const owned = slotSpansOf(map, move.to);
    const begin = { op: 'slots', action: 'import-begin', move: id } as const;
    await this.#step(move, { ...begin, attempt, slots, owned });
    const { state } = this.#import(move) ?? {};
    // All is here already, and the source waits: an earlier driver came so far.
    if (state === 'sealed') return this.#switch(move);
    await pause(clock, this.#restUntilMs - clock.nowMs());
    const { floor, next: from } = this.#placeOf(move);
    this.#floor = floor;
    const next = await this.#follow(move, from, () => true);
    if (next === undefined) return;
    const switched = await this.#gate.pass(() => this.#handOverInTime(move, next));
    if (switched !== undefined) await this.#complete(switched.version, switched.move);
  }

  /**
   * Copies piece after piece until everything is here and the last round was quick enough. Undefined: the move is not to be handed
   * over any more, or the copy begins anew.
   */
  async #follow(
    move: SlotMove,
    from: number,
    isQuick: (roundMs: number) => boolean,
  ): Promise<number | undefined> {
    const { clock } = this.#host;
    for (let next = from; ; ) {
      const startMs = clock.nowMs();
      const piece = await this.#pull(move, next);
      if (piece === undefined) {
        await this.#discard(move);
        return undefined;
      }
      next = piece.next;
      const roundMs = clock.nowMs() - startMs;
      await this.#throttle.take(bytesOf(piece.rows));
      const isHere = next > piece.revision;
      if (isHere && isQuick(roundMs)) return next;
      if (!this.#isCopying(move)) return undefined;
      if (isHere) await pause(clock, Math.max(LOOK_MS, roundMs));
    }
  }

  #isCopying({ attempt }: SlotMove): boolean {
    const map = this.#host.map();
    const known = map === undefined ? undefined : this.#moveIn(map);
    return known?.phase === 'copying' && known.attempt <= attempt;
  }

  /**
   * Follows the source until the hand-over is likely to be in time. When it is not for too long this attempt is given up before anything
   * is frozen, and a later one has more time; at the limit it is tried all the same.
   */
  async #handOverInTime(move: SlotMove, from: number): Promise<Switched | undefined> {
    const { clock, limits } = this.#host;
    const budgetMs = handOverMs(limits, move.attempt);
    let inTime = false;
    const next = await this.#follow(move, from, (roundMs) => {
      this.#patientUntilMs = Math.min(this.#patientUntilMs, clock.nowMs() + PATIENCE_MS);
      inTime = isInTime(budgetMs, Math.max(roundMs, this.#slowMs));
      return inTime || clock.nowMs() >= this.#patientUntilMs;
    });
    if (next === undefined) return undefined;
    if (inTime || budgetMs >= limits.slotHandOverMsMax) return this.#handOver(move, next, budgetMs);
    this.#slowMs /= 2;
    return this.#voidAttempt(move);
  }

  #placeOf(move: SlotMove): SlotImport {
    const found = this.#import(move);
    if (found !== undefined) return found;
    throw new KvError('KV_INVALID_ARGUMENT', `move ${move.id} is not known to shard ${move.to}`);
  }

  /**
   * Copies one piece from revision `from` on; a piece without rows is not worth a record. Undefined: the source was compacted beyond
   * it meanwhile. Deletions of keys that are copied may be gone there, so the copy has to begin anew.
   *
   * @param seal - of a source that is frozen: with the piece that holds its last change the import is sealed, in the same record.
   */
  async #pull(move: SlotMove, from: number, seal?: Seal): Promise<SlotExport | undefined> {
    const { from: shard, slots } = move;
    const piece = parseSlotExport(await this.#host.ask({ kind: 'export', shard, slots, from }));
    const { compactRevision } = piece;
    if (from > 0 && compactRevision > from && compactRevision > this.#floor) return undefined;
    this.#floor = compactRevision;
    const isLast = seal !== undefined && piece.next > seal.sealed;
    if (piece.rows.length > 0 || isLast) await this.#write(move, piece, isLast ? seal : undefined);
    this.#rows += piece.rows.length;
    this.#bytes += bytesOf(piece.rows);
    this.#next = piece.next;
    this.#sourceRevision = piece.revision;
    return piece;
  }

  async #write(move: SlotMove, piece: SlotExport, seal: Seal | undefined): Promise<void> {
    const { limits } = this.#host;
    const rowsOf = { op: 'slots', action: 'import-rows', move: move.id } as const;
    const { compactRevision: floor, leaseTerm } = piece;
    const bytesMax = limits.recordBytesMax * RECORD_SHARE;
    const parts = partsOfPiece(piece, bytesMax, this.#placeOf(move));
    for (const [i, part] of parts.entries()) {
      const { next: from } = this.#placeOf(move);
      const isLast = seal !== undefined && i === parts.length - 1;
      const end = isLast ? { seal } : {};
      await this.#step(move, { ...rowsOf, from, floor, leaseTerm, ...part, ...end });
    }
  }

  async #handOver(
    move: SlotMove,
    copiedTo: number,
    budgetMs: number,
  ): Promise<Switched | undefined> {
    const { clock, updateMap, ask } = this.#host;
    const { id, attempt, from: shard, slots } = move;
    // A meta group that does not answer now would not decide in time either.
    const map = await updateMap(() => undefined);
    const known = this.#moveIn(map);
    if (known?.phase !== 'copying' || known.attempt !== attempt) return undefined;
    this.#patientUntilMs = Number.POSITIVE_INFINITY;
    const frozenMs = clock.nowMs();
    const untilMs = frozenMs + budgetMs;
    const owned = slotSpansOf(map, shard);
    const freeze = { kind: 'freeze', shard, move: id, attempt } as const;
    const frozen = await ask({ ...freeze, mapVersion: map.version, slots, owned });
    const freezeMs = clock.nowMs() - frozenMs;
    const late = (): Promise<undefined> => {
      this.#slowMs = freezeMs;
      this.#restUntilMs = clock.nowMs() + restMs(budgetMs);
      return this.#voidAttempt(move);
    };
    const sealed = countOf(frozen, 'revision');
    let next = copiedTo;
    do {
      if (clock.nowMs() > untilMs) return late();
      const piece = await this.#pull(move, next, { attempt, sealed });
      if (piece === undefined) return late();
      next = piece.next;
    } while (next <= sealed);
    if (clock.nowMs() > untilMs) return late();
    const switched = await this.#decide(move);
    return switched === undefined ? undefined : this.#adopt(switched, frozenMs);
  }

  async #switch(move: SlotMove): Promise<void> {
    const switched = await this.#decide(move);
    if (switched !== undefined) await this.#complete(switched.version, switched.move);
  }

  /** The decision: from here on the slots are the target's, unless the source was given them back before. */
  async #decide({ id, attempt }: SlotMove): Promise<Switched | undefined> {
    const map = await this.#host.updateMap((current) => switchMove(current, id, attempt));
    const move = this.#moveIn(map);
    return move?.phase === 'switched' ? { version: map.version, move } : undefined;
  }

  async #adopt(switched: Switched, frozenMs: number): Promise<Switched> {
    const { clock, told } = this.#host;
    const { move, version: mapVersion } = switched;
    await this.#step(move, { op: 'slots', action: 'adopt', move: move.id, mapVersion });
    told({ kind: 'done', tookMs: clock.nowMs() - frozenMs });
    return switched;
  }

  /** Another attempt is to follow: first the map says that this one is void, then the source serves its slots again. */
  async #voidAttempt(move: SlotMove): Promise<undefined> {
    const { ask } = this.#host;
    const { id, attempt, from: shard } = move;
    const map = await voidAttempt(this.#host, id, attempt);
    const known = this.#moveIn(map);
    if (known === undefined || known.phase === 'switched') return;
    const { version: mapVersion } = map;
    await ask({ kind: 'unfreeze', shard, move: id, attempt: known.attempt - 1, mapVersion });
    await this.#untilKnown(mapVersion);
  }

  async #complete(mapVersion: number, move: SlotMove): Promise<void> {
    const { ask } = this.#host;
    const { id, from: shard } = move;
    if (this.#import(move)?.state !== 'adopted') {
      await this.#step(move, { op: 'slots', action: 'adopt', move: id, mapVersion });
    }
    await ask({ kind: 'release', shard, move: id, mapVersion });
    while (countOf(await ask({ kind: 'drop', shard, move: id }), 'left') > 0) {
      await this.#throttle.take(DROP_BYTES);
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
      await this.#throttle.take(DROP_BYTES);
    }
  }

  async #undo(map: ShardMap, move: SlotMove): Promise<void> {
    const { ask } = this.#host;
    const { id, attempt, from: shard } = move;
    await this.#discard(move);
    const { version: mapVersion } = map;
    const owned = slotSpansOf(map, shard);
    await ask({ kind: 'unfreeze', shard, move: id, attempt, mapVersion, owned });
    await this.#finish(move);
  }

  /** Returns when this member knows, so that it does not drive the move again. */
  async #finish({ id, phase }: SlotMove): Promise<void> {
    const { updateMap, told } = this.#host;
    let isFinished = false;
    const { version } = await updateMap((current) => {
      const next = finishMove(current, id);
      isFinished = next !== undefined;
      return next;
    });
    if (isFinished) told({ kind: phase === 'aborting' ? 'aborted' : 'moved' });
    await this.#untilKnown(version);
  }

  /** Returns when this member has read the map of that version, or does not for too long. */
  async #untilKnown(version: number): Promise<void> {
    const { clock, map } = this.#host;
    for (let i = 0; i < 100 && (map()?.version ?? version) < version; i += 1)
      await pause(clock, 20);
  }
}

interface Switched {
  /** Of the map that says so. */
  readonly version: number;
  readonly move: SlotMove;
}

interface Seal {
  readonly attempt: number;
  /** Last revision of the source that can have changed the slots. */
  readonly sealed: number;
}

function bytesOf(rows: readonly Uint8Array[]): number {
  return rows.reduce((sum, row) => sum + row.length, 0);
}
