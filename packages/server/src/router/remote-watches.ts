import {
  isKvError,
  KvError,
  type MemberId,
  revision,
  type WatchEvent,
  type WatchRequest,
} from '@kvorum/base';
import type { PeerTransport, Rng } from '@kvorum/ports';
import type { WatchHandle, WatchSink } from '@kvorum/replica';
import { errorFromPlain } from '@kvorum/wire';
import { POLL_MS } from './served-watches.ts';
import { parseWatchItems, type WatchItem } from './watch-messages.ts';

/** Over the time a poll waits at the other member. */
const GRACE_MS = 2000;
const LINK_NAME_BYTES = 8;

interface RemoteWatch {
  readonly sink: WatchSink;
  /** Parts of a batch that is not whole yet. */
  parts: readonly WatchEvent[];
}

export interface RemoteWatchesParts {
  readonly peers: Pick<PeerTransport, 'request'>;
  readonly rng: Rng;
}

/** The watches from here at one other member, as long as nothing of them is lost. */
class WatchLink {
  readonly #parts: RemoteWatchesParts;
  readonly #peer: MemberId;
  readonly #name: string;
  readonly #watches = new Map<number, RemoteWatch>();
  readonly #ended: () => void;
  #lastId = 0;
  #polling = false;
  #isOver = false;

  constructor(peer: MemberId, parts: RemoteWatchesParts, ended: () => void) {
    this.#peer = peer;
    this.#parts = parts;
    this.#ended = ended;
    this.#name = Buffer.from(parts.rng.bytes(LINK_NAME_BYTES)).toString('hex');
  }

  open(shard: string, request: WatchRequest, sink: WatchSink): WatchHandle {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#watches.set(id, { sink, parts: [] });
    const message = { kind: 'watch-open', link: this.#name, first: id === 1, id, shard, request };
    this.#ask(message).then(
      (answer) => this.#onOpened(id, answer),
      (error: unknown) => this.#onLost(error),
    );
    if (!this.#polling) void this.#poll();
    return {
      resume: () => undefined,
      progress: () => this.#progress(id),
      cancel: () => this.#cancel(id),
    };
  }

  #ask(message: object): Promise<unknown> {
    const signal = AbortSignal.timeout(POLL_MS + GRACE_MS);
    return this.#parts.peers.request(this.#peer, message, { signal });
  }

  #onOpened(id: number, answer: unknown): void {
    if (typeof answer !== 'object' || answer === null || !('error' in answer)) return;
    const watch = this.#watches.get(id);
    this.#watches.delete(id);
    watch?.sink.cancelled(errorFromPlain(answer.error));
  }

  async #poll(): Promise<void> {
    this.#polling = true;
    try {
      while (this.#watches.size > 0 && !this.#isOver) {
        const items = parseWatchItems(await this.#ask({ kind: 'watch-poll', link: this.#name }));
        if (!items.ok) throw items.error;
        for (const item of items.value) this.#onItem(item);
      }
      this.#polling = false;
      this.#over();
    } catch (error) {
      this.#onLost(error);
    }
  }

  #onItem(item: WatchItem): void {
    const watch = this.#watches.get(item.id);
    if (watch === undefined) return; // cancelled here; what is on its way counts nothing
    if (item.kind === 'created') watch.sink.created(revision(item.revision));
    else if (item.kind === 'part') watch.parts = [...watch.parts, ...item.events];
    else if (item.kind === 'cancelled') {
      this.#watches.delete(item.id);
      watch.sink.cancelled(item.error);
    } else {
      const events = watch.parts.length === 0 ? item.events : [...watch.parts, ...item.events];
      watch.parts = [];
      // Nothing is kept for a consumer without room: whoever opened the watch opens it anew, from disk.
      if (!watch.sink.events(events, revision(item.revision), item.bytes)) this.#cancel(item.id);
    }
  }

  #cancel(id: number): void {
    if (!this.#watches.delete(id) || this.#isOver) return;
    this.#ask({ kind: 'watch-cancel', link: this.#name, id }).catch((error: unknown) =>
      this.#onLost(error),
    );
  }

  /** Its answer comes among the events. A member of an older version knows no such question: then none comes. */
  #progress(id: number): void {
    if (this.#isOver || !this.#watches.has(id)) return;
    this.#ask({ kind: 'watch-progress', link: this.#name, id }).catch(() => undefined);
  }

  /** An answer that does not come may have held events. */
  #onLost(cause: unknown): void {
    this.#over();
    const text = cause instanceof Error ? cause.message : String(cause);
    const code = isKvError(cause) ? cause.code : 'KV_UNAVAILABLE';
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const { sink } of watches) {
      // A code of the way there, such as a full queue, says nothing about the watch.
      sink.cancelled(new KvError('KV_UNAVAILABLE', `${code}: ${text}`, { cause }));
    }
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#ended();
  }
}

/** Watches at other members. */
export class RemoteWatches {
  readonly #parts: RemoteWatchesParts;
  readonly #links = new Map<MemberId, WatchLink>();

  constructor(parts: RemoteWatchesParts) {
    this.#parts = parts;
  }

  /**
   * Opens one at a member. As with a replica's: `cancelled` is the last call. When `events` returns false the watch is over without a
   * word. KV_UNAVAILABLE = the member was lost, or does not have it any more.
   */
  open(peer: MemberId, shard: string, request: WatchRequest, sink: WatchSink): WatchHandle {
    let link = this.#links.get(peer);
    if (link === undefined) {
      const made = new WatchLink(peer, this.#parts, () => {
        if (this.#links.get(peer) === made) this.#links.delete(peer);
      });
      this.#links.set(peer, made);
      link = made;
    }
    return link.open(shard, request, sink);
  }
}
