import type { KeyValue, KvError, KvResponse } from '@kvorum/base';
import type { CommandResult, GetResult } from '@kvorum/replica';
import { FRAME, packFrame, plainError, type ResponseItem } from '@kvorum/wire';

const plainLease = (lease: bigint): number | bigint => (lease === 0n ? 0 : lease);

/** A frame is closed once it holds about so much: small enough for a reader, large enough to cost little. */
const FRAME_BYTES = 1_048_576;
/** Numbers and framing of an answer, or of a key with its value; also about what an error takes. */
const OVERHEAD_BYTES = 64;

const kvBytes = (kv: KeyValue | undefined): number =>
  kv === undefined ? 0 : kv.key.length + kv.value.length + OVERHEAD_BYTES;

function responseBytes(response: KvResponse): number {
  switch (response.op) {
    case 'range':
      return response.kvs.reduce((bytes, kv) => bytes + kvBytes(kv), OVERHEAD_BYTES);
    case 'put':
      return OVERHEAD_BYTES + kvBytes(response.prevKv);
    case 'delete-range':
      return response.prevKvs.reduce((bytes, kv) => bytes + kvBytes(kv), OVERHEAD_BYTES);
    case 'txn':
      return response.responses.reduce((bytes, one) => bytes + responseBytes(one), OVERHEAD_BYTES);
    case 'compact':
      return OVERHEAD_BYTES;
  }
}

/** An answer with about the bytes it takes on the wire. */
export interface SizedItem {
  readonly item: ResponseItem;
  readonly bytes: number;
}

/** `OK`, or the code of the error that it carries. */
export function codeOf({ item }: SizedItem): string {
  return item[1] === 2 ? String((item[2] as readonly unknown[])[0]) : 'OK';
}

/** The answer to a flat put. */
export function putItem(id: number, result: CommandResult): SizedItem {
  if (!result.ok) return errorItem(id, result.error);
  return { item: [id, 0, result.response.revision], bytes: OVERHEAD_BYTES };
}

/** The answer to a request in object form. */
export function requestItem(id: number, result: CommandResult): SizedItem {
  if (!result.ok) return errorItem(id, result.error);
  return { item: [id, 1, result.response], bytes: responseBytes(result.response) };
}

/** The answer to a flat get. */
export function getItem(id: number, result: GetResult): SizedItem {
  if (!result.ok) return errorItem(id, result.error);
  const kv: KeyValue | undefined = result.kv;
  if (kv === undefined) return { item: [id, 0, null], bytes: OVERHEAD_BYTES };
  const { value, createRevision, modRevision, version, lease } = kv;
  const { revision } = result;
  return {
    item: [id, 0, revision, value, createRevision, modRevision, version, plainLease(lease)],
    bytes: OVERHEAD_BYTES + value.length,
  };
}

export function errorItem(id: number, error: KvError): SizedItem {
  return { item: [id, 2, plainError(error)], bytes: OVERHEAD_BYTES + error.message.length };
}

/** The answers of one shard as frames of about {@link FRAME_BYTES}, each of at least one answer. */
function* framesOf(shard: string, items: readonly SizedItem[]): Generator<Uint8Array> {
  let taken: ResponseItem[] = [];
  let bytes = 0;
  for (const sized of items) {
    if (taken.length > 0 && bytes + sized.bytes > FRAME_BYTES) {
      yield packFrame([FRAME.responses, shard, taken]);
      taken = [];
      bytes = 0;
    }
    taken.push(sized.item);
    bytes += sized.bytes;
  }
  if (taken.length > 0) yield packFrame([FRAME.responses, shard, taken]);
}

/**
 * Collects the answers of one connection and sends those of one turn of the event loop together, in few frames per shard: a
 * thousand puts that a batch answered together cost one message. Whoever knows that no further answer can come flushes sooner.
 */
export class ResponseBatch {
  readonly #send: (frames: Iterable<Uint8Array>) => void;
  #byShard = new Map<string, SizedItem[]>();
  #scheduled = false;

  /** `send` is called once a turn, with all frames of the turn. */
  constructor(send: (frames: Iterable<Uint8Array>) => void) {
    this.#send = send;
  }

  add(shard: string, item: SizedItem): void {
    const items = this.#byShard.get(shard);
    if (items === undefined) this.#byShard.set(shard, [item]);
    else items.push(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#onTurnEnd);
  }

  /** Sends what there is, now. */
  flush(): void {
    if (this.#byShard.size === 0) return;
    const ready = this.#byShard;
    this.#byShard = new Map();
    this.#send(this.#frames(ready));
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  *#frames(ready: ReadonlyMap<string, readonly SizedItem[]>): Generator<Uint8Array> {
    for (const [shard, items] of ready) yield* framesOf(shard, items);
  }
}
