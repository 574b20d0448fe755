import { isKvError, prefixEnd, utf8, type WatchFilter, type WatchRequest } from '@kvorum/base';
import type { KvorumClient, Watch, WatchEvent } from '@kvorum/client';
import type { HistoryWriter, RecordedEvent } from '@kvorum/simulator';
import { microseconds, nowMs } from './recorder.ts';
import { recorded } from './requests.ts';

export interface WatcherOptions {
  readonly name: string;
  readonly client: KvorumClient;
  readonly history: HistoryWriter;
  readonly prefix: string;
  readonly prevKv?: boolean;
  readonly filters?: readonly WatchFilter[];
  /** Closes its watch and goes on with a new one after so many events. */
  readonly reopenAfter?: number;
}

/** One shard's part of a watch, as it is recorded. */
interface Stream {
  /** Events of the newest revision seen: complete once a newer one comes. */
  pending: RecordedEvent[];
  /** Revision of `pending`. */
  revision: number;
}

/** Records every event of a prefix, over as many watches as it takes. A stream of the history is one shard's part. */
export class Watcher {
  /** Why it ended by itself; undefined while it runs or when it was stopped. */
  failure: string | undefined;
  events = 0;
  readonly name: string;
  readonly #options: WatcherOptions;
  readonly #streams = new Map<string, Stream>();
  #watch: Watch | undefined;
  #stopping = false;
  #loop: Promise<void> | undefined;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.name = options.name;
  }

  /** Resolves once it watches from now on. */
  async start(): Promise<void> {
    const watch = await this.#open();
    await watch.ready;
    for (const [shard, next] of Object.entries(watch.resumeAt())) {
      this.#streams.set(shard, { pending: [], revision: next - 1 });
      this.#record(shard, { created: next - 1 });
    }
    this.#loop = this.#run(watch);
  }

  /** Shard → first revision that it was not told of yet. */
  resumeAt(): Readonly<Record<string, number>> {
    return this.#watch?.resumeAt() ?? {};
  }

  /** Whether it was told of everything up to these revisions. */
  hasSeen(revisions: ReadonlyMap<string, number>): boolean {
    const next = this.resumeAt();
    return [...revisions].every(([shard, revision]) => (next[shard] ?? 0) > revision);
  }

  /** Ends it, with a promise of all that it has been told of. */
  async stop(): Promise<void> {
    const through = this.resumeAt();
    this.#stopping = true;
    this.#watch?.close();
    await this.#loop;
    if (this.failure !== undefined) return;
    for (const [shard, stream] of this.#streams) {
      this.#flush(shard, stream);
      const at = microseconds(nowMs());
      const name = this.#streamOf(shard);
      const seen = (through[shard] ?? 1) - 1;
      this.#options.history.write({ type: 'events', stream: name, at, events: [], through: seen });
    }
  }

  async #run(first: Watch): Promise<void> {
    let watch = first;
    for (;;) {
      try {
        await this.#consume(watch);
      } catch (error) {
        this.failure = `${this.name}: ${isKvError(error) ? `${error.code} ${error.message}` : String(error)}`;
        return;
      }
      if (this.#stopping) return;
      watch = await this.#reopen();
    }
  }

  /** Until it is closed: by `stop`, or because it is time for another one. */
  async #consume(watch: Watch): Promise<void> {
    const { reopenAfter = Number.POSITIVE_INFINITY } = this.#options;
    let left = reopenAfter;
    for await (const event of watch) {
      this.#take(event);
      left -= 1;
      if (left <= 0) return;
    }
  }

  #take(event: WatchEvent): void {
    const stream = this.#streams.get(event.shard) ?? { pending: [], revision: 0 };
    this.#streams.set(event.shard, stream);
    const { modRevision } = event.kv;
    if (modRevision !== stream.revision) this.#flush(event.shard, stream);
    stream.revision = modRevision;
    stream.pending.push(eventOf(event));
    this.events += 1;
  }

  async #reopen(): Promise<Watch> {
    const revisions: Record<string, number> = {};
    for (const [shard, stream] of this.#streams) {
      // What came last may be half a revision: it is asked for again.
      const isPending = stream.pending.length > 0;
      revisions[shard] = isPending ? stream.revision : stream.revision + 1;
      stream.pending = [];
      if (isPending) stream.revision -= 1;
      this.#options.history.write({
        type: 'watch-end',
        stream: this.#streamOf(shard),
        at: microseconds(nowMs()),
        code: 'closed',
      });
    }
    const watch = await this.#open(revisions);
    for (const [shard, startRevision] of Object.entries(revisions)) {
      this.#record(shard, { startRevision });
    }
    return watch;
  }

  async #open(revisions?: Readonly<Record<string, number>>): Promise<Watch> {
    const { client, prefix, prevKv, filters } = this.#options;
    this.#watch = await client.watch({ prefix }, { revisions, prevKv, filters });
    return this.#watch;
  }

  #record(shard: string, from: { readonly created?: number; readonly startRevision?: number }) {
    const { name, history } = this.#options;
    const { created, startRevision } = from;
    history.write({
      type: 'watch',
      stream: this.#streamOf(shard),
      client: name,
      shard,
      at: microseconds(nowMs()),
      request: { ...this.#request(), ...(startRevision === undefined ? {} : { startRevision }) },
      ...(created === undefined ? {} : { created }),
    });
  }

  #request(): WatchRequest {
    const { prefix, prevKv, filters } = this.#options;
    const key = utf8(prefix);
    return {
      key,
      rangeEnd: prefixEnd(key),
      ...(prevKv === undefined ? {} : { prevKv }),
      ...(filters === undefined ? {} : { filters }),
    };
  }

  #flush(shard: string, stream: Stream): void {
    if (stream.pending.length === 0) return;
    const { history } = this.#options;
    const at = microseconds(nowMs());
    history.write({ type: 'events', stream: this.#streamOf(shard), at, events: stream.pending });
    stream.pending = [];
  }

  #streamOf(shard: string): string {
    return `${this.name}/${shard}`;
  }
}

function eventOf({ type, kv, prevKv }: WatchEvent): RecordedEvent {
  if (type === 'delete') {
    const gone = { key: new Uint8Array(kv.key), modRevision: kv.modRevision };
    return { type, kv: gone, ...(prevKv === undefined ? {} : { prevKv: recorded(prevKv) }) };
  }
  return { type, kv: recorded(kv), ...(prevKv === undefined ? {} : { prevKv: recorded(prevKv) }) };
}
