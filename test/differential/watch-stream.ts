import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Client, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import {
  Watch,
  type WatchCreateRequest,
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Event } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { pathOf } from './methods.ts';
import { type Normal, type Numbers, normalForm } from './normal-form.ts';

/** How long an answer is waited for that must come, and one that may. */
const ANSWER_MS_MAX = 20_000;
const ENDED_MS_MAX = 100;
const PROGRESS_MS_MAX = 100;
const PROGRESS_REQUESTS = 3;
/** What the answer to a request for progress carries instead of a watch's id. */
const WHOLE_STREAM = -1n;

/** What one watch has been told, without how it was cut into responses. */
export interface Transcript {
  readonly entries: readonly Normal[];
  readonly events: number;
  readonly canceled: boolean;
}

interface OpenWatch {
  readonly entries: Normal[];
  events: number;
  lastRevision: bigint;
  /** Up to here it was told that it has heard everything. */
  progress: bigint;
  canceled: boolean;
}

/** One stream of watches, and everything that came on it. */
export class WatchStream {
  readonly #call: ClientDuplexStream<WatchRequest, WatchResponse>;
  readonly #numbers: Numbers;
  readonly #onEvents: (events: readonly Event[]) => void;
  readonly #watches = new Map<bigint, OpenWatch>();
  readonly #wholeStream: Normal[] = [];
  readonly #created: WatchResponse[] = [];
  /** Breaches of what holds for every stream, however it is cut: checked here because cuts are not compared. */
  readonly breaches: string[] = [];
  /** So often was a watch told by itself how far it is. */
  bookmarks = 0;
  #ended: Normal | undefined;
  #wake: (() => void)[] = [];

  /** @param onEvents - of every response with events, as they came. */
  constructor(client: Client, numbers: Numbers, onEvents: (events: readonly Event[]) => void) {
    this.#numbers = numbers;
    this.#onEvents = onEvents;
    const method = Watch.method.watch;
    this.#call = client.makeBidiStreamRequest(
      pathOf(method),
      (message: WatchRequest) => Buffer.from(toBinary(WatchRequestSchema, message)),
      (bytes: Buffer) => fromBinary(WatchResponseSchema, bytes),
    );
    this.#call.on('data', (response: WatchResponse) => this.#take(response));
    this.#call.on('error', ({ code, details }: ServiceError) => this.#end({ code, details }));
    this.#call.on('end', () => this.#end('ended'));
  }

  /** Creates a watch and answers the response that says so, or that it was refused. */
  async watch(request: WatchCreateRequest): Promise<Normal> {
    this.#send({ case: 'createRequest', value: request });
    await this.until(() => this.#created.length > 0);
    const response = this.#created.shift();
    return response === undefined ? this.#silence() : normalForm(response, this.#numbers);
  }

  /** Cancels a watch; waits for the confirmation when the watch runs, and whether there is one when compaction has ended it. */
  async cancel(watchId: bigint): Promise<void> {
    const watch = this.#watches.get(watchId);
    const before = watch?.entries.length ?? 0;
    const ms = watch?.canceled === true ? ENDED_MS_MAX : ANSWER_MS_MAX;
    this.#send({ case: 'cancelRequest', value: { watchId } });
    if (watch !== undefined) await this.until(() => watch.entries.length > before, ms);
  }

  /** The answer to a request for progress; etcd gives none while a watch of the stream has to catch up. */
  async progress(): Promise<Normal> {
    const before = this.#wholeStream.length;
    const answered = (): boolean => this.#wholeStream.length > before;
    for (let i = 0; i < PROGRESS_REQUESTS && !answered(); i += 1) {
      this.#send({ case: 'progressRequest', value: {} });
      await this.until(answered, PROGRESS_MS_MAX);
    }
    return this.#wholeStream[before] ?? this.#silence();
  }

  halfClose(): void {
    this.#call.end();
  }

  close(): void {
    this.#call.cancel();
  }

  transcript(watchId: bigint): Transcript {
    const watch = this.#watches.get(watchId);
    const entries: Normal[] = [...(watch?.entries ?? [])];
    if (this.#ended !== undefined) entries.push({ ended: this.#ended });
    return { entries, events: watch?.events ?? 0, canceled: watch?.canceled ?? true };
  }

  /** Waits until the watch was told so many events, and of its end where that is expected. */
  async heard(watchId: bigint, events: number, canceled: boolean): Promise<void> {
    await this.until(() => {
      const transcript = this.transcript(watchId);
      return transcript.events >= events && (transcript.canceled || !canceled);
    });
  }

  #send(requestUnion: WatchRequest['requestUnion'] | { case: string; value: object }): void {
    if (this.#ended !== undefined) return;
    this.#call.write(
      create(WatchRequestSchema, { requestUnion: requestUnion as WatchRequest['requestUnion'] }),
    );
  }

  #silence(): Normal {
    return this.#ended === undefined ? 'no answer' : { ended: this.#ended };
  }

  #end(how: Normal): void {
    this.#ended ??= how;
    this.#changed();
  }

  #take(response: WatchResponse): void {
    if (response.created) this.#takeCreated(response);
    else if (response.watchId === WHOLE_STREAM) {
      this.#wholeStream.push(normalForm(response, this.#numbers));
      for (const watch of this.#watches.values()) takeProgress(watch, response);
    } else this.#takeOf(response);
    this.#changed();
  }

  #takeCreated(response: WatchResponse): void {
    this.#created.push(response);
    if (response.watchId === WHOLE_STREAM) return;
    const nothing = { entries: [], events: 0, lastRevision: 0n, progress: 0n, canceled: false };
    this.#watches.set(response.watchId, nothing);
  }

  #takeOf(response: WatchResponse): void {
    const watch = this.#watches.get(response.watchId);
    if (watch === undefined) {
      this.breaches.push(`watch ${response.watchId} was told something before it was created`);
      return;
    }
    if (watch.canceled && !response.canceled) {
      this.breaches.push(`watch ${response.watchId} goes on after its end`);
    }
    if (response.events.length === 0 && !response.canceled) {
      this.bookmarks += 1;
      takeProgress(watch, response);
    }
    this.#checkEvents(watch, response);
    this.#onEvents(response.events);
    for (const event of response.events) watch.entries.push(normalForm(event, this.#numbers));
    watch.events += response.events.length;
    if (response.canceled) {
      watch.canceled = true;
      watch.entries.push(normalForm({ ...response, events: [] }, this.#numbers));
    }
  }

  /** Events in order, none of one revision in two responses, and never ahead of the header. */
  #checkEvents(watch: OpenWatch, response: WatchResponse): void {
    const { events, header, watchId } = response;
    const revisions = events.map(({ kv }) => kv?.modRevision ?? 0n);
    const [first] = revisions;
    const last = revisions.at(-1);
    if (first === undefined || last === undefined) return;
    const ordered = revisions.every((at, i) => i === 0 || at >= (revisions[i - 1] ?? 0n));
    if (!ordered) this.breaches.push(`events of watch ${watchId} are out of order`);
    if (first <= watch.lastRevision) {
      this.breaches.push(`watch ${watchId} was told of revision ${first} in two responses`);
    }
    if (first <= watch.progress) {
      this.breaches.push(
        `watch ${watchId}: event at ${first} after progress up to ${watch.progress}`,
      );
    }
    watch.lastRevision = response.fragment ? last - 1n : last;
    if ((header?.revision ?? 0n) < last) {
      this.breaches.push(`watch ${watchId}: header at ${header?.revision}, event at ${last}`);
    }
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const one of wake) one();
  }

  /** Waits until this holds, the stream has ended, or for so long. */
  async until(done: () => boolean, ms = ANSWER_MS_MAX): Promise<void> {
    const untilMs = performance.now() + ms;
    while (!done() && this.#ended === undefined) {
      const left = untilMs - performance.now();
      if (left <= 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}

/** Everything up to the revision of this response has been told. Those that compaction has ended are told nothing more. */
function takeProgress(watch: OpenWatch, { header }: WatchResponse): void {
  if (header !== undefined && header.revision > watch.progress) watch.progress = header.revision;
}
