import {
  concatBytes,
  errorSpec,
  isKvError,
  type KeyValue,
  leaseId,
  prefixEnd,
  type RangeRequest,
  utf8,
  type WatchEvent,
} from '@kvorum/base';
import type { WatchHandle } from '@kvorum/replica';
import { slotOf } from '@kvorum/shard';
import type { Host } from '../host.ts';
import { GrpcError } from './grpc-error.ts';
import type { ResponseHeader } from './header.ts';
import { type Answered, KvCalls } from './kv-calls.ts';
import { deadlineOf } from './route-options.ts';
import type { Call } from './service.ts';

/** Of a lease that is made for a caller who has none, as clients' sessions have. */
const SESSION_TTL_SECONDS = 60;

/** A key with the revision of the reading. */
export interface Standing {
  readonly kv: KeyValue | undefined;
  readonly header: ResponseHeader;
}

/** What a watch found: `done` ends it. */
type Verdict = 'done' | 'more';

/**
 * What etcd's Lock and Election services do, over plain requests: waiters are keys `name/<lease>` of one directory, and the one created
 * first has its turn. The keys of a directory lie in one shard, whose revisions order them.
 * Source: etcd client/v3/concurrency (mutex.go, election.go, key.go).
 */
export class Recipes {
  readonly #host: Host;
  readonly #calls: KvCalls;
  readonly #call: Call;

  constructor(host: Host, call: Call) {
    this.#host = host;
    this.#calls = new KvCalls(host);
    this.#call = call;
  }

  /** The caller's lease, or one of a minute that nobody keeps alive. */
  async session(lease: bigint): Promise<bigint> {
    if (lease !== 0n) return lease;
    const asked = { id: leaseId(0n), ttlSeconds: SESSION_TTL_SECONDS };
    const { id } = await this.#host.leases.grant(asked, deadlineOf(this.#host, this.#call));
    return id;
  }

  run<Request extends Parameters<KvCalls['run']>[0]>(request: Request): Promise<Answered<Request>> {
    return this.#calls.run(request, this.#call);
  }

  /** What has to be done even though the caller has gone. */
  async cleanUp<Request extends Parameters<KvCalls['run']>[0]>(request: Request): Promise<void> {
    const { metadata } = this.#call;
    const signal = new AbortController().signal;
    await this.#calls.run(request, { metadata, deadlineMs: undefined, signal }).catch((error) => {
      if (!isKvError(error) && !(error instanceof GrpcError)) throw error;
      this.#host.logger.warn({ error: error.message }, 'a waiter that gave up left its key behind');
    });
  }

  /** The oldest key of a directory. */
  async first(directory: Uint8Array): Promise<Standing> {
    const { response, header } = await this.run(firstOf(directory));
    return { kv: response.kvs[0], header };
  }

  /** Resolves when no key of the directory is left that was created at or before a revision. */
  async waitUntilFirst(directory: Uint8Array, maxCreateRevision: number): Promise<void> {
    const last = { ...firstOf(directory), sortOrder: 'descend', maxCreateRevision } as const;
    for (;;) {
      const { response, header } = await this.run(last);
      const [kv] = response.kvs;
      if (kv === undefined) return;
      await this.watch({ key: kv.key, startRevision: Number(header.revision) }, (events) =>
        events.some(({ type }) => type === 'delete') ? 'done' : 'more',
      );
    }
  }

  /**
   * Watches one key, or what lies directly in a directory, in the shard of it. Resolves when `take` says so, or when the slots have
   * moved elsewhere and the reading must begin anew. Errors: CANCELLED when the caller goes away; what ends the watch.
   *
   * @param take - is given events only while the one before has been dealt with.
   */
  watch(
    range: {
      readonly key: Uint8Array;
      readonly isDirectory?: boolean;
      readonly startRevision: number;
    },
    take: (events: readonly WatchEvent[]) => Verdict | Promise<Verdict>,
  ): Promise<void> {
    const { key, isDirectory = false, startRevision } = range;
    const { rules } = this.#host.map();
    const slot = slotOf(key, rules);
    const request = isDirectory
      ? { key, rangeEnd: prefixEnd(key), startRevision, slots: [[slot, slot]] as const }
      : { key, startRevision };
    const { signal } = this.#call;
    return new Promise((resolve, reject) => {
      let handle: WatchHandle | undefined;
      let isBusy = false;
      let isOver = false;
      const end = (settle: () => void): void => {
        isOver = true;
        signal.removeEventListener('abort', gone);
        handle?.cancel();
        settle();
      };
      const gone = (): void =>
        end(() => reject(new GrpcError('CANCELLED', 'etcdserver: request canceled')));
      const judge = async (events: readonly WatchEvent[]): Promise<void> => {
        isBusy = true;
        const verdict = await take(events);
        isBusy = false;
        if (isOver) return;
        if (verdict === 'done') end(resolve);
        else handle?.resume();
      };
      if (signal.aborted) return gone();
      signal.addEventListener('abort', gone, { once: true });
      handle = this.#host.watches.watch(this.#host.router.shardOf(key), request, {
        created: () => undefined,
        events: (events) => {
          if (isOver || events.length === 0) return true;
          if (isBusy) return false;
          judge(events).catch((error: unknown) => end(() => reject(error as Error)));
          return true;
        },
        cancelled: (error) => {
          if (isOver) return;
          end(() => (error.code === 'KV_WRONG_SHARD' ? resolve() : reject(error)));
        },
      });
      if (isOver) handle.cancel();
    });
  }
}

function firstOf(directory: Uint8Array): RangeRequest {
  return {
    op: 'range',
    key: directory,
    rangeEnd: prefixEnd(directory),
    limit: 1,
    sortTarget: 'create',
    sortOrder: 'ascend',
  };
}

/** The reading that a txn does of the oldest key of a directory. */
export const oldestOf: (directory: Uint8Array) => RangeRequest = firstOf;

/** `name/`, in which the keys of the waiters lie. */
export function directoryOf(name: Uint8Array): Uint8Array {
  return concatBytes(name, utf8('/'));
}

/** `name/<lease in hex>`. */
export function waiterKey(name: Uint8Array, lease: bigint): Uint8Array {
  return concatBytes(directoryOf(name), utf8(lease.toString(16)));
}

/**
 * etcd's own server is a client of itself in these services: what its requests are refused with reaches the caller with the status
 * UNKNOWN and the text.
 */
export async function asClientOfItself<Answer>(work: Promise<Answer>): Promise<Answer> {
  try {
    return await work;
  } catch (error) {
    const spec = isKvError(error) ? errorSpec(error.code) : undefined;
    // What may be tried again stays what clients try again.
    const isKnown =
      spec?.message.startsWith('etcdserver: ') === true && spec.grpc !== 'UNAVAILABLE';
    throw isKnown ? new GrpcError('UNKNOWN', spec.message) : error;
  }
}
