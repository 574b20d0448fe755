import {
  EMPTY_BYTES,
  KvError,
  type Revision,
  type WatchEvent,
  type WatchRequest,
} from '@kvorum/base';
import type { WatchHandle, WatchSink } from '@kvorum/replica';
import {
  crossShardRange,
  nameOfPlace,
  ownersOfSlots,
  piecesOfRange,
  placesOfWatch,
  slotOfRange,
  type WatchPlace,
} from '@kvorum/shard';
import type { Host } from '../host.ts';
import { encodeResumeToken, type WatchPosition } from './resume-token.ts';

/** Before a part is placed anew whose slots are on the move. */
const MOVED_MS = 50;

/** What it needs of the member. */
type WatchedHost = Pick<Host, 'clock' | 'map'> & {
  readonly watches: Pick<Host['watches'], 'watch'>;
};

/** Events of one or more whole revisions of one shard. */
export interface MultiWatchBatch {
  readonly shard: string;
  readonly events: readonly WatchEvent[];
  /** The last of them. */
  readonly revision: Revision;
  /** About what the events take. */
  readonly bytes: number;
  /** The place to go on from after a revision of the batch; undefined before the watch stands everywhere. */
  readonly tokenAfter: (revision: number) => string | undefined;
}

/** What a watch over one or more shards tells its consumer. */
export interface MultiWatchSink {
  /** Every shard's watch stands; called once. `revision` is the largest of theirs. */
  readonly created: (token: string, revision: Revision) => void;
  /** Whether the consumer took them; when false it calls {@link MultiWatch.resume} later and gets them again, from disk. */
  readonly events: (batch: MultiWatchBatch) => boolean;
  /** Everything up to this revision has been told, of every shard. Whether that was taken does not matter. */
  readonly progress?: (revision: Revision) => void;
  readonly cancelled: (error: KvError) => void;
}

/**
 * Watches a range on all shards that hold a part of it, wherever their replicas are. Each shard's events come in its order; between shards
 * there is none. The resume token holds one revision per shard and its slots, or per part of them that came from elsewhere.
 */
export class MultiWatch {
  readonly #host: WatchedHost;
  readonly #request: WatchRequest;
  /** As one of a key is: then no shard needs to be told which slots it is about. */
  readonly #isOfOneSlot: boolean;
  readonly #sink: MultiWatchSink;
  readonly #position = new Map<string, number>();
  readonly #handles = new Map<string, WatchHandle>();
  /** Parts that do not stand yet. */
  readonly #pending = new Set<string>();
  /** Parts that have reported since the last progress of the whole, and up to where. */
  readonly #reported = new Map<string, Revision>();
  #createdAt = 0;
  #isCreated = false;
  #ended = false;

  /** Errors: KV_CROSS_SHARD for a start revision over several shards; KV_INVALID_ARGUMENT for a position that is none. */
  constructor(
    host: WatchedHost,
    request: WatchRequest,
    resume: WatchPosition | undefined,
    sink: MultiWatchSink,
  ) {
    this.#host = host;
    this.#request = request;
    this.#sink = sink;
    const { key, rangeEnd, startRevision = 0 } = request;
    const map = host.map();
    this.#isOfOneSlot = slotOfRange(key, rangeEnd ?? EMPTY_BYTES, map.rules) !== undefined;
    const start = startRevision > 0 ? startRevision : undefined;
    const pieces = piecesOfRange(map, key, rangeEnd);
    const places = placesOfWatch(map, pieces, resume ?? new Map(), start);
    if (places.length > 1 && start !== undefined) {
      const shards = [...new Set(places.map(({ shard }) => shard))];
      throw crossShardRange(map, key, shards);
    }
    this.#openAll(places);
  }

  #openAll(places: readonly WatchPlace[]): void {
    for (const place of places) this.#pending.add(nameOfPlace(place));
    for (const place of places) this.#open(place);
  }

  #open(place: WatchPlace): void {
    const { shard, slots, start } = place;
    const name = nameOfPlace(place);
    if (start !== undefined) this.#position.set(name, start);
    const request = { ...this.#request, startRevision: start ?? 0 };
    const scoped = this.#isOfOneSlot ? request : { ...request, slots };
    const handle = this.#host.watches.watch(shard, scoped, this.#placeSink(place, name));
    if (this.#ended) handle.cancel();
    else this.#handles.set(name, handle);
  }

  #placeSink(place: WatchPlace, name: string): WatchSink {
    return {
      created: (revision) => {
        if (!this.#position.has(name)) this.#position.set(name, revision + 1);
        this.#createdAt = Math.max(this.#createdAt, revision);
        this.#pending.delete(name);
        if (this.#pending.size > 0 || this.#isCreated) return;
        this.#isCreated = true;
        this.#sink.created(encodeResumeToken(this.#position), this.#createdAt as Revision);
      },
      events: (events, revision, bytes) =>
        this.#onEvents(place.shard, name, { events, revision, bytes }),
      cancelled: (error) => {
        if (error.code === 'KV_WRONG_SHARD') this.#moved(place, name);
        else this.#end(error);
      },
    };
  }

  /** Its slots are on the move: they go on where they are by then, from where this part of the watch stood. */
  #moved(place: WatchPlace, name: string): void {
    this.#handles.delete(name);
    this.#reported.delete(name);
    const start = this.#position.get(name) ?? place.start;
    this.#host.clock.setTimer(MOVED_MS, () => {
      if (this.#ended) return;
      this.#position.delete(name);
      this.#pending.delete(name);
      try {
        const next = ownersOfSlots(this.#host.map(), place.slots);
        this.#openAll(next.map((piece) => ({ ...piece, start })));
      } catch (error) {
        this.#end(error instanceof KvError ? error : new KvError('KV_UNAVAILABLE'));
      }
    });
  }

  #onEvents(
    shard: string,
    name: string,
    told: Pick<MultiWatchBatch, 'events' | 'revision' | 'bytes'>,
  ): boolean {
    const { events, revision, bytes } = told;
    if (events.length === 0) {
      this.#onMark(name, revision);
      return true;
    }
    const tokenAfter = (at: number): string | undefined => {
      this.#position.set(name, at + 1);
      return this.#isCreated ? encodeResumeToken(this.#position) : undefined;
    };
    if (!this.#sink.events({ events, revision, bytes, shard, tokenAfter })) return false;
    this.#position.set(name, revision + 1);
    return true;
  }

  /** The whole has come as far as the part of it that is furthest behind. */
  #onMark(name: string, revision: Revision): void {
    this.#position.set(name, revision + 1);
    this.#reported.set(name, revision);
    for (const part of this.#handles.keys()) if (!this.#reported.has(part)) return;
    const all = Math.min(...this.#reported.values()) as Revision;
    this.#reported.clear();
    this.#sink.progress?.(all);
  }

  /** Asks every shard for a mark of progress: the sink is told once all have given one. */
  progress(): void {
    this.#reported.clear();
    for (const handle of this.#handles.values()) handle.progress();
  }

  /** The consumer has room again. */
  resume(): void {
    for (const handle of this.#handles.values()) handle.resume();
  }

  /** Where to go on from. */
  token(): string {
    return encodeResumeToken(this.#position);
  }

  close(): void {
    this.#ended = true;
    for (const handle of this.#handles.values()) handle.cancel();
  }

  #end(error: KvError): void {
    if (this.#ended) return;
    this.close();
    this.#sink.cancelled(error);
  }
}
