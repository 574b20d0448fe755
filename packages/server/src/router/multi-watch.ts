import { KvError, shardId, type WatchEvent, type WatchRequest } from '@kvorum/base';
import type { WatchHandle, WatchSink } from '@kvorum/replica';
import type { Host } from '../host.ts';
import { encodeResumeToken, type WatchPosition } from './resume-token.ts';
import { nameOfPiece, placedAnew, type WatchPiece, watchPieces } from './watch-pieces.ts';

/** Before a part is placed anew whose slots are on the move. */
const MOVED_MS = 50;

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
 * Watches a range on all shards that hold a part of it, wherever their replicas are. Each shard's events come in its order; between shards
 * there is none. The resume token holds one revision per shard, or per part of one whose slots came from several.
 */
export class MultiWatch {
  readonly #host: Host;
  readonly #request: WatchRequest;
  readonly #sink: MultiWatchSink;
  readonly #position = new Map<string, number>();
  readonly #handles = new Map<string, WatchHandle>();
  /** Parts that do not stand yet. */
  readonly #pending = new Set<string>();
  #isCreated = false;
  #ended = false;

  constructor(
    host: Host,
    request: WatchRequest,
    resume: WatchPosition | undefined,
    sink: MultiWatchSink,
  ) {
    this.#host = host;
    this.#request = request;
    this.#sink = sink;
    const pieces = watchPieces(host.map(), request, resume);
    if (pieces.length > 1 && (request.startRevision ?? 0) > 0) {
      throw new KvError('KV_CROSS_SHARD', 'every shard has revisions of its own', {
        details: { hint: 'resume with a token instead of startRevision' },
      });
    }
    for (const piece of pieces) this.#pending.add(nameOfPiece(piece));
    for (const piece of pieces) this.#open(piece);
  }

  #open(piece: WatchPiece): void {
    const { shard, slots, start } = piece;
    const name = nameOfPiece(piece);
    if (start > 0) this.#position.set(name, start);
    const request = { ...this.#request, startRevision: start };
    const scoped = slots === undefined ? request : { ...request, slots };
    const handle = this.#host.watches.watch(shardId(shard), scoped, this.#pieceSink(piece, name));
    if (this.#ended) handle.cancel();
    else this.#handles.set(name, handle);
  }

  #pieceSink(piece: WatchPiece, name: string): WatchSink {
    return {
      created: (revision) => {
        if (!this.#position.has(name)) this.#position.set(name, revision + 1);
        this.#pending.delete(name);
        if (this.#pending.size > 0 || this.#isCreated) return;
        this.#isCreated = true;
        this.#sink.created(encodeResumeToken(this.#position));
      },
      events: (events, revision) => this.#onEvents(piece.shard, name, events, revision),
      cancelled: (error) => {
        if (error.code === 'KV_WRONG_SHARD') this.#moved(piece, name);
        else this.#end(error);
      },
    };
  }

  /** Its slots are on the move: they go on where they are by then, from where this part of the watch stood. */
  #moved(piece: WatchPiece, name: string): void {
    this.#handles.delete(name);
    const start = this.#position.get(name) ?? piece.start;
    this.#host.clock.setTimer(MOVED_MS, () => {
      if (this.#ended) return;
      this.#position.delete(name);
      this.#pending.delete(name);
      try {
        const next = placedAnew(this.#host.map(), this.#request, { ...piece, start });
        for (const one of next) this.#pending.add(nameOfPiece(one));
        for (const one of next) this.#open(one);
      } catch (error) {
        this.#end(error instanceof KvError ? error : new KvError('KV_UNAVAILABLE'));
      }
    });
  }

  #onEvents(shard: string, name: string, events: readonly WatchEvent[], revision: number): boolean {
    // Refused events are not lost: they come again, from disk, after resume().
    if (!this.#sink.hasRoom()) return false;
    for (let i = 0; i < events.length; i += 1) {
      const event = events[i];
      if (event === undefined) continue;
      const at = event.kv.modRevision;
      const last = events[i + 1]?.kv.modRevision !== at;
      if (last) this.#position.set(name, at + 1);
      const token = last && this.#isCreated ? encodeResumeToken(this.#position) : undefined;
      this.#sink.event(shard, event, token);
    }
    this.#position.set(name, revision + 1);
    return true;
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
