import { formatId, KvError, type MemberId, type Revision, type WatchEvent } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { ReplicaPort, WatchHandle, WatchSink } from '@kvorum/replica';
import { plainError } from '@kvorum/wire';
import { encodeWatchItems, type WatchItem, type WatchMessage } from './watch-messages.ts';

/** A poll that finds nothing waits for so long. */
export const POLL_MS = 5000;
/** An asker that does not poll for so long is gone. */
const ABANDONED_MS = 15_000;
/** About how much one answer carries. */
const ANSWER_BYTES = 1024 * 1024;
/** Of one watch; it goes on from disk when they are taken. */
const WATCH_BYTES_MAX = 1024 * 1024;
const ITEM_BYTES = 64;

interface ServedWatch {
  handle: WatchHandle | undefined;
  queuedBytes: number;
  /** It was refused events and waits for room. */
  refused: boolean;
}

interface Queued {
  readonly item: WatchItem;
  readonly bytes: number;
}

function bytesOf({ kv, prevKv }: WatchEvent): number {
  const prev = prevKv === undefined ? 0 : prevKv.key.length + prevKv.value.length;
  return ITEM_BYTES + kv.key.length + kv.value.length + prev;
}

/** A batch as items that each fit an answer, however large it is. */
function* piecesOf(
  id: number,
  events: readonly WatchEvent[],
  revision: Revision,
): Iterable<Queued> {
  let part: WatchEvent[] = [];
  let bytes = ITEM_BYTES;
  for (const event of events) {
    const more = bytesOf(event);
    if (part.length > 0 && bytes + more > ANSWER_BYTES) {
      yield { item: { kind: 'part', id, events: part }, bytes };
      part = [];
      bytes = ITEM_BYTES;
    }
    part.push(event);
    bytes += more;
  }
  yield { item: { kind: 'events', id, events: part, revision, bytes }, bytes };
}

/** All watches of one asking member here. Holds `bytesMax` and one batch at most; what finds no room comes from disk later. */
class ServedLink {
  readonly name: string;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #watches = new Map<number, ServedWatch>();
  readonly #abandoned: () => void;
  #queue: Queued[] = [];
  #bytes = 0;
  #answer: ((items: readonly WatchItem[]) => void) | undefined;
  #cancelTimer = (): void => {};
  #flushing = false;

  constructor(name: string, clock: Clock, bytesMax: number, abandoned: () => void) {
    this.name = name;
    this.#clock = clock;
    this.#bytesMax = bytesMax;
    this.#abandoned = abandoned;
    this.#awaitPoll();
  }

  get count(): number {
    return this.#watches.size;
  }

  open(message: WatchMessage & { readonly kind: 'watch-open' }, replica: ReplicaPort): void {
    const { id, request } = message;
    const watch: ServedWatch = { handle: undefined, queuedBytes: 0, refused: false };
    this.#watches.set(id, watch);
    watch.handle = replica.watch(request, this.#sink(id, watch));
    if (this.#watches.get(id) !== watch) watch.handle.cancel();
  }

  #sink(id: number, watch: ServedWatch): WatchSink {
    return {
      created: (revision) => this.#push({ kind: 'created', id, revision }),
      events: (events, revision) => {
        watch.refused = watch.queuedBytes >= WATCH_BYTES_MAX || this.#bytes >= this.#bytesMax;
        if (watch.refused) return false;
        for (const piece of piecesOf(id, events, revision)) this.#queued(piece, watch);
        return true;
      },
      cancelled: (error) => {
        this.#watches.delete(id);
        this.#push({ kind: 'cancelled', id, error });
      },
    };
  }

  /** The asker's consumer is gone, or reads too slowly: it comes back then from where it stood. */
  cancel(id: number): void {
    const watch = this.#watches.get(id);
    this.#watches.delete(id);
    watch?.handle?.cancel();
    this.#queue = this.#queue.filter(({ item, bytes }) => {
      if (item.id === id) this.#bytes -= bytes;
      return item.id !== id;
    });
    this.#resumeRefused();
  }

  progress(id: number): void {
    this.#watches.get(id)?.handle?.progress();
  }

  poll(): Promise<readonly WatchItem[]> {
    this.#reply([]); // one at a time: an earlier one is no longer waited for
    this.#cancelTimer();
    return new Promise((resolve) => {
      this.#answer = resolve;
      if (this.#queue.length > 0) this.#flush();
      else this.#cancelTimer = this.#clock.setTimer(POLL_MS, () => this.#reply([]));
    });
  }

  close(): void {
    this.#cancelTimer();
    for (const { handle } of this.#watches.values()) handle?.cancel();
    this.#watches.clear();
    this.#queue = [];
    this.#answer?.([]);
    this.#answer = undefined;
  }

  #push(item: WatchItem): void {
    this.#queued({ item, bytes: ITEM_BYTES }, this.#watches.get(item.id));
  }

  #queued(piece: Queued, watch: ServedWatch | undefined): void {
    this.#queue.push(piece);
    this.#bytes += piece.bytes;
    if (watch !== undefined) watch.queuedBytes += piece.bytes;
    if (this.#answer === undefined || this.#flushing) return;
    // What one applied record tells many watches travels together.
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#answer === undefined || this.#queue.length === 0) return;
    const items: WatchItem[] = [];
    let taken = 0;
    for (const { item, bytes } of this.#queue) {
      if (items.length > 0 && taken + bytes > ANSWER_BYTES) break;
      items.push(item);
      taken += bytes;
      const watch = this.#watches.get(item.id);
      if (watch !== undefined) watch.queuedBytes -= bytes;
    }
    this.#queue = this.#queue.slice(items.length);
    this.#bytes -= taken;
    this.#reply(items);
    this.#resumeRefused();
  }

  #resumeRefused(): void {
    for (const watch of this.#watches.values()) {
      if (!watch.refused || watch.queuedBytes > 0 || this.#bytes >= this.#bytesMax) continue;
      watch.refused = false;
      watch.handle?.resume();
    }
  }

  #reply(items: readonly WatchItem[]): void {
    const answer = this.#answer;
    if (answer === undefined) return;
    this.#answer = undefined;
    this.#awaitPoll();
    answer(items);
  }

  #awaitPoll(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.setTimer(ABANDONED_MS, this.#abandoned);
  }
}

export interface ServedWatchesParts {
  readonly clock: Clock;
  /** `limits.watchBufferBytesMax`: of each asking member. */
  readonly bytesMax: number;
  readonly replica: (shard: string) => ReplicaPort | undefined;
}

/** The watches that other members forward here, one link each. */
export class ServedWatches {
  readonly #parts: ServedWatchesParts;
  readonly #links = new Map<MemberId, ServedLink>();

  constructor(parts: ServedWatchesParts) {
    this.#parts = parts;
  }

  /** How many there are. */
  get count(): number {
    return [...this.#links.values()].reduce((sum, link) => sum + link.count, 0);
  }

  /** Answers a message of another member, as plain data. */
  async serve(from: MemberId, message: WatchMessage): Promise<unknown> {
    const link = this.#linkOf(from, message);
    if (link === undefined) {
      const text = `the watches of member ${formatId(from)} are not known here any more`;
      return { error: plainError(new KvError('KV_UNAVAILABLE', text)) };
    }
    if (message.kind === 'watch-poll') return encodeWatchItems(await link.poll());
    if (message.kind === 'watch-cancel') link.cancel(message.id);
    else if (message.kind === 'watch-progress') link.progress(message.id);
    else return this.#open(link, message);
    return {};
  }

  #open(link: ServedLink, message: WatchMessage & { readonly kind: 'watch-open' }): unknown {
    const { shard } = message;
    const replica = this.#parts.replica(shard);
    if (replica !== undefined) {
      link.open(message, replica);
      return {};
    }
    const error = new KvError('KV_NOT_LEADER', `no replica of shard ${shard} is here`, {
      details: { shard },
    });
    return { error: plainError(error) };
  }

  #linkOf(from: MemberId, message: WatchMessage): ServedLink | undefined {
    const known = this.#links.get(from);
    if (known?.name === message.link) return known;
    if (message.kind !== 'watch-open' || !message.first) return undefined;
    known?.close();
    const { clock, bytesMax } = this.#parts;
    const link = new ServedLink(message.link, clock, bytesMax, () => {
      link.close();
      if (this.#links.get(from) === link) this.#links.delete(from);
    });
    this.#links.set(from, link);
    return link;
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }
}
