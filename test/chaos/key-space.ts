import { fromUtf8, type KvRequest, META_SHARD } from '@kvorum/base';
import type { KvorumClient } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import type { RecordedResponse } from '@kvorum/simulator';

/** Everything the load writes lies below it. */
export const PREFIX = 'c/';

const GROUPS_PER_SHARD = 2;
const KEYS_PER_GROUP = 3;
/** Keys are replaced by fresh ones before their histories become hard to check. */
const OPERATIONS_PER_GROUP_MAX = 150 * KEYS_PER_GROUP;
const UNKNOWN_PER_GROUP_MAX = 4;

/** Some keys of one directory, which therefore lie in one shard. */
export interface Group {
  /** The shard that had it when it was begun; slots move. */
  readonly shard: string;
  readonly directory: string;
  readonly keys: readonly string[];
  operations: number;
  /** Operations of unknown outcome. */
  unknown: number;
  /** Key → value as somebody saw it last, undefined = no such key: what swaps expect. */
  readonly seen: Map<string, string | undefined>;
}

/** The part of a key that decides on its slot. */
export function directoryOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}

/** The keys in use: a few in every shard, replaced again and again. */
export class KeySpace {
  readonly #client: KvorumClient;
  readonly #rng: Rng;
  readonly #groups = new Map<string, Group[]>();
  /** Every group there ever was. */
  readonly all: Group[] = [];
  #nextDirectory = 0;

  constructor(client: KvorumClient, rng: Rng) {
    this.#client = client;
    this.#rng = rng;
  }

  async open(): Promise<void> {
    for (const { shard } of await this.#client.shards()) {
      if (shard === META_SHARD) continue;
      const fresh = Array.from({ length: GROUPS_PER_SHARD }, () => this.#fresh(shard));
      this.#groups.set(shard, await Promise.all(fresh));
    }
  }

  get shards(): readonly string[] {
    return [...this.#groups.keys()];
  }

  /** A group of the shard to operate on. */
  async pick(shard: string): Promise<Group> {
    const groups = this.#groups.get(shard) ?? [];
    const at = this.#rng.integer(0, groups.length);
    const group = groups[at];
    const isWorn =
      group === undefined ||
      group.operations >= OPERATIONS_PER_GROUP_MAX ||
      group.unknown >= UNKNOWN_PER_GROUP_MAX;
    if (!isWorn) return group;
    const fresh = await this.#fresh(shard);
    groups[at] = fresh;
    return fresh;
  }

  async #fresh(shard: string): Promise<Group> {
    for (;;) {
      const directory = `${PREFIX}${this.#nextDirectory}/`;
      this.#nextDirectory += 1;
      if ((await this.#client.shardOf(`${directory}k0`)) !== shard) continue;
      const keys = Array.from({ length: KEYS_PER_GROUP }, (_, i) => `${directory}k${i}`);
      const group = { shard, directory, keys, operations: 0, unknown: 0, seen: new Map() };
      this.all.push(group);
      return group;
    }
  }
}

/** Notes what an answered request says about the keys' values. */
export function learn(
  seen: Map<string, string | undefined>,
  request: KvRequest,
  response: RecordedResponse,
): void {
  switch (request.op) {
    case 'put':
      seen.set(fromUtf8(request.key), fromUtf8(request.value));
      break;
    case 'delete-range':
      seen.set(fromUtf8(request.key), undefined);
      break;
    case 'range': {
      const value = response.op === 'range' ? response.kvs[0]?.value : undefined;
      seen.set(fromUtf8(request.key), value === undefined ? undefined : fromUtf8(value));
      break;
    }
    case 'txn': {
      if (response.op !== 'txn') break;
      const operations = response.succeeded ? request.success : request.failure;
      for (const [i, operation] of operations.entries()) {
        const inner = response.responses?.[i];
        if (inner !== undefined) learn(seen, operation, inner);
      }
      break;
    }
    case 'compact':
      break;
  }
}
