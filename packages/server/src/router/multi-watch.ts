import { KvError, type WatchEvent, type WatchRequest } from '@kvorum/base';
import type { WatchHandle } from '@kvorum/replica';
import type { Host } from '../host.ts';
import { placeRange } from './place.ts';
import { encodeResumeToken, type WatchPosition } from './resume-token.ts';

/** What a watch over one or more shards tells its consumer. */
export interface MultiWatchSink {
  /** Every shard's watch stands; called once. */
  readonly created: (token: string) => void;
  /** One event; `token` is set on the last one of a revision: the place to go on from. */
  readonly event: (shard: string, event: WatchEvent, token: string | undefined) => void;
  /** Whether the consumer takes events; when false it calls {@link MultiWatch.resume} later. */
  readonly hasRoom: () => boolean;
  readonly cancelled: (error: KvError) => void;
}

/**
 * Watches a range on all shards that hold a part of it. Each shard's events come in its order; between shards
 * there is none. The resume token holds one revision per shard.
 */
export class MultiWatch {
  readonly #sink: MultiWatchSink;
  readonly #position: Map<string, number>;
  readonly #handles: WatchHandle[] = [];
  #missing: number;
  #ended = false;

  constructor(
    host: Host,
    request: WatchRequest,
    resume: WatchPosition | undefined,
    sink: MultiWatchSink,
  ) {
    this.#sink = sink;
    const shards = placeRange(host.map(), request.key, request.rangeEnd);
    if (shards.length > 1 && (request.startRevision ?? 0) > 0) {
      throw new KvError('KV_CROSS_SHARD', 'every shard has revisions of its own', {
        details: { hint: 'resume with a token instead of startRevision' },
      });
    }
    this.#position = new Map();
    this.#missing = shards.length;
    for (const shard of shards) {
      const start = resume?.get(shard) ?? request.startRevision ?? 0;
      if (start > 0) this.#position.set(shard, start);
      const replica = host.replica(shard);
      if (replica === undefined)
        throw new KvError('KV_WRONG_SHARD', undefined, { details: { shard } });
      const handle = replica.watch({ ...request, startRevision: start }, this.#shardSink(shard));
      if (this.#ended) handle.cancel();
      else this.#handles.push(handle);
    }
  }

  #shardSink(shard: string): Parameters<NonNullable<ReturnType<Host['replica']>>['watch']>[1] {
    return {
      created: (revision) => {
        if (!this.#position.has(shard)) this.#position.set(shard, revision + 1);
        this.#missing -= 1;
        if (this.#missing === 0) this.#sink.created(encodeResumeToken(this.#position));
      },
      events: (events, revision) => this.#onEvents(shard, events, revision),
      cancelled: (error) => {
        this.#end(error);
      },
    };
  }

  #onEvents(shard: string, events: readonly WatchEvent[], revision: number): boolean {
    // Refused events are not lost: they come again, from disk, after resume().
    if (!this.#sink.hasRoom()) return false;
    for (let i = 0; i < events.length; i += 1) {
      const event = events[i];
      if (event === undefined) continue;
      const at = event.kv.modRevision;
      const last = events[i + 1]?.kv.modRevision !== at;
      if (last) this.#position.set(shard, at + 1);
      const token = last && this.#missing === 0 ? encodeResumeToken(this.#position) : undefined;
      this.#sink.event(shard, event, token);
    }
    this.#position.set(shard, revision + 1);
    return true;
  }

  /** The consumer has room again. */
  resume(): void {
    for (const handle of this.#handles) handle.resume();
  }

  /** Where to go on from. */
  token(): string {
    return encodeResumeToken(this.#position);
  }

  close(): void {
    this.#ended = true;
    for (const handle of this.#handles) handle.cancel();
  }

  #end(error: KvError): void {
    if (this.#ended) return;
    this.close();
    this.#sink.cancelled(error);
  }
}
