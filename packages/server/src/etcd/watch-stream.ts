import { create } from '@bufbuild/protobuf';
import { errorSpec, isKvError, type KvError, type Revision } from '@kvorum/base';
import { isEmptyRange } from '@kvorum/mvcc';
import { shardsOfRange } from '@kvorum/shard';
import {
  type WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../host.ts';
import { MultiWatch, type MultiWatchBatch } from '../router/multi-watch.ts';
import { GrpcError } from './grpc-error.ts';
import { type HeaderMaker, headersOf, newestRevision } from './header.ts';
import { explained } from './kv-calls.ts';
import type { Outgoing } from './service.ts';
import { eventMessage, fragmentsOf, watchRequestOf } from './watch-messages.ts';

const COMPACTED = 'etcdserver: mvcc: required revision has been compacted';
const EMPTY_RANGE = 'mvcc: watcher range is empty';
const DUPLICATE_ID = 'mvcc: duplicate watch ID provided on the WatchStream';
const NO_ID = -1n;
/** etcd allows a response as much above `max-request-bytes` before it is cut into fragments. */
const OVERHEAD_BYTES = 512 * 1024;
/** About what a response without events takes. */
const ANSWER_BYTES = 64;

type Answer = Partial<Omit<WatchResponse, '$typeName' | '$unknown' | 'header'>>;

/** Between two questions for progress, for each watch that has to be asked; what comes meanwhile is asked together. */
const PROGRESS_MS = 0.05;
/** Requests without an answer, beyond which no more are read: more than a stream may have watches. */
const PROMISED_MAX = 16_384;
/** About what a watch takes beside its key and range end. */
const WATCH_BYTES = 1024;

const EMPTY: WatchResponse = create(WatchResponseSchema);

/** A watch of the stream. Until its `created` is sent it takes no events: they come later, from disk. */
interface OpenWatch {
  readonly id: bigint;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  readonly shards: readonly string[];
  /** What it takes for as long as it stands. */
  readonly heldBytes: number;
  multi: MultiWatch | undefined;
  /** While it is not announced. */
  promised: Promised | undefined;
  announced: boolean;
  /** It was refused events. */
  waits: boolean;
  /** When it was told anything last, on the member's monotonic clock. */
  toldMs: number;
  /** etcd keeps the id of a watch that it ended itself until the client cancels it. */
  ended: boolean;
}

type RangeToWatch = ReturnType<typeof watchRequestOf>;

/** What is said to a create request: answers go out in the order of the requests. */
interface Promised {
  readonly watch: OpenWatch | undefined;
  answers: readonly (readonly [answer: Answer, revision: number])[] | undefined;
}

/**
 * One stream of watches, in etcd's protocol. Events are never kept here: while the reader is slow every watch pauses and goes on from
 * disk when there is room again, so that a reader which takes nothing costs what is on its way to it and no more.
 *
 * Over several shards each has revisions of its own: the events of one come in its order, and a response has the revision of the
 * shard it is from. Progress is reported up to the smallest revision that all shards of the watch, or of all watches, have reached.
 */
export class WatchStream {
  readonly #host: Host;
  readonly #outgoing: Outgoing<WatchResponse>;
  readonly #headers: HeaderMaker;
  readonly #watches = new Map<bigint, OpenWatch>();
  readonly #promised: Promised[] = [];
  readonly #failed: (error: unknown) => void;
  readonly #holds: (change: number) => void;
  #nextId = 0n;
  /** Sent since the reader fell behind; `limits.watchBufferBytesMax` of it and one batch at most. */
  #pendingBytes = 0;
  #isBehind = false;
  #isOver = false;
  /** Watches that have not reported yet since the client asked for progress. */
  #asked = new Set<OpenWatch>();
  #askedRevision = Number.POSITIVE_INFINITY;
  /** How often the client asked, and asks again. */
  #askedTimes = 0;
  #progressWanted = 0;
  #mayAskMs = Number.NEGATIVE_INFINITY;
  #stopAsking: (() => void) | undefined;
  #roomComes: Promise<void> = Promise.resolve();
  #onAnswered: () => void = () => undefined;

  /**
   * @param failed - called once, when the stream as a whole cannot go on; its clients open it anew where they stood.
   * @param holds - told of the memory that watches take, bytes more or less.
   */
  constructor(
    host: Host,
    outgoing: Outgoing<WatchResponse>,
    failed: (error: unknown) => void,
    holds: (change: number) => void = () => undefined,
  ) {
    this.#host = host;
    this.#outgoing = outgoing;
    this.#headers = headersOf(host);
    this.#failed = failed;
    this.#holds = holds;
  }

  /** The shards of all open watches. */
  get shards(): ReadonlySet<string> {
    return new Set([...this.#watches.values()].flatMap(({ shards }) => shards));
  }

  /** Takes one request; resolves when there is room for more: who does not read may ask no more either. */
  async request({ requestUnion }: WatchRequest): Promise<void> {
    switch (requestUnion.case) {
      case 'createRequest':
        this.#create(requestUnion.value);
        break;
      case 'cancelRequest':
        this.#cancel(requestUnion.value.watchId);
        break;
      case 'progressRequest':
        this.#requestProgress();
        break;
      default:
    }
    if (this.#isFull) await this.#roomComes;
    // Answers that wait for a shard without a leader, or for its member: who asks on and on waits with them.
    while (this.#promised.length >= PROMISED_MAX && !this.#isOver) await this.#answerComes();
  }

  #answerComes(): Promise<void> {
    return new Promise((resolve) => {
      this.#onAnswered = resolve;
    });
  }

  close(): void {
    this.#isOver = true;
    this.#stopAsking?.();
    this.#onAnswered();
    for (const watch of this.#watches.values()) {
      watch.multi?.close();
      this.#forget(watch);
    }
  }

  #forget(watch: OpenWatch): void {
    if (this.#watches.delete(watch.id)) this.#holds(-watch.heldBytes);
  }

  #create(message: WatchCreateRequest): void {
    const request = watchRequestOf(message);
    const refusal = this.#refusalOf(message, request);
    if (refusal !== undefined) {
      const answer = { watchId: NO_ID, created: true, canceled: true, cancelReason: refusal };
      this.#promised.push({ watch: undefined, answers: [[answer, this.#revisionNow()]] });
      this.#keepPromises();
      return;
    }
    const watch: OpenWatch = {
      id: this.#idFor(message.watchId),
      fragment: message.fragment,
      progressNotify: message.progressNotify,
      shards: shardsOfRange(this.#host.map(), request.key, request.rangeEnd),
      heldBytes: request.key.length + (request.rangeEnd?.length ?? 0) + WATCH_BYTES,
      multi: undefined,
      promised: undefined,
      announced: false,
      waits: false,
      toldMs: this.#host.clock.nowMs(),
      ended: false,
    };
    const promised: Promised = { watch, answers: undefined };
    watch.promised = promised;
    this.#watches.set(watch.id, watch);
    this.#holds(watch.heldBytes);
    this.#promised.push(promised);
    try {
      watch.multi = new MultiWatch(this.#host, request, undefined, {
        created: (_token, revision) => this.#created(promised, revision),
        events: (batch) => this.#onEvents(watch, batch),
        progress: (revision) => this.#onProgress(watch, revision),
        cancelled: (error) => this.#onCancelled(watch, promised, error),
      });
    } catch (error) {
      if (!isKvError(error)) throw error;
      this.#onCancelled(watch, promised, error);
    }
  }

  /** Why there is no such watch, in etcd's order. */
  #refusalOf(
    { startRevision, watchId }: WatchCreateRequest,
    { key, rangeEnd }: RangeToWatch,
  ): string | undefined {
    if (startRevision < 0n) return COMPACTED;
    if (rangeEnd !== undefined && isEmptyRange(key, rangeEnd)) return EMPTY_RANGE;
    if (watchId !== 0n && this.#watches.has(watchId)) return DUPLICATE_ID;
    const limit = this.#host.limits.watchersPerStreamMax;
    return this.#watches.size < limit ? undefined : `kv: more than ${limit} watches on one stream`;
  }

  /** Chosen by the client, or the next one that is free. */
  #idFor(wanted: bigint): bigint {
    if (wanted !== 0n) return wanted;
    while (this.#watches.has(this.#nextId)) this.#nextId += 1n;
    this.#nextId += 1n;
    return this.#nextId - 1n;
  }

  #created(promised: Promised, revision: number): void {
    const { watch } = promised;
    if (watch === undefined || promised.answers !== undefined) return;
    promised.answers = [[{ watchId: watch.id, created: true }, revision]];
    this.#keepPromises();
  }

  /** Sends what is due, as far as everything before it has been sent. */
  #keepPromises(): void {
    for (let next = this.#promised[0]; next?.answers !== undefined; next = this.#promised[0]) {
      this.#promised.shift();
      for (const [answer, revision] of next.answers) this.#send(answer, revision);
      const { watch } = next;
      if (watch !== undefined) watch.promised = undefined;
      if (watch === undefined || watch.ended) continue;
      watch.announced = true;
      if (watch.waits && !this.#isFull) this.#resume(watch);
    }
    if (this.#promised.length < PROMISED_MAX) this.#onAnswered();
  }

  get #isFull(): boolean {
    return this.#pendingBytes >= this.#host.limits.watchBufferBytesMax;
  }

  #onEvents(watch: OpenWatch, { events, revision, shard, bytes }: MultiWatchBatch): boolean {
    watch.waits = !watch.announced || this.#isFull;
    if (watch.waits) return false;
    const answer = { watchId: watch.id, events: events.map(eventMessage) };
    const response = this.#response(answer, revision, shard);
    const bytesMax = this.#host.limits.requestBytesMax + OVERHEAD_BYTES;
    const parts = watch.fragment ? fragmentsOf(response, bytesMax) : [response];
    for (const part of parts) this.#put(part, bytes / parts.length);
    if (watch.progressNotify) watch.toldMs = this.#host.clock.nowMs();
    return true;
  }

  #requestProgress(): void {
    this.#progressWanted += 1;
    if (this.#stopAsking !== undefined) return;
    const { clock } = this.#host;
    const waitMs = this.#mayAskMs - clock.nowMs();
    if (waitMs <= 0) this.#askAll();
    else this.#stopAsking = clock.setTimer(waitMs, () => this.#askAll());
  }

  #askAll(): void {
    this.#stopAsking = undefined;
    this.#mayAskMs = this.#host.clock.nowMs() + this.#watches.size * PROGRESS_MS;
    const open = [...this.#watches.values()].filter(({ ended }) => !ended);
    this.#asked = new Set(open);
    this.#askedTimes = this.#progressWanted;
    this.#progressWanted = 0;
    this.#askedRevision = Number.POSITIVE_INFINITY;
    for (const { multi } of open) multi?.progress();
  }

  #onProgress(watch: OpenWatch, revision: Revision): void {
    if (!watch.announced || watch.ended) return;
    if (this.#asked.has(watch)) this.#reported(watch, revision);
    else if (watch.progressNotify && !this.#isFull) this.#notify(watch, revision);
  }

  /** The shards report more often than etcd's clients are told. */
  #notify(watch: OpenWatch, revision: Revision): void {
    const nowMs = this.#host.clock.nowMs();
    if (nowMs - watch.toldMs < this.#host.limits.watchProgressMs) return;
    watch.toldMs = nowMs;
    this.#send({ watchId: watch.id }, revision);
  }

  #reported(watch: OpenWatch, revision: number): void {
    this.#asked.delete(watch);
    this.#askedRevision = Math.min(this.#askedRevision, revision);
    if (this.#asked.size > 0) return;
    for (let i = 0; i < this.#askedTimes; i += 1) {
      this.#send({ watchId: NO_ID }, this.#askedRevision);
    }
  }

  /** While a watch had not caught up there was nothing to report: the client asks again. */
  #unasked(watch: OpenWatch): void {
    if (this.#asked.has(watch)) this.#asked.clear();
  }

  #cancel(id: bigint): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#forget(watch);
    watch.multi?.close();
    watch.multi = undefined;
    watch.ended = true;
    this.#unasked(watch);
    const answer: Answer = { watchId: id, canceled: true };
    const { promised } = watch;
    const now = this.#revisionNow(watch);
    if (promised === undefined) {
      this.#send(answer, now);
      return;
    }
    promised.answers = [
      ...(promised.answers ?? [[{ watchId: id, created: true }, now]]),
      [answer, now],
    ];
    this.#keepPromises();
  }

  #onCancelled(watch: OpenWatch, promised: Promised, error: KvError): void {
    if (this.#isOver || watch.ended) return;
    if (errorSpec(error.code).grpc === 'UNAVAILABLE') {
      this.#failed(error);
      return;
    }
    watch.ended = true;
    this.#unasked(watch);
    const { compactRevision } = error.details;
    const isCompacted = error.code === 'KV_COMPACTED' && compactRevision !== undefined;
    if (!isCompacted) this.#forget(watch);
    const last: Answer = isCompacted
      ? { watchId: watch.id, canceled: true, compactRevision: BigInt(compactRevision) }
      : { watchId: watch.id, canceled: true, cancelReason: reasonOf(error) };
    const at = isCompacted ? 0 : this.#revisionNow(watch);
    if (watch.announced) {
      this.#send(last, at);
      return;
    }
    const created: Answer = { watchId: watch.id, created: true };
    promised.answers = isCompacted
      ? [
          [created, this.#revisionNow(watch)],
          [last, at],
        ]
      : [[{ ...last, watchId: NO_ID, created: true }, at]];
    this.#keepPromises();
  }

  /** Of this member's replica of the shards concerned, for answers about no events. */
  #revisionNow(watch?: OpenWatch): number {
    return newestRevision(this.#host, watch?.shards);
  }

  #send(answer: Answer, revision: number): void {
    this.#put(this.#response(answer, revision, undefined), ANSWER_BYTES);
  }

  #response(answer: Answer, revision: number, shard: string | undefined): WatchResponse {
    const header = this.#headers({ revision, shard });
    // Written out: there is one for each watch and event, and copies of copies cost more than all the rest of it.
    return {
      $typeName: EMPTY.$typeName,
      header,
      watchId: answer.watchId ?? EMPTY.watchId,
      created: answer.created ?? false,
      canceled: answer.canceled ?? false,
      compactRevision: answer.compactRevision ?? EMPTY.compactRevision,
      cancelReason: answer.cancelReason ?? '',
      fragment: answer.fragment ?? false,
      events: answer.events ?? [],
    };
  }

  #put(response: WatchResponse, bytes: number): void {
    if (this.#isOver) return;
    if (!this.#outgoing.send(response)) this.#pendingBytes += bytes;
    if (this.#pendingBytes === 0 || this.#isBehind) return;
    this.#isBehind = true;
    this.#roomComes = this.#outgoing.drained().then(() => this.#onDrained());
  }

  #onDrained(): void {
    this.#isBehind = false;
    this.#pendingBytes = 0;
    for (const watch of this.#watches.values()) {
      if (this.#isFull) return;
      if (watch.waits && watch.announced) this.#resume(watch);
    }
  }

  #resume(watch: OpenWatch): void {
    watch.waits = false;
    watch.multi?.resume();
  }
}

/** As etcd writes the reason that has a status: clients show it. */
function reasonOf(error: KvError): string {
  const known = explained(error, false);
  if (known instanceof GrpcError) {
    return `rpc error: code = FailedPrecondition desc = ${known.message}`;
  }
  return error.message;
}
