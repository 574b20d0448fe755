import { KvError, type KvRequest, type ShardId } from '@kvorum/base';
import {
  type MemberEntry,
  nameOfPlace,
  ownersOfSlots,
  parseShardMap,
  piecesOfRange,
  placesOfWatch,
  routeRequest,
  type ShardMap,
  type ShardSlots,
  type SlotSpan,
  shardOfKey,
  shardsOfRange,
  shardsWithSlots,
  slotOf,
  type WatchPlace,
} from '@kvorum/shard';
import { MalformedAnswer } from './answer.ts';
import type { Span } from './key-range.ts';

/** The shard map this client holds, as answers to "which shard?". */
export class ShardRouter {
  readonly version: number;
  /** Shards that hold keys. */
  readonly shards: readonly ShardId[];
  readonly members: readonly MemberEntry[];
  readonly #map: ShardMap;

  constructor(map: ShardMap) {
    this.#map = map;
    this.version = map.version;
    this.shards = shardsWithSlots(map);
    this.members = map.members;
  }

  /** Throws MalformedAnswer when a member sent something else than a shard map. */
  static parse(map: unknown): ShardRouter {
    const parsed = parseShardMap(map);
    if (!parsed.ok) throw new MalformedAnswer(parsed.error);
    return new ShardRouter(parsed.value);
  }

  /** Errors: KV_NOT_FOUND unless the shard holds keys. */
  mustHave(shard: string): void {
    if (this.shards.some((known) => known === shard)) return;
    throw new KvError('KV_NOT_FOUND', `no shard ${shard} (shards: ${this.shards.join(', ')})`, {
      details: { shard },
    });
  }

  shardOf(key: Uint8Array): ShardId {
    return shardOfKey(this.#map, key);
  }

  /** How the slot of a key is called where a watch is to begin, see `resumeAt`. */
  placeOf(key: Uint8Array): string {
    const slot = slotOf(key, this.#map.rules);
    return nameOfPlace({ shard: this.shardOf(key), slots: [[slot, slot]] });
  }

  shardsOf(span: Span): readonly ShardId[] {
    return shardsOfRange(this.#map, span.key, span.rangeEnd);
  }

  /** The shards that hold a part of a span, each with the slots that it has of it. */
  piecesOf(span: Span): readonly ShardSlots[] {
    return piecesOfRange(this.#map, span.key, span.rangeEnd);
  }

  /** The shards that have these slots now, each with its part of them. */
  ownersOf(slots: readonly SlotSpan[]): readonly ShardSlots[] {
    return ownersOfSlots(this.#map, slots);
  }

  /** Where the parts of a watch begin. Errors: KV_INVALID_ARGUMENT; see `placesOfWatch`. */
  placesOf(
    span: Span,
    positions: ReadonlyMap<string, number>,
    otherwise: number | undefined,
  ): readonly WatchPlace[] {
    return placesOfWatch(this.#map, this.piecesOf(span), positions, otherwise);
  }

  /** Whether slots have ever moved: members of the version before do not know watches of some slots only. */
  get hasSlotWatches(): boolean {
    return this.#map.shardsMade !== undefined;
  }

  /** The one shard of a request, or why there is none (KV_CROSS_SHARD). */
  route(request: KvRequest): ShardId | KvError {
    const route = routeRequest(this.#map, request);
    if (route.kind === 'shard') return route.shard;
    // What fans out was split by its caller; here it can only be a map that changed meanwhile, and
    // any shard says so.
    return route.kind === 'refused' ? route.error : this.shardOf(keyOf(request));
  }

  /** Why a transaction cannot have all of these keys: KV_CROSS_SHARD, with a tag that would bring them together. */
  refusalOfTxn(keys: readonly Uint8Array[]): KvError | undefined {
    const success = keys.map((key) => ({ op: 'range', key }) as const);
    const routed = this.route({ op: 'txn', compare: [], success, failure: [] });
    return typeof routed === 'string' ? undefined : routed;
  }
}

function keyOf(request: KvRequest): Uint8Array {
  return 'key' in request ? request.key : new Uint8Array(0);
}
