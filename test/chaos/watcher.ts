import { setTimeout as pause } from 'node:timers/promises';
import { isKvError, prefixEnd, utf8, type WatchFilter, type WatchRequest } from '@kvorum/base';
import type { KvorumClient, Watch, WatchEvent } from '@kvorum/client';
import type { HistoryWriter, RecordedEvent } from '@kvorum/simulator';
import { directoryOf } from './key-space.ts';
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
  /** Stays away for so long before it opens another: meanwhile slots may move. */
  readonly awayMs?: number;
  readonly timelines: Timelines;
}

/**
 * What the revisions of a history count in. A shard's, while no slot moves. When slots do, a shard's revisions are of several pasts: then
 * a directory's, whose keys share a slot for ever, and whose revisions rise wherever it lives.
 */
export type Timelines = 'shards' | 'directories';

/** The last write of a directory, which everybody who watches it has to see. */
export interface Mark {
  readonly revision: number;
  readonly value: string;
}

/** One timeline's part of a watch, as it is recorded. */
interface Stream {
  /** Events of the newest revision seen: complete once a newer one comes. */
  pending: RecordedEvent[];
  /** Revision of `pending`. */
  revision: number;
  /** Last value seen. */
  value: string;
}

/** Records every event of a prefix, over as many watches as it takes. A stream of the history is one timeline's part. */
export class Watcher {
  /** Why it ended by itself; undefined while it runs or when it was stopped. */
  failure: string | undefined;
  events = 0;
  readonly name: string;
  readonly #options: WatcherOptions;
  readonly #streams = new Map<string, Stream>();
  #watch: Watch | undefined;
  #startedAt = 0;
  #resumption: Readonly<Record<string, number>> = {};
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
    this.#startedAt = microseconds(nowMs());
    if (this.#options.timelines === 'shards') {
      for (const [shard, next] of Object.entries(this.resumeAt())) {
        this.#streams.set(shard, { pending: [], revision: next - 1, value: '' });
        this.#record(shard, { created: next - 1 });
      }
    }
    this.#loop = this.#run(watch);
  }

  /** Shard → first revision that it was not told of yet. Where slots moved, of several places in a shard the one that is behind. */
  resumeAt(): Readonly<Record<string, number>> {
    return byShard(this.#watch?.resumeAt() ?? {});
  }

  /** Whether it was told of everything up to these revisions. */
  hasSeen(revisions: ReadonlyMap<string, number>): boolean {
    const next = this.resumeAt();
    return [...revisions].every(([shard, revision]) => (next[shard] ?? 0) > revision);
  }

  /** The directories whose last write it has not seen. */
  missing(marks: ReadonlyMap<string, Mark>): readonly string[] {
    return [...marks].flatMap(([directory, { value }]) =>
      this.#streams.get(directory)?.value === value ? [] : [directory],
    );
  }

  /** Ends it, with a promise of all that it has been told of: everything up to the marks where timelines are directories. */
  async stop(marks: ReadonlyMap<string, Mark>): Promise<void> {
    const next = this.resumeAt();
    this.#stopping = true;
    this.#watch?.close();
    await this.#loop;
    if (this.failure !== undefined) return;
    for (const directory of marks.keys()) this.#stream(directory);
    for (const [timeline, stream] of this.#streams) {
      this.#flush(timeline, stream);
      const at = microseconds(nowMs());
      const name = this.#streamOf(timeline);
      const through = marks.get(timeline)?.revision ?? (next[timeline] ?? 1) - 1;
      this.#options.history.write({ type: 'events', stream: name, at, events: [], through });
    }
  }

  /** Ends it where the run broke off: nothing more is recorded. */
  abandon(): void {
    this.#stopping = true;
    this.#watch?.close();
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
      if (left !== 0) continue;
      // What it has received by now is still consumed; another watch goes on from there.
      this.#resumption = watch.resumeAt();
      watch.close();
    }
  }

  #take(event: WatchEvent): void {
    const isShards = this.#options.timelines === 'shards';
    const timeline = isShards ? event.shard : directoryOf(event.kv.keyText());
    const stream = this.#stream(timeline);
    const { modRevision } = event.kv;
    if (modRevision !== stream.revision) this.#flush(timeline, stream);
    stream.revision = modRevision;
    stream.value = event.type === 'put' ? event.kv.text() : '';
    stream.pending.push(eventOf(event));
    this.events += 1;
  }

  /** A directory is begun after every watcher: all of its history is due. */
  #stream(timeline: string): Stream {
    const known = this.#streams.get(timeline);
    if (known !== undefined) return known;
    const fresh = { pending: [], revision: 0, value: '' };
    this.#streams.set(timeline, fresh);
    this.#record(timeline, { created: 0 }, this.#startedAt);
    return fresh;
  }

  async #reopen(): Promise<Watch> {
    const resumption = this.#resumption;
    const standings = byShard(resumption);
    const isShards = this.#options.timelines === 'shards';
    for (const [timeline, stream] of this.#streams) {
      this.#flush(timeline, stream);
      const at = microseconds(nowMs());
      const name = this.#streamOf(timeline);
      this.#options.history.write({ type: 'watch-end', stream: name, at, code: 'closed' });
      const standing = isShards ? (standings[timeline] ?? 0) - 1 : stream.revision;
      stream.revision = Math.max(stream.revision, standing);
    }
    if (!this.#stopping) await pause(this.#options.awayMs ?? 0);
    const watch = await this.#open(resumption);
    if (this.#stopping) return watch;
    for (const [timeline, { revision }] of this.#streams) {
      this.#record(timeline, { startRevision: revision + 1 });
    }
    return watch;
  }

  async #open(revisions?: Readonly<Record<string, number>>): Promise<Watch> {
    const { client, prefix, prevKv, filters } = this.#options;
    const watch = await client.watch({ prefix }, { revisions, prevKv, filters });
    this.#watch = watch;
    if (this.#stopping) watch.close();
    return watch;
  }

  #record(
    timeline: string,
    from: { readonly created?: number; readonly startRevision?: number },
    at = microseconds(nowMs()),
  ): void {
    const { name, history } = this.#options;
    const { created, startRevision } = from;
    history.write({
      type: 'watch',
      stream: this.#streamOf(timeline),
      client: name,
      shard: timeline,
      at,
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

  #flush(timeline: string, stream: Stream): void {
    if (stream.pending.length === 0) return;
    const { history } = this.#options;
    const at = microseconds(nowMs());
    history.write({ type: 'events', stream: this.#streamOf(timeline), at, events: stream.pending });
    stream.pending = [];
  }

  #streamOf(timeline: string): string {
    return `${this.name}/${timeline}`;
  }
}

/** Places of a watch (`2:0-4095`) by their shard. */
function byShard(places: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const shards: Record<string, number> = {};
  for (const [place, next] of Object.entries(places)) {
    const [shard = ''] = place.split(':');
    shards[shard] = Math.min(shards[shard] ?? Number.POSITIVE_INFINITY, next);
  }
  return shards;
}

function eventOf({ type, kv, prevKv }: WatchEvent): RecordedEvent {
  if (type === 'delete') {
    const gone = { key: new Uint8Array(kv.key), modRevision: kv.modRevision };
    return { type, kv: gone, ...(prevKv === undefined ? {} : { prevKv: recorded(prevKv) }) };
  }
  return { type, kv: recorded(kv), ...(prevKv === undefined ? {} : { prevKv: recorded(prevKv) }) };
}
