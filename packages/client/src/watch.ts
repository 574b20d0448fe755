import { KvError, type WatchFilter, type WatchRequest } from '@kvorum/base';
import { nameOfPlace, type WatchPlace } from '@kvorum/shard';
import { errorFromPlain, FRAME } from '@kvorum/wire';
import { type WatchEvent, watchEventOf } from './answer.ts';
import { Backoff } from './backoff.ts';
import type { Connection, WatchTarget } from './connection.ts';
import type { Dispatcher } from './dispatcher.ts';
import { EventQueue } from './event-queue.ts';
import type { Span } from './key-range.ts';
import type { ShardRouter } from './shard-router.ts';

export interface WatchOptions {
  /**
   * First revision to deliver; absent = what happens from now on. With several shards: one per
   * shard, in `revisions`.
   */
  readonly startRevision?: number | undefined;
  /** Place → first revision to deliver, as {@link Watch.resumeAt} reports it. */
  readonly revisions?: Readonly<Record<string, number>> | undefined;
  /** Deliver what the key held before. */
  readonly prevKv?: boolean | undefined;
  readonly filters?: readonly WatchFilter[] | undefined;
  /** Aborting ends the iteration with KV_CANCELLED. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Events held for a consumer that is slower than the cluster; beyond this the server is asked again
 * later, from disk.
 */
const QUEUE_EVENTS_MAX = 10_000;

/** Errors of a member that only mean: ask another one, or ask later. */
const MOVES_ON: ReadonlySet<string> = new Set([
  'KV_NOT_LEADER',
  'KV_NO_LEADER',
  'KV_LEADER_CHANGED',
  'KV_STOPPED',
  'KV_UNAVAILABLE',
  'KV_TIMEOUT',
  'KV_TOO_MANY_REQUESTS',
  'KV_WRONG_SHARD',
  'KV_HALTED',
]);

/**
 * Changes as an async iterable: `for await (const event of watch)`. Lives through failovers: every
 * shard's stream goes on from the revision after the last one delivered, without gap or duplicate.
 * Events of one key, and of one shard, come in revision order.
 *
 * Ends by `close()`, `break`, or its signal. Errors: KV_COMPACTED with `details.compactRevision`
 * when what it would have to deliver next is gone.
 */
export class Watch implements AsyncIterableIterator<WatchEvent> {
  /**
   * Resolved once every shard's stream stands: what happens after that is delivered. Rejects if the
   * watch fails first.
   */
  readonly ready: Promise<void>;
  readonly #queue = new EventQueue<WatchEvent>();
  #streams: readonly ShardStream[];
  readonly #dispatcher: Dispatcher;
  readonly #request: WatchRequest;
  readonly #sink: StreamSink;
  #mapVersion = 0;
  readonly #signal: AbortSignal | undefined;
  readonly #onEnd: (watch: Watch) => void;
  readonly #onAbort = (): void => {
    const cause: unknown = this.#signal?.reason;
    this.#finish(
      new KvError('KV_CANCELLED', 'aborted by its signal', { outcome: 'not-applied', cause }),
    );
  };
  #resolveReady: () => void = () => {};
  #rejectReady: (error: KvError) => void = () => {};
  #ended = false;

  constructor(
    dispatcher: Dispatcher,
    span: Span,
    options: WatchOptions,
    onEnd: (watch: Watch) => void,
  ) {
    this.#dispatcher = dispatcher;
    this.#onEnd = onEnd;
    this.#signal = options.signal;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => {}); // whoever iterates sees the error there
    this.#sink = {
      full: () => this.#queue.length >= QUEUE_EVENTS_MAX,
      push: (event) => this.#queue.push(event),
      created: () => this.#onCreated(),
      failed: (error) => this.#finish(error),
    };
    this.#request = requestOf(span, options);
    const { router } = dispatcher.pool;
    this.#mapVersion = router?.version ?? 0;
    this.#streams =
      router === undefined
        ? []
        : router
            .placesOf(span, new Map(Object.entries(options.revisions ?? {})), options.startRevision)
            .map((place) => this.#stream(place));
    if (options.signal?.aborted === true) this.#onAbort();
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.poke();
  }

  /**
   * Place → first revision not yet received: give it as `revisions` to another watch to go on from
   * here, once everything before it has been consumed. A place is a shard with slots of it
   * (`2:0-4095`), so that it means the same when they live elsewhere. It is missing until its
   * stream stands.
   */
  resumeAt(): Readonly<Record<string, number>> {
    return Object.fromEntries(
      this.#streams.flatMap((stream) =>
        stream.next === undefined ? [] : [[nameOfPlace(stream), stream.next]],
      ),
    );
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchEvent>> {
    const result = await this.#queue.next();
    if (this.#queue.length < QUEUE_EVENTS_MAX / 2)
      for (const stream of this.#streams) stream.drained();
    return result;
  }

  return(): Promise<IteratorResult<WatchEvent>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the iteration. */
  close(): void {
    this.#finish(undefined);
  }

  /** Connections changed, or the map: streams without a connection try again, where their slots are now. */
  poke(): void {
    const { router } = this.#dispatcher.pool;
    if (router !== undefined && router.version !== this.#mapVersion && !this.#ended) {
      this.#mapVersion = router.version;
      this.#streams = this.#streams.flatMap((stream) => this.#placed(router, stream));
    }
    for (const stream of this.#streams) stream.open();
  }

  /** Slots that moved go on at their new shard from where their stream stood: it has their history. */
  #placed(router: ShardRouter, stream: ShardStream): readonly ShardStream[] {
    const pieces = router.ownersOf(stream.slots);
    if (pieces.length === 1 && pieces[0]?.shard === stream.shard) return [stream];
    stream.stop();
    return pieces.map((piece) => this.#stream({ ...piece, start: stream.next }));
  }

  #stream(place: WatchPlace): ShardStream {
    return new ShardStream(this.#dispatcher, { ...place, request: this.#request }, this.#sink);
  }

  #onCreated(): void {
    if (this.#streams.every((stream) => stream.created)) this.#resolveReady();
  }

  #finish(error: KvError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    for (const stream of this.#streams) stream.stop();
    this.#queue.finish(error);
    if (error === undefined) this.#resolveReady();
    else this.#rejectReady(error);
    this.#onEnd(this);
  }
}

function requestOf(span: Span, options: WatchOptions): WatchRequest {
  return {
    key: span.key,
    ...(span.rangeEnd.length === 0 ? {} : { rangeEnd: span.rangeEnd }),
    ...(options.prevKv === true ? { prevKv: true } : {}),
    ...(options.filters === undefined ? {} : { filters: options.filters }),
    progressNotify: true,
  };
}

interface StreamSink {
  readonly full: () => boolean;
  readonly push: (event: WatchEvent) => void;
  readonly created: () => void;
  readonly failed: (error: KvError) => void;
}

/** One shard's part of a watch. */
class ShardStream {
  readonly shard: WatchPlace['shard'];
  readonly slots: WatchPlace['slots'];
  /**
   * First revision not yet handed to the consumer's queue; undefined = from now, and not created
   * yet.
   */
  next: number | undefined;
  created = false;
  readonly #dispatcher: Dispatcher;
  readonly #request: WatchRequest;
  readonly #sink: StreamSink;
  readonly #backoff = new Backoff(10, 1000);
  #connection: Connection | undefined = undefined;
  #watchId = 0;
  #timer: NodeJS.Timeout | undefined = undefined;
  /** Stopped because the consumer is slow. */
  #held = false;
  #stopped = false;

  constructor(
    dispatcher: Dispatcher,
    what: WatchPlace & { readonly request: WatchRequest },
    sink: StreamSink,
  ) {
    this.shard = what.shard;
    this.slots = what.slots;
    this.next = what.start;
    this.#dispatcher = dispatcher;
    this.#request = what.request;
    this.#sink = sink;
  }

  /** Asks a member for the events, unless one was asked already. */
  open(): void {
    if (this.#stopped || this.#held || this.#connection !== undefined) return;
    if (this.#timer !== undefined) return;
    const { pool } = this.#dispatcher;
    // A watch from "now" must not begin at a lagging replica: wait for the leader. A resumed one
    // may go anywhere.
    const connection =
      pool.connectionFor(this.shard) ?? (this.next === undefined ? undefined : pool.anyOpen());
    if (connection === undefined) {
      this.#later();
      return;
    }
    this.#connection = connection;
    this.#watchId = this.#dispatcher.nextId();
    connection.watches.set(this.#watchId, this.#target(connection));
    const isRange = this.#request.rangeEnd !== undefined;
    const request = {
      ...this.#request,
      ...(isRange && pool.router?.hasSlotWatches === true ? { slots: this.slots } : {}),
      ...(this.next === undefined ? {} : { startRevision: this.next }),
    };
    connection.send([FRAME.watchCreate, this.#watchId, this.shard, request]);
  }

  /** The consumer has room again. */
  drained(): void {
    if (!this.#held) return;
    this.#held = false;
    this.open();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#leave();
  }

  #leave(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    connection.watches.delete(this.#watchId);
    if (connection.open) connection.send([FRAME.watchCancel, this.#watchId]);
  }

  #later(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.open();
    }, this.#backoff.next());
  }

  #target(connection: Connection): WatchTarget {
    const current = (): boolean => this.#connection === connection && !this.#stopped;
    return {
      shard: this.shard,
      created: (revision) => {
        if (!current()) return;
        this.#backoff.reset();
        this.next ??= revision + 1;
        this.created = true;
        this.#sink.created();
      },
      events: (revision, events) => {
        if (current()) this.#onEvents(revision, events);
      },
      cancelled: (error) => {
        if (current()) this.#onCancelled(error);
      },
      lost: () => {
        if (!current()) return;
        this.#connection = undefined;
        this.open();
      },
    };
  }

  #onEvents(revision: number, events: readonly unknown[]): void {
    const from = this.next ?? 0;
    for (const plain of events) {
      const event = watchEventOf(plain, this.shard);
      if (event.kv.modRevision >= from) this.#sink.push(event);
    }
    if (revision >= from) this.next = revision + 1;
    if (!this.#sink.full()) return;
    this.#held = true;
    this.#leave();
  }

  #onCancelled(plain: unknown): void {
    this.#connection = undefined;
    const error = errorFromPlain(plain);
    const isPassing = MOVES_ON.has(error.code) || this.#dispatcher.isLoggedInNext(error);
    if (isPassing) this.#later();
    else this.#sink.failed(error);
  }
}
