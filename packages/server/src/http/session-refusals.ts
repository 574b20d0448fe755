import { KvError, type KvRequest } from '@kvorum/base';
import type { ReplicaPort } from '@kvorum/replica';
import type { RequestsFrame } from '@kvorum/wire';
import type { Host } from '../host.ts';
import { dataShardOf } from '../router/place.ts';
import { requestBytes, requestKeysIn } from '../router/request-facts.ts';

/** The longest time that a client can ask a member to try for. */
export const TIMEOUT_MS_MAX = 3_600_000;

/** What all items of one requests frame share. */
export interface FrameContext {
  readonly frame: RequestsFrame;
  readonly replica: ReplicaPort;
  readonly deadlineMs: number;
  /** Set when this member does not lead the shard: the answer to everything but a stale read. */
  readonly notLeader: KvError | undefined;
  /** Everybody may do everything. */
  readonly isOpen: boolean;
}

/** The error a key earns before it reaches the replica; the check is a hash and a table look-up. */
export function refuseKey(
  host: Host,
  { frame, notLeader: elsewhere }: FrameContext,
  key: Uint8Array,
  { bytes, isRepeated = false }: { readonly bytes: number; readonly isRepeated?: boolean },
): KvError | undefined {
  if (key.length === 0) return new KvError('KV_EMPTY_KEY');
  const tooLarge = refuseSize(host, bytes);
  if (tooLarge !== undefined) return tooLarge;
  // Whether a repeated write was applied knows the shard it was sent to, though its key may have left.
  if (!isRepeated && host.router.shardOf(key) !== frame.shard) return wrongShard(host, frame.shard);
  return elsewhere;
}

/** The same for any other request. */
export function refuseRequest(
  host: Host,
  { frame, notLeader: elsewhere }: FrameContext,
  request: KvRequest,
  isRepeated: boolean,
): KvError | undefined {
  const tooLarge = refuseSize(host, requestBytes(request));
  if (tooLarge !== undefined) return tooLarge;
  const { shard } = frame;
  const isHere = (key: Uint8Array): boolean => host.router.shardOf(key) === shard;
  if (!isRepeated && !requestKeysIn(request, isHere)) return wrongShard(host, shard);
  if (request.op === 'range' && request.serializable === true) return undefined;
  return elsewhere;
}

function refuseSize(host: Host, actual: number): KvError | undefined {
  const limit = host.limits.requestBytesMax;
  if (actual <= limit) return undefined;
  return new KvError('KV_REQUEST_TOO_LARGE', `${actual} bytes, at most ${limit}`, {
    details: { limit, actual },
  });
}

/** A shard that the map does not have, or one whose replicas are on other members. */
export function notHere(host: Host, shard: string): KvError {
  const isElsewhere = dataShardOf(host.map(), shard) !== undefined;
  return isElsewhere ? notLeader(host, shard) : wrongShard(host, shard);
}

function wrongShard(host: Host, shard: string): KvError {
  return new KvError('KV_WRONG_SHARD', undefined, {
    details: { shard, mapVersion: host.map().version },
  });
}

/** Of a shard that another member leads, or nobody. */
export function notLeader(host: Host, shard: string): KvError {
  const leader = host.leaders()[shard];
  const halt = leader === undefined ? host.shardHalt(shard) : undefined;
  if (halt !== undefined) return halt;
  return new KvError(leader === undefined ? 'KV_NO_LEADER' : 'KV_NOT_LEADER', undefined, {
    details: {
      shard,
      mapVersion: host.map().version,
      ...(leader === undefined ? {} : { leader }),
    },
  });
}
