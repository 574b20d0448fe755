import { create, type Message } from '@bufbuild/protobuf';
import {
  CompactionRequestSchema,
  CompareSchema,
  PutRequestSchema,
  RangeRequestSchema,
  type RangeResponse,
  RequestOpSchema,
  TxnRequestSchema,
  type TxnResponse,
  WatchCreateRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  type Event,
  Event_EventType as EventType,
  type KeyValue,
} from '@kvorum/wire/gen/mvccpb/kv_pb';
import type { MethodName } from '../differential/methods.ts';
import type { Subject } from '../differential/subject.ts';

export interface KubernetesOptions {
  readonly objects: number;
  /** Guaranteed updates, over objects that several writers want at once. */
  readonly updates: number;
  readonly compactEveryMs: number;
  /** The store tells a quiet watch how far it is within seconds. */
  readonly bookmarks: boolean;
}

/** What was done, for people; what went wrong is thrown. */
export interface KubernetesReport {
  readonly conflicts: number;
  readonly lists: number;
  readonly pages: number;
  readonly listsBegunAnew: number;
  readonly compactions: number;
  readonly events: number;
}

const WRITERS = 32;
/** Fewer objects than writers change them: they meet. */
const SHARED = 20;
const PAGE = 500n;
const PREFIX = Buffer.from('/registry/pods/');
const PREFIX_END = Buffer.from('/registry/pods0');
const FAILED_PRECONDITION = 9;
const OUT_OF_RANGE = 11;
const BOOKMARK_MS_MAX = 30_000;
const MOD = 2;

/**
 * What an API server of Kubernetes does with its store: objects are created by a txn on mod_revision 0, changed by guaranteed updates,
 * listed in pages at one revision, watched from that list on with requests for progress, and compacted behind everybody's back.
 */
export class KubernetesLoad {
  readonly #store: Subject;
  readonly #options: KubernetesOptions;
  readonly #seen = new Map<string, bigint>();
  #events = 0;
  #lastEvent = 0n;
  #conflicts = 0;
  #lists = 0;
  #pages = 0;
  #begunAnew = 0;
  #compactions = 0;
  #busy = true;

  constructor(store: Subject, options: KubernetesOptions) {
    this.#store = store;
    this.#options = options;
  }

  async run(): Promise<KubernetesReport> {
    const { objects, updates } = this.#options;
    const { revision: begun } = await this.#list();
    const stream = this.#store.openStream((events) => this.#watched(events));
    const startRevision = begun + 1n;
    const watched = { key: PREFIX, rangeEnd: PREFIX_END, startRevision, progressNotify: true };
    await stream.watch(create(WatchCreateRequestSchema, watched));
    const others = [this.#compact(), this.#listAlways()];
    await inParallel(objects, (i) => this.#create(i));
    await inParallel(updates, (i) => this.#update(i % SHARED));
    this.#busy = false;
    await Promise.all(others);
    const { kvs, revision } = await this.#list();
    this.#checkCounts(kvs, updates);
    // The store holds nothing else: the newest revision is an event's.
    await stream.until(() => this.#lastEvent >= revision, 30_000);
    this.#checkWatch(kvs);
    if ((await stream.progress()) === 'no answer') throw new Error('no progress when asked for');
    if (this.#options.bookmarks) {
      // Nothing happens any more, and the watch wants to know.
      const { bookmarks } = stream;
      await stream.until(() => stream.bookmarks > bookmarks, BOOKMARK_MS_MAX);
      if (stream.bookmarks === bookmarks) throw new Error('no bookmark');
    }
    if (stream.breaches.length > 0) throw new Error(stream.breaches.join('; '));
    stream.close();
    return {
      conflicts: this.#conflicts,
      lists: this.#lists,
      pages: this.#pages,
      listsBegunAnew: this.#begunAnew,
      compactions: this.#compactions,
      events: this.#events,
    };
  }

  async #create(i: number): Promise<void> {
    const { succeeded } = await this.#putAt(keyOf(i), 0n, 0);
    if (!succeeded) throw new Error(`${keyOf(i).toString()} was there before it was created`);
    if ((await this.#putAt(keyOf(i), 0n, 0)).succeeded) throw new Error('created twice');
  }

  /** Reads, changes, writes if nobody did meanwhile, else with what the failed txn has read. */
  async #update(i: number): Promise<void> {
    const key = keyOf(i);
    let [found] = (
      (await this.#must('range', create(RangeRequestSchema, { key }))) as RangeResponse
    ).kvs;
    for (;;) {
      if (found === undefined) throw new Error(`${key.toString()} is gone`);
      const count = Number(Buffer.from(found.value).toString()) + 1;
      const { succeeded, responses } = await this.#putAt(key, found.modRevision, count);
      if (succeeded) return;
      this.#conflicts += 1;
      const [first] = responses;
      if (first?.response.case !== 'responseRange') throw new Error('the failed txn read nothing');
      [found] = first.response.value.kvs;
    }
  }

  async #putAt(key: Buffer, modRevision: bigint, count: number): Promise<TxnResponse> {
    const value = Buffer.from(String(count));
    const put = create(PutRequestSchema, { key, value });
    const get = create(RangeRequestSchema, { key });
    const request = create(TxnRequestSchema, {
      compare: [
        create(CompareSchema, {
          target: MOD,
          key,
          targetUnion: { case: 'modRevision', value: modRevision },
        }),
      ],
      success: [create(RequestOpSchema, { request: { case: 'requestPut', value: put } })],
      failure: [create(RequestOpSchema, { request: { case: 'requestRange', value: get } })],
    });
    return (await this.#must('txn', request)) as TxnResponse;
  }

  async #listAlways(): Promise<void> {
    while (this.#busy) {
      const before = this.#lists;
      await this.#list();
      if (this.#lists === before) throw new Error('a list that was none');
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /** All pages at the revision of the first; from the start when that is compacted meanwhile, as API servers do. */
  async #list(): Promise<{ readonly revision: bigint; readonly kvs: readonly KeyValue[] }> {
    for (;;) {
      const listed = await this.#pagesOf();
      this.#lists += 1;
      if (listed !== undefined) return listed;
      this.#begunAnew += 1;
    }
  }

  async #pagesOf(): Promise<{ revision: bigint; kvs: KeyValue[] } | undefined> {
    const kvs: KeyValue[] = [];
    let revision = 0n;
    let key = PREFIX;
    for (;;) {
      const page = { key, rangeEnd: PREFIX_END, limit: PAGE, revision };
      const answer = await this.#store.call('range', create(RangeRequestSchema, page));
      if (!answer.ok && answer.code === OUT_OF_RANGE) return undefined;
      if (!answer.ok) throw new Error(`list: ${answer.code} ${answer.text}`);
      const response = answer.message as RangeResponse;
      this.#pages += 1;
      if (revision === 0n) revision = response.header?.revision ?? 0n;
      kvs.push(...response.kvs);
      if (response.kvs.some((kv) => kv.modRevision > revision)) throw new Error('a later page');
      if (!response.more) return { revision, kvs };
      key = Buffer.concat([kvs.at(-1)?.key ?? PREFIX, Buffer.from([0])]);
    }
  }

  async #compact(): Promise<void> {
    while (this.#busy) {
      const one = create(RangeRequestSchema, { key: PREFIX, limit: 1n });
      const { header } = (await this.#must('range', one)) as RangeResponse;
      await new Promise((done) => setTimeout(done, this.#options.compactEveryMs));
      const revision = header?.revision ?? 0n;
      const answer = await this.#store.call(
        'compact',
        create(CompactionRequestSchema, { revision }),
      );
      if (answer.ok) this.#compactions += 1;
      // Over several shards the store does it by itself.
      else if (answer.code === FAILED_PRECONDITION) return;
      else if (answer.code !== OUT_OF_RANGE) throw new Error(`compact: ${answer.text}`);
    }
  }

  #watched(events: readonly Event[]): void {
    for (const { type, kv } of events) {
      if (kv === undefined || type !== EventType.PUT) throw new Error('nothing is deleted here');
      this.#events += 1;
      this.#lastEvent = kv.modRevision;
      this.#seen.set(Buffer.from(kv.key).toString(), kv.modRevision);
    }
  }

  #checkCounts(kvs: readonly KeyValue[], updates: number): void {
    const { objects } = this.#options;
    if (kvs.length !== objects) throw new Error(`${kvs.length} of ${objects} objects are listed`);
    const sum = kvs.reduce((all, { value }) => all + Number(Buffer.from(value).toString()), 0);
    if (sum !== updates) throw new Error(`${sum} of ${updates} updates are there`);
  }

  /** What the watch told is what the list shows. */
  #checkWatch(kvs: readonly KeyValue[]): void {
    const { objects, updates } = this.#options;
    if (this.#events !== objects + updates) {
      throw new Error(`${this.#events} events of ${objects + updates}`);
    }
    for (const { key, modRevision } of kvs) {
      const name = Buffer.from(key).toString();
      if (this.#seen.get(name) !== modRevision) throw new Error(`the watch missed ${name}`);
    }
  }

  async #must(method: MethodName, request: Message): Promise<Message> {
    const answer = await this.#store.call(method, request);
    if (answer.ok) return answer.message;
    throw new Error(`${method}: ${answer.code} ${answer.text}`);
  }
}

const keyOf = (i: number): Buffer =>
  Buffer.from(`/registry/pods/ns-${i % 7}/pod-${String(i).padStart(6, '0')}`);

/** Runs `work` for 0 to count-1, so many at a time. */
async function inParallel(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await work(next - 1);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, worker));
}
