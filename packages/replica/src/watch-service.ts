import { KvError, type Limits, type WatchRequest } from '@kvorum/base';
import { type Applied, type Engine, WatchHub } from '@kvorum/mvcc';
import type { StateReader } from '@kvorum/ports';
import type { WatchHandle, WatchSink } from './api.ts';
import { drive } from './reading.ts';

/** Quiet watchers that asked for progress hear of it so often at least: the age of a revision that they may resume from. */
const PROGRESS_MS_MAX = 10_000;

/** Drives the watch hub over the store: live events after each apply, catch-up from disk for whoever is behind. */
export class WatchService {
  readonly #engine: Engine;
  readonly #reader: StateReader;
  readonly #limits: Limits;
  readonly #broken: (error: unknown) => void;
  readonly #hub: WatchHub;
  readonly #sinks = new Map<number, WatchSink>();
  #nextId = 1;
  #catchingUp = false;
  #watched = false;
  #onWatched: (watched: boolean) => void = () => undefined;
  /** Why no watch is served any more. */
  #progressAtMs = 0;
  #ended: (() => KvError) | undefined;

  constructor(
    engine: Engine,
    reader: StateReader,
    options: { readonly limits: Limits; readonly broken: (error: unknown) => void },
  ) {
    this.#engine = engine;
    this.#reader = reader;
    this.#limits = options.limits;
    this.#broken = options.broken;
    this.#hub = new WatchHub(
      {
        deliver: (id, batch) =>
          this.#sinks.get(id)?.events(batch.events, batch.revision, batch.bytes) ?? true,
        cancelled: (id, compactRevision) => {
          this.#end(id, new KvError('KV_COMPACTED', undefined, { details: { compactRevision } }));
        },
        moved: (id, error) => this.#end(id, error),
      },
      engine,
    );
  }

  get count(): number {
    return this.#hub.size;
  }

  /** Called whenever the first watch comes or the last one goes. */
  onWatched(listener: (watched: boolean) => void): void {
    this.#onWatched = listener;
  }

  add(request: WatchRequest, sink: WatchSink): WatchHandle {
    const id = this.#nextId;
    this.#nextId += 1;
    const refusal = this.#start(id, request);
    if (refusal !== undefined) {
      queueMicrotask(() => sink.cancelled(refusal));
      return { resume: () => undefined, progress: () => undefined, cancel: () => undefined };
    }
    this.#sinks.set(id, sink);
    this.#countChanged();
    sink.created(this.#engine.revision);
    this.#catchUp();
    return {
      resume: () => {
        this.#hub.resume(id);
        this.#catchUp();
      },
      progress: () => this.#hub.report(id),
      cancel: () => {
        this.#hub.cancel(id);
        this.#sinks.delete(id);
        this.#countChanged();
      },
    };
  }

  /** After the store write of an applied write set, in order, one at a time. */
  async applied(applied: Applied): Promise<void> {
    await drive(this.#hub.onApplied(applied), this.#reader);
    this.#catchUp();
  }

  /** Progress marks for quiet watchers that asked for them, now and then. */
  tick(nowMs: number): void {
    if (nowMs < this.#progressAtMs) return;
    this.#progressAtMs = nowMs + Math.min(PROGRESS_MS_MAX, this.#limits.watchProgressMs);
    this.#hub.progressTick();
  }

  /** Ends every watch and refuses new ones; their clients go on with another member. */
  stop(error: () => KvError): void {
    this.#ended = error;
    for (const id of [...this.#sinks.keys()]) this.#end(id, error());
  }

  /** Takes watches again after `stop`. */
  reopen(): void {
    this.#ended = undefined;
  }

  #start(id: number, request: WatchRequest): KvError | undefined {
    if (this.#ended !== undefined) return this.#ended();
    const limit = this.#limits.watchersPerReplicaMax;
    if (this.#hub.size >= limit) {
      return new KvError('KV_TOO_MANY_REQUESTS', 'too many watches on this replica', {
        details: { limit },
      });
    }
    const added = this.#hub.add(id, request, this.#engine.revision);
    return added.ok ? undefined : added.error;
  }

  #end(id: number, error: KvError): void {
    const sink = this.#sinks.get(id);
    this.#hub.cancel(id);
    this.#sinks.delete(id);
    this.#countChanged();
    sink?.cancelled(error);
  }

  #countChanged(): void {
    const watched = this.#sinks.size > 0;
    if (watched === this.#watched) return;
    this.#watched = watched;
    this.#onWatched(watched);
  }

  #catchUp(): void {
    if (this.#catchingUp || this.#ended !== undefined || !this.#hub.hasUnsynced) return;
    this.#catchingUp = true;
    this.#catchUpLoop()
      .catch((error: unknown) => this.#broken(error))
      .finally(() => {
        this.#catchingUp = false;
        if (this.#hub.hasUnsynced) this.#catchUp();
      });
  }

  async #catchUpLoop(): Promise<void> {
    while (this.#ended === undefined && this.#hub.hasUnsynced)
      await drive(this.#hub.catchUp(), this.#reader);
  }
}
