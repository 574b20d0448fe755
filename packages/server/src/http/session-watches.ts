import { type Needs, needsOfWatch } from '@kvorum/auth';
import { KvError } from '@kvorum/base';
import type { WatchHandle, WatchSink } from '@kvorum/replica';
import { FRAME, packFrame, plainError } from '@kvorum/wire';
import type { Host } from '../host.ts';
import { dataShardOf } from '../router/place.ts';
import { plainEvent } from '../router/plain-event.ts';
import { parseWatchRequest } from './watch-request.ts';

/** About what a watch takes beside its key and range end. */
const WATCH_BYTES = 1024;

interface OpenWatch {
  readonly needs: Needs;
  /** What it takes for as long as it stands. */
  readonly heldBytes: number;
  handle: WatchHandle | undefined;
  paused: boolean;
}

/** What the watches need of their connection. */
export interface WatchConnection {
  readonly send: (bytes: Uint8Array) => void;
  /** Whether the client reads what it is sent; when false a later drain calls {@link SessionWatches.resume}. */
  readonly hasRoom: () => boolean;
  readonly protocolError: (error: KvError) => void;
  /** Told of the memory that watches take, bytes more or less. */
  readonly holds: (change: number) => void;
  /** Why its user may not do this. */
  readonly forbidden: (needs: Needs) => KvError | undefined;
}

/**
 * The watches of one connection. When the client does not read, every watch pauses: its replica keeps no events for it and goes
 * on from disk after `resume`.
 */
export class SessionWatches {
  readonly #host: Host;
  readonly #connection: WatchConnection;
  readonly #open = new Map<number, OpenWatch>();

  constructor(host: Host, connection: WatchConnection) {
    this.#host = host;
    this.#connection = connection;
  }

  create(watchId: number, shard: string, plain: unknown): void {
    if (this.#open.has(watchId)) {
      this.#connection.protocolError(new KvError('KV_MALFORMED', `watch id ${watchId} is in use`));
      return;
    }
    const request = parseWatchRequest(plain);
    if (!request.ok) {
      this.#connection.protocolError(request.error);
      return;
    }
    const needs = needsOfWatch(request.value);
    const known = dataShardOf(this.#host.map(), shard);
    const { key, rangeEnd } = request.value;
    const refusal =
      this.#connection.forbidden(needs) ?? this.#refusal(shard, known === undefined, key, rangeEnd);
    if (known === undefined || refusal !== undefined) {
      this.#cancelled(watchId, refusal ?? new KvError('KV_WRONG_SHARD'));
      return;
    }
    const heldBytes = key.length + (rangeEnd?.length ?? 0) + WATCH_BYTES;
    const watch: OpenWatch = { needs, heldBytes, handle: undefined, paused: false };
    this.#open.set(watchId, watch);
    this.#connection.holds(heldBytes);
    watch.handle = this.#host.watches.watch(known, request.value, this.#sink(watchId, watch));
    if (this.#open.get(watchId) !== watch) watch.handle.cancel();
  }

  #refusal(
    shard: string,
    unknownShard: boolean,
    key: Uint8Array,
    rangeEnd: Uint8Array | undefined,
  ): KvError | undefined {
    const limit = this.#host.limits.watchersPerStreamMax;
    if (this.#open.size >= limit) {
      return new KvError('KV_TOO_MANY_REQUESTS', `more than ${limit} watches on one connection`, {
        details: { limit },
      });
    }
    const single = rangeEnd === undefined || rangeEnd.length === 0;
    const router = this.#host.router;
    if (unknownShard || (single && router.shardOf(key) !== shard)) {
      return new KvError('KV_WRONG_SHARD', undefined, {
        details: { shard, mapVersion: this.#host.map().version },
      });
    }
    return undefined;
  }

  #sink(watchId: number, watch: OpenWatch): WatchSink {
    return {
      created: (revision) => {
        this.#host.metrics.requests.count('session', 'watch', 'OK');
        this.#connection.send(packFrame([FRAME.watchCreated, watchId, revision]));
      },
      events: (events, revision) => {
        // Refused events are not lost: they come again, from disk, after resume().
        watch.paused = !this.#connection.hasRoom();
        if (watch.paused) return false;
        const frame = [FRAME.watchEvents, watchId, revision, events.map(plainEvent)];
        this.#connection.send(packFrame(frame));
        return true;
      },
      cancelled: (error) => {
        this.#forget(watchId);
        this.#cancelled(watchId, error);
      },
    };
  }

  #cancelled(watchId: number, error: KvError): void {
    this.#host.metrics.requests.count('session', 'watch', error.code);
    this.#connection.send(packFrame([FRAME.watchCancelled, watchId, plainError(error)]));
  }

  cancel(watchId: number): void {
    this.#forget(watchId)?.handle?.cancel();
  }

  #forget(watchId: number): OpenWatch | undefined {
    const watch = this.#open.get(watchId);
    if (this.#open.delete(watchId)) this.#connection.holds(-(watch?.heldBytes ?? 0));
    return watch;
  }

  /** Ends those that are not allowed any more. */
  recheck(): void {
    for (const [watchId, watch] of this.#open) {
      const refusal = this.#connection.forbidden(watch.needs);
      if (refusal === undefined) continue;
      this.cancel(watchId);
      this.#cancelled(watchId, refusal);
    }
  }

  /** The client has read everything. */
  resume(): void {
    for (const watch of this.#open.values()) {
      if (!watch.paused) continue;
      watch.paused = false;
      watch.handle?.resume();
    }
  }

  /** Ends all watches; with an error the client is told why. */
  close(error?: KvError): void {
    for (const [watchId, watch] of this.#open) {
      watch.handle?.cancel();
      if (error !== undefined) this.#cancelled(watchId, error);
    }
    this.#open.clear();
  }
}
