import { isKvError, KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import {
  type HandOverEvent,
  type ReplicaOptions,
  SlotMover,
  type SlotRequest,
} from '@kvorum/replica';
import { type ShardMap, SLOT_COUNT, slotOf, slotOfRange } from '@kvorum/shard';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { accepted, encodeSlotRequest } from '../router/forward.ts';
import { votersOf } from '../router/place.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import type { ReplicaSet } from './replica-set.ts';

const ASK_MS = 6000;

export interface SlotMovesParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly limits: KvdConfig['limits'];
  readonly logger: Logger;
  readonly replicas: ReplicaSet;
  readonly peers: Pick<PeerTransport, 'request'>;
  readonly map: () => ShardMap | undefined;
  /** Who leads a shard, on this member or another, as far as this one knows. */
  readonly leaderOf: (shard: ShardId) => MemberId | undefined;
  readonly mapEditor: MapEditor;
  readonly told: (event: HandOverEvent) => void;
}

/** How keys lie in slots under a map's rules, which never change. */
export function slotSpaceOf(
  rules: ShardMap['rules'],
  startsEmpty: boolean,
): NonNullable<ReplicaOptions['slots']> {
  return {
    count: SLOT_COUNT,
    ofKey: (key) => slotOf(key, rules),
    ofRange: (key, rangeEnd) => slotOfRange(key, rangeEnd, rules),
    startsEmpty,
  };
}

/** The mover of a member, which asks the other members over the peer transport. */
export function createSlotMover(parts: SlotMovesParts): SlotMover {
  const { replicas, map, mapEditor, clock, limits, logger, told } = parts;
  const leading = (shard: ShardId): ReturnType<ReplicaSet['get']> =>
    replicas.leads(shard) ? replicas.get(shard) : undefined;
  const mover: SlotMover = new SlotMover({
    clock,
    limits,
    logger,
    told,
    map,
    updateMap: (change) => mapEditor.update(change),
    leading,
    ask: (request) => askLeader(parts, mover, request),
  });
  return mover;
}

/** Members that may lead a shard, the likeliest first. */
function candidates({ leaderOf, map }: SlotMovesParts, shard: ShardId): readonly MemberId[] {
  const known = leaderOf(shard);
  const current = map();
  const voters = current === undefined ? [] : votersOf(current, shard).map(memberIdOf);
  return [...new Set(known === undefined ? voters : [known, ...voters])];
}

async function askLeader(
  parts: SlotMovesParts,
  mover: SlotMover,
  request: SlotRequest,
): Promise<unknown> {
  let last = new KvError('KV_NO_LEADER', undefined, { details: { shard: request.shard } });
  for (const member of candidates(parts, request.shard)) {
    try {
      return await askMember(parts, mover, member, request);
    } catch (error) {
      if (!isKvError(error)) throw error;
      last = error;
      const elsewhere = error.code === 'KV_NOT_LEADER' || error.code === 'KV_UNAVAILABLE';
      if (!elsewhere) throw error;
    }
  }
  throw last;
}

async function askMember(
  parts: SlotMovesParts,
  mover: SlotMover,
  member: MemberId,
  request: SlotRequest,
): Promise<unknown> {
  if (member === parts.self) return mover.serve(request);
  const signal = AbortSignal.timeout(ASK_MS);
  let answer: unknown;
  try {
    answer = await parts.peers.request(member, encodeSlotRequest(request), { signal });
  } catch (error) {
    // Whatever became of it: steps may be repeated.
    const text = error instanceof Error ? error.message : String(error);
    throw new KvError('KV_UNAVAILABLE', text, { cause: error });
  }
  return accepted(answer);
}
