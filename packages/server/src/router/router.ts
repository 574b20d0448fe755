import {
  type CompactRequest,
  isKvError,
  KvError,
  type KvRequest,
  type KvResponse,
  type Limits,
  META_SHARD,
  type MemberId,
  type Origin,
  type SessionTag,
  type ShardId,
  type WriteRequest,
} from '@kvorum/base';
import { isSerializable } from '@kvorum/mvcc';
import type { Clock, PeerTransport } from '@kvorum/ports';
import type { CommandResult, ReplicaPort } from '@kvorum/replica';
import { crossShardRange, type ShardMap } from '@kvorum/shard';
import { pause } from '../member/system.ts';
import { encodeForward, type ForwardedRequest, parseForwardAnswer } from './forward.ts';
import {
  askLeader,
  checkWorthRetrying,
  FIRST_DELAY_MS,
  GRACE_MS,
  nextDelayMs,
  timedOut,
} from './leader-calls.ts';
import { mergeRanges } from './merge.ts';
import { dataShardOf, placeRequest, shardOf } from './place.ts';
import { isReadOnly, requestBytes } from './request-facts.ts';

export interface RouterParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  readonly map: () => ShardMap;
  readonly replica: (shard: string) => ReplicaPort | undefined;
  /** Who leads the shard as far as this member knows. */
  readonly leaderOf: (shard: string) => MemberId | undefined;
  /** Whether this member's own replica stands still. */
  readonly isHalted: (shard: string) => boolean;
  /** Whether this member's own replica installs a snapshot, and so serves nothing. */
  readonly isInstalling: (shard: string) => boolean;
  /** Why the shard as a whole stands still; undefined while it has, or may get, a leader. */
  readonly shardHalt: (shard: ShardId) => KvError | undefined;
  /** Version of the state of authorization by which requests are let through; undefined while that is not enabled. */
  readonly authVersion: () => number | undefined;
}

export interface RouteOptions {
  /** On the member's monotonic clock. */
  readonly deadlineMs: number;
  readonly session?: SessionTag;
  /** Who asks, for the record's metadata. */
  readonly origin?: Origin | undefined;
  /** Of the map by which the request was placed; absent = the newest. */
  readonly mapVersion?: number;
  /** Names the data shard instead of the keys: for a compaction. */
  readonly shard?: string;
  /** By which it was let through; absent = the newest. */
  readonly authVersion?: number | undefined;
}

/** An answer with the revision of every shard that took part. */
export interface RoutedResponse {
  readonly response: KvResponse;
  readonly shards: Readonly<Record<string, number>>;
}

/**
 * Brings a request to the replica that can answer it: the local one where it leads (or for reads, which every replica that is not
 * halted can confirm), else the leader's member. Never repeats a write whose outcome is unknown.
 */
export class Router {
  readonly #parts: RouterParts;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  shardOf(key: Uint8Array): ShardId {
    return shardOf(this.#parts.map(), key);
  }

  /** Errors: those of the request; KV_CROSS_SHARD, KV_DEADLINE, KV_TIMEOUT, KV_UNAVAILABLE. */
  async execute(request: KvRequest, options: RouteOptions): Promise<RoutedResponse> {
    this.#checkSize(request);
    // It was allowed just now, in this very turn; a later change of that must not go unnoticed while it waits.
    const authVersion = options.authVersion ?? this.#parts.authVersion();
    for (let delayMs = FIRST_DELAY_MS; ; delayMs = nextDelayMs(delayMs)) {
      try {
        // The one that is asked for nearly always, without a promise more than it takes.
        const mapVersion = this.#parts.map().version;
        const placed = { ...options, authVersion, mapVersion };
        const shards = this.#shardsOf(request, placed);
        const [first] = shards;
        if (first === undefined || shards.length > 1) {
          return await this.#fanOut(request, shards, placed);
        }
        const response = await this.#onShard(first, request, placed);
        return { response, shards: { [first]: response.revision } };
      } catch (error) {
        // Slots change hands: the shard that has them soon will say so, and the map.
        const again =
          isKvError(error) && error.code === 'KV_WRONG_SHARD' && options.shard === undefined;
        if (!again || this.#parts.clock.nowMs() + delayMs >= options.deadlineMs) throw error;
        await pause(delayMs);
      }
    }
  }

  #checkSize(request: KvRequest): void {
    const limit = this.#parts.limits.requestBytesMax;
    const actual = requestBytes(request);
    if (actual <= limit) return;
    throw new KvError('KV_REQUEST_TOO_LARGE', `${actual} bytes, at most ${limit}`, {
      details: { limit, actual },
    });
  }

  #shardsOf(request: KvRequest, options: RouteOptions): readonly ShardId[] {
    const { shard } = options;
    if (shard === undefined) return placeRequest(this.#parts.map(), request);
    const known = dataShardOf(this.#parts.map(), shard);
    if (known === undefined) {
      throw new KvError('KV_NOT_FOUND', `no shard ${shard}`, { details: { shard } });
    }
    return [known];
  }

  async #fanOut(
    request: KvRequest,
    shards: readonly ShardId[],
    options: RouteOptions,
  ): Promise<RoutedResponse> {
    if (request.op !== 'range') throw new KvError('KV_CROSS_SHARD');
    if (request.revision !== undefined && request.revision > 0) {
      throw crossShardRange(this.#parts.map(), request.key, shards);
    }
    const responses = await Promise.all(
      shards.map((shard) => this.#onShard(shard, request, options)),
    );
    const revisions = shards.map((shard, i) => [shard, responses[i]?.revision ?? 0] as const);
    const parts = responses.filter((response) => response.op === 'range');
    return { response: mergeRanges(request, parts), shards: Object.fromEntries(revisions) };
  }

  /** A request to the meta group, whose keys are the cluster's own. Errors as of `execute`. */
  onMeta(request: KvRequest, options: RouteOptions): Promise<KvResponse> {
    return this.#onShard(META_SHARD, request, options);
  }

  /** One shard's answer; waits for a leader until the deadline as long as nothing can have happened. */
  async #onShard(shard: ShardId, request: KvRequest, options: RouteOptions): Promise<KvResponse> {
    const { clock } = this.#parts;
    for (let delayMs = FIRST_DELAY_MS; ; delayMs = nextDelayMs(delayMs)) {
      const result = await this.#attempt(shard, request, options);
      if (result.ok) return result.response;
      const { error } = result;
      checkWorthRetrying(error, () => this.#parts.shardHalt(shard));
      if (clock.nowMs() + delayMs >= options.deadlineMs) {
        if (error.code === 'KV_HALTED') throw error;
        throw new KvError('KV_DEADLINE', `shard ${shard}: ${error.message}`, {
          cause: error,
          details: { ...error.details, shard },
        });
      }
      await pause(delayMs);
    }
  }

  #attempt(shard: ShardId, request: KvRequest, options: RouteOptions): Promise<CommandResult> {
    const replica = this.#parts.replica(shard);
    const leader = this.#parts.leaderOf(shard);
    const readOnly = isReadOnly(request);
    const halted = this.#parts.isHalted(shard);
    const serves = !this.#parts.isInstalling(shard);
    const readsHere = readOnly && serves && (!halted || isSerializable(request));
    if (replica !== undefined && (readsHere || leader === this.#parts.self)) {
      return this.#locally(replica, request, options);
    }
    if (leader === undefined || leader === this.#parts.self) {
      return Promise.resolve({
        ok: false,
        error: new KvError('KV_NO_LEADER', undefined, { details: { shard } }),
      });
    }
    const timeoutMs = Math.max(1, Math.ceil(options.deadlineMs - this.#parts.clock.nowMs()));
    const { session, origin, mapVersion, authVersion } = options;
    const facts = { session, origin, mapVersion, authVersion };
    return this.#forward(leader, { shard, request, timeoutMs, ...facts });
  }

  #locally(
    replica: ReplicaPort,
    request: KvRequest,
    options: RouteOptions,
  ): Promise<CommandResult> {
    const { clock } = this.#parts;
    if (this.#isOutdated(replica.shard, options)) {
      return Promise.resolve({ ok: false, error: new KvError('KV_AUTH_OLD_REVISION') });
    }
    return new Promise((resolve) => {
      const readOnly = isReadOnly(request);
      const cancel = clock.setTimer(
        Math.max(0, options.deadlineMs - clock.nowMs()) + GRACE_MS,
        () => {
          resolve({ ok: false, error: timedOut(replica.shard, readOnly) });
        },
      );
      const done = (result: CommandResult): void => {
        cancel();
        resolve(result);
      };
      if (isReadOnly(request)) replica.read(request, options.deadlineMs, done, options.mapVersion);
      else replica.submit(commandOf(request, options, done));
    });
  }

  /** Whether it was let through by a state that does not hold here any more. What is the cluster's own nobody was asked about. */
  #isOutdated(shard: ShardId, { authVersion = 0 }: RouteOptions): boolean {
    const current = shard === META_SHARD ? undefined : this.#parts.authVersion();
    return current !== undefined && authVersion < current;
  }

  async #forward(leader: MemberId, forwarded: ForwardedRequest): Promise<CommandResult> {
    const { shard, timeoutMs } = forwarded;
    const readOnly = isReadOnly(forwarded.request);
    const message = encodeForward(forwarded);
    const call = { leader, shard, message, timeoutMs, readOnly };
    try {
      return parseForwardAnswer(await askLeader(this.#parts, call));
    } catch (error) {
      if (isKvError(error)) return { ok: false, error };
      throw error;
    }
  }

  /** Answers a request that another member's router sent here: only this member's own replica may serve it. */
  async serveForwarded(
    shard: ShardId,
    request: KvRequest,
    options: RouteOptions,
  ): Promise<CommandResult> {
    const replica = this.#parts.replica(shard);
    // Its replica has moved on; the member that asks finds out where to.
    if (replica === undefined) return { ok: false, error: new KvError('KV_NOT_LEADER') };
    return this.#locally(replica, request, options);
  }
}

function commandOf(
  request: WriteRequest | CompactRequest,
  options: RouteOptions,
  done: (result: CommandResult) => void,
): Parameters<ReplicaPort['submit']>[0] {
  return {
    request,
    session: options.session,
    origin: options.origin,
    ...(options.mapVersion === undefined ? {} : { mapVersion: options.mapVersion }),
    deadlineMs: options.deadlineMs,
    bytes: requestBytes(request) + 64,
    done,
  };
}
