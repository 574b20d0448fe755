import { KvError, type MemberId, toHex } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import type { SlotMoveProgress } from '@kvorum/replica';
import {
  abortMove,
  beginMoves,
  type MovePlan,
  movesOf,
  planMerge,
  planRebalance,
  planScale,
  planSplit,
  type ShardMap,
  type SlotFigures,
  type SlotWeight,
  shardsWithSlots,
  slotWeights,
} from '@kvorum/shard';
import { type MoveInfo, parseMoves, type ReshardParams } from '@kvorum/wire';
import type { Logger } from '../logger.ts';
import { encodeMovesQuestion } from '../router/forward.ts';
import { askMembers } from './ask-members.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import { systemClock, systemRng } from './system.ts';

const SCALE_RETRY_MS = 5000;
const ASK_MS = 1000;

const newUid = (): string => toHex(systemRng.bytes(16));

function planOf(map: ShardMap, params: ReshardParams, weight: SlotWeight | undefined): MovePlan {
  const { shard = '', to = '' } = params;
  switch (params.action) {
    case 'scale':
      return planScale(map, params.shards ?? 0, newUid);
    case 'split':
      return planSplit(map, shard, newUid, weight);
    case 'merge':
      return planMerge(map, shard, to);
    case 'rebalance':
    case 'abort':
      return planRebalance(map, weight);
  }
}

interface ReshardParts {
  readonly shardsMax: number;
  /** Load and size by slot, which tell what to move. */
  readonly figures: () => Promise<readonly SlotFigures[]>;
}

/** Every move under an id of its own. */
function begun(map: ShardMap, plan: MovePlan): ShardMap {
  return beginMoves(
    map,
    plan,
    plan.moves.map(() => toHex(systemRng.bytes(8))),
  );
}

function abortAll(map: ShardMap): ShardMap | undefined {
  let changed: ShardMap | undefined;
  for (const { id } of movesOf(map)) changed = abortMove(changed ?? map, id) ?? changed;
  return changed;
}

/**
 * Begins what a reshard asks for, by one edit of the map; the members carry it out. Resolves with the moves under way.
 *
 * Errors: KV_INVALID_ARGUMENT while slots move already, or for a plan that cannot be; KV_NOT_FOUND; those of the edit.
 */
export async function reshard(
  editor: MapEditor,
  params: ReshardParams,
  { shardsMax, figures }: ReshardParts,
): Promise<readonly MoveInfo[]> {
  if (params.action === 'scale' && (params.shards ?? 0) > shardsMax) {
    throw new KvError('KV_INVALID_ARGUMENT', `${params.shards} shards, at most ${shardsMax}`, {
      details: { limit: shardsMax, hint: 'raise limits.shardsMax' },
    });
  }
  const isWeighed = params.action === 'split' || params.action === 'rebalance';
  const weight = isWeighed ? slotWeights(await figures()) : undefined;
  const map = await editor.update((current) => {
    if (params.action === 'abort') return abortAll(current);
    const plan = planOf(current, params, weight);
    if (plan.moves.length === 0) return undefined;
    return begun(current, plan);
  });
  return moveInfos(map, new Map());
}

/** The moves of a map with what is known of their progress. */
export function moveInfos(
  map: ShardMap,
  progress: ReadonlyMap<string, SlotMoveProgress>,
): readonly MoveInfo[] {
  return movesOf(map).map(({ id, from, to, slots, phase, attempt }) => {
    const known = progress.get(id);
    return {
      id,
      from,
      to,
      slots: slots.reduce((sum, [first, last]) => sum + last - first + 1, 0),
      phase,
      attempt,
      ...(known === undefined ? {} : known),
    };
  });
}

/** The moves with what the members say that drive them; those that nobody tells of stay as they are. */
export async function withProgress(
  moves: readonly MoveInfo[],
  peers: Pick<PeerTransport, 'request'>,
  members: readonly MemberId[],
): Promise<readonly MoveInfo[]> {
  const question = { members, payload: encodeMovesQuestion(), timeoutMs: ASK_MS };
  const answers = await askMembers(peers, question);
  const told = [...answers.values()].flatMap((answer) => {
    const parsed = parseMoves(answer);
    return parsed.ok ? parsed.value : [];
  });
  return moves.map((move) => {
    const driven = told.find(({ id, copiedRows }) => id === move.id && copiedRows !== undefined);
    return move.copiedRows === undefined && driven !== undefined ? driven : move;
  });
}

/**
 * The number of shards of a member's configuration counts when it is another one than at the member's last start: so a change there
 * is carried out once, whichever member is restarted first, and a number that was set at run time stays.
 */
async function scaleByConfig(
  editor: MapEditor,
  self: MemberId,
  shards: number,
): Promise<{ readonly before: number; readonly begun: number } | undefined> {
  let found: { before: number; begun: number } | undefined;
  await editor.update((map) => {
    const entry = map.members.find(({ id }) => memberIdOf(id) === self);
    if (entry === undefined || entry.shards === shards) return undefined;
    const before = entry.shards ?? shardsWithSlots(map).length;
    const members = map.members.map((one) => (one === entry ? { ...one, shards } : one));
    const noted = { ...map, members };
    found = undefined;
    if (before === shards) return noted;
    const plan = planScale(map, shards, newUid);
    // Another member's restart has begun it, or an operator.
    if (plan.moves.length === 0 || movesOf(map).length > 0) return noted;
    found = { before, begun: plan.moves.length };
    return begun(noted, plan);
  });
  return found;
}

export interface ScalingParts {
  readonly editor: MapEditor;
  readonly self: MemberId;
  /** As configured. */
  readonly shards: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** {@link scaleByConfig} in the background, until it came about: the meta group may have no leader yet. */
export function startScaling({ editor, self, shards, logger, signal }: ScalingParts): void {
  const look = (): void => {
    scaleByConfig(editor, self, shards).then(
      (begun) => {
        if (begun !== undefined) logger.info({ shards, ...begun }, 'scaling by configuration');
      },
      (error: unknown) => {
        if (signal.aborted) return;
        logger.warn({ err: error }, 'the number of shards was not looked at; trying again');
        systemClock.setTimer(SCALE_RETRY_MS, () => {
          if (!signal.aborted) look();
        });
      },
    );
  };
  look();
}

/** Ids of the members of a map, but one. */
export function otherMembers(map: ShardMap, self: MemberId): readonly MemberId[] {
  return map.members.map(({ id }) => memberIdOf(id)).filter((id) => id !== self);
}
