import type { KeyValue, KvError } from '@kvorum/base';
import type { CommandResult, GetResult } from '@kvorum/replica';
import { FRAME, packFrame, plainError, type ResponseItem } from '@kvorum/wire';

const plainLease = (lease: bigint): number | bigint => (lease === 0n ? 0 : lease);

/** The answer to a flat put. */
export function putItem(id: number, result: CommandResult): ResponseItem {
  return result.ok ? [id, 0, result.response.revision] : [id, 2, plainError(result.error)];
}

/** The answer to a request in object form. */
export function requestItem(id: number, result: CommandResult): ResponseItem {
  return result.ok ? [id, 1, result.response] : [id, 2, plainError(result.error)];
}

/** The answer to a flat get. */
export function getItem(id: number, result: GetResult): ResponseItem {
  if (!result.ok) return [id, 2, plainError(result.error)];
  const kv: KeyValue | undefined = result.kv;
  if (kv === undefined) return [id, 0, null];
  const { value, createRevision, modRevision, version, lease } = kv;
  return [id, 0, result.revision, value, createRevision, modRevision, version, plainLease(lease)];
}

export function errorItem(id: number, error: KvError): ResponseItem {
  return [id, 2, plainError(error)];
}

/**
 * Collects the answers of one connection and sends those of one turn of the event loop as one frame per shard: a thousand puts
 * that a batch answered together cost one message.
 */
export class ResponseBatch {
  readonly #send: (bytes: Uint8Array) => void;
  #byShard = new Map<string, ResponseItem[]>();
  #scheduled = false;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  add(shard: string, item: ResponseItem): void {
    const items = this.#byShard.get(shard);
    if (items === undefined) this.#byShard.set(shard, [item]);
    else items.push(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    const ready = this.#byShard;
    this.#byShard = new Map();
    for (const [shard, items] of ready) this.#send(packFrame([FRAME.responses, shard, items]));
  };
}
