import { KvError, type Limits, type MemberId, type ShardId, type WatchRequest } from '@kvorum/base';
import type { Clock, PeerTransport, Rng } from '@kvorum/ports';
import type { ReplicaPort, WatchHandle, WatchSink } from '@kvorum/replica';
import { RemoteWatches } from './remote-watches.ts';

const RETRY_MS = 25;
const RETRY_MS_MAX = 400;

/** What the watch itself is told; every other error is one of the member that served it. */
const FINAL: ReadonlySet<string> = new Set([
  'KV_COMPACTED',
  'KV_INVALID_ARGUMENT',
  'KV_WRONG_SHARD',
  'KV_TOO_MANY_REQUESTS',
]);

export interface ShardWatchesParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits: Pick<Limits, 'requestTimeoutMs'>;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  /** This member's own replica. */
  readonly replica: (shard: string) => ReplicaPort | undefined;
  /** Other members that have, or should have, the shard; the leader first. */
  readonly holders: (shard: string) => readonly MemberId[];
  readonly nameOf: (member: MemberId) => string;
  /** Why this member serves nothing. */
  readonly refusal: () => KvError | undefined;
  /** Why the shard as a whole stands still. */
  readonly shardHalt: (shard: ShardId) => KvError | undefined;
}

/**
 * Watches of a shard, wherever its replicas are: at the own one, else at another member's. A watch whose replica is lost goes on at
 * another one from the revision after the last one it delivered.
 */
export class ShardWatches {
  readonly #parts: ShardWatchesParts;
  readonly #remote: RemoteWatches;

  constructor(parts: ShardWatchesParts) {
    this.#parts = parts;
    this.#remote = new RemoteWatches(parts);
  }

  /**
   * As of a replica. Ends with KV_COMPACTED, KV_INVALID_ARGUMENT, KV_WRONG_SHARD (its slots moved) or KV_TOO_MANY_REQUESTS; with
   * KV_UNAVAILABLE when no replica served it for `limits.requestTimeoutMs`; with the shard's halt; with this member's own stop.
   */
  watch(shard: ShardId, request: WatchRequest, sink: WatchSink): WatchHandle {
    const watch = new ShardWatch({ shard, request, sink }, this.#parts, this.#remote);
    watch.start();
    return watch;
  }
}

/** One watch, at one replica at a time. */
class ShardWatch implements WatchHandle {
  readonly #shard: ShardId;
  readonly #request: WatchRequest;
  readonly #sink: WatchSink;
  readonly #parts: ShardWatchesParts;
  readonly #remote: RemoteWatches;
  #handle: WatchHandle | undefined;
  /** Of the attempt at hand: what an earlier one still says counts nothing. */
  #attempt = 0;
  /** First revision not delivered; undefined = from now on. */
  #next: number | undefined;
  #created = false;
  /** The consumer had no room for what another member sent: opened anew when it has. */
  #held = false;
  #ended = false;
  /** Members tried since the watch last stood; undefined = this one. */
  #tried = new Set<MemberId | undefined>();
  #failingSinceMs: number | undefined;
  #delayMs = RETRY_MS;
  #cancelTimer = (): void => {};

  constructor(
    what: { readonly shard: ShardId; readonly request: WatchRequest; readonly sink: WatchSink },
    parts: ShardWatchesParts,
    remote: RemoteWatches,
  ) {
    const { shard, request, sink } = what;
    this.#shard = shard;
    this.#request = request;
    this.#sink = sink;
    this.#parts = parts;
    this.#remote = remote;
    const asked = request.startRevision ?? 0;
    if (asked !== 0) this.#next = asked;
  }

  start(): void {
    const { replica } = this.#parts;
    const own = this.#tried.has(undefined) ? undefined : replica(this.#shard);
    if (own !== undefined) {
      this.#open(undefined, (request, sink) => own.watch(request, sink));
      return;
    }
    const peer = this.#untried();
    if (peer === undefined) this.#failed(new KvError('KV_UNAVAILABLE', 'none can be reached'));
    else this.#open(peer, (request, sink) => this.#remote.open(peer, this.#shard, request, sink));
  }

  #untried(): MemberId | undefined {
    const { holders, peers } = this.#parts;
    return holders(this.#shard).find(
      (member) => !this.#tried.has(member) && peers.isReachable(member),
    );
  }

  #open(
    peer: MemberId | undefined,
    open: (request: WatchRequest, sink: WatchSink) => WatchHandle,
  ): void {
    this.#tried.add(peer);
    this.#attempt += 1;
    const attempt = this.#attempt;
    const request = { ...this.#request, startRevision: this.#next ?? 0 };
    const handle = open(request, this.#sinkOf(attempt, peer));
    if (this.#ended || attempt !== this.#attempt) handle.cancel();
    else this.#handle = handle;
  }

  #sinkOf(attempt: number, peer: MemberId | undefined): WatchSink {
    const isCurrent = (): boolean => attempt === this.#attempt && !this.#ended;
    return {
      created: (revision) => {
        if (!isCurrent()) return;
        this.#next ??= revision + 1;
        this.#tried = new Set([peer]);
        this.#failingSinceMs = undefined;
        this.#delayMs = RETRY_MS;
        if (this.#created) return;
        this.#created = true;
        this.#sink.created(revision);
      },
      events: (events, revision, bytes) => {
        if (!isCurrent()) return true;
        if (this.#sink.events(events, revision, bytes)) {
          this.#next = Math.max(this.#next ?? 0, revision + 1);
          return true;
        }
        if (peer === undefined) return false;
        // A mark of progress that finds no room is only skipped.
        if (events.length > 0) this.#hold();
        return events.length === 0;
      },
      cancelled: (error) => {
        if (!isCurrent()) return;
        this.#handle = undefined;
        if (FINAL.has(error.code)) this.#end(error);
        else this.#failed(error);
      },
    };
  }

  /** What the other member sent is dropped, and comes again from its disk. */
  #hold(): void {
    this.#attempt += 1;
    this.#handle = undefined;
    this.#held = true;
  }

  resume(): void {
    if (!this.#held) {
      this.#handle?.resume();
      return;
    }
    this.#held = false;
    this.#tried = new Set();
    this.start();
  }

  progress(): void {
    this.#handle?.progress();
  }

  cancel(): void {
    this.#ended = true;
    this.#cancelTimer();
    this.#handle?.cancel();
  }

  #failed(error: KvError): void {
    const verdict = this.#verdict(error);
    if (verdict !== undefined) {
      this.#end(verdict);
    } else if (this.#untried() !== undefined) {
      this.#later(0);
    } else {
      this.#tried = new Set();
      this.#later(this.#delayMs);
      this.#delayMs = Math.min(this.#delayMs * 2, RETRY_MS_MAX);
    }
  }

  /** Why there is no use in another attempt. */
  #verdict(error: KvError): KvError | undefined {
    const { clock, holders, limits, refusal, shardHalt } = this.#parts;
    const others = holders(this.#shard);
    if (refusal() !== undefined || others.length === 0) return error;
    const halt = shardHalt(this.#shard);
    if (halt !== undefined) return halt;
    this.#failingSinceMs ??= clock.nowMs();
    const isLate = clock.nowMs() - this.#failingSinceMs >= limits.requestTimeoutMs;
    return isLate && this.#untried() === undefined ? this.#nobody(error, others) : undefined;
  }

  #nobody(cause: KvError, others: readonly MemberId[]): KvError {
    const names = others.map((member) => this.#parts.nameOf(member));
    const where = `shard ${this.#shard}, which is on ${names.join(', ')}`;
    const text = `no member serves a watch of ${where}: ${cause.message}`;
    return new KvError('KV_UNAVAILABLE', text, { cause, details: { shard: this.#shard } });
  }

  #later(delayMs: number): void {
    this.#cancelTimer = this.#parts.clock.setTimer(delayMs, () => {
      if (!this.#ended) this.start();
    });
  }

  #end(error: KvError): void {
    this.#ended = true;
    this.#sink.cancelled(error);
  }
}
