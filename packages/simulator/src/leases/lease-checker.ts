import { type LeaseId, type ShardId, utf8 } from '@kvorum/base';
import type { Problems } from '../invariants/names.ts';
import type { Change, LeaseEnd, Truth } from '../truth.ts';

interface Version {
  readonly revision: number;
  readonly isDeleted: boolean;
  readonly lease: LeaseId | undefined;
}

/** The key number `i` that a holder puts on a lease, in a group. */
export function heldKey(group: ShardId, lease: LeaseId, i: number): string {
  return `s${group}/l${lease}-${i}`;
}

function isHeldKey(key: string): boolean {
  return /^s\d+\/l/.test(key);
}

/** Where keys are. */
export interface LeasePlaces {
  /** The shard of a key before anything moved. */
  readonly firstOwner: (key: string) => ShardId;
  /** The shard that keeps the map, where slots move. */
  readonly meta: ShardId | undefined;
}

/** Holds what the logs say of keys with leases against what their holders were told. */
export class LeaseChecker {
  readonly #truths: ReadonlyMap<ShardId, Truth>;
  readonly #problems: Problems;
  readonly #places: LeasePlaces;
  readonly #read = new Map<ShardId, number>();
  /** Every version of each key that ever had a lease, over all shards, by revision. */
  readonly #versions = new Map<string, Version[]>();
  readonly #gone = new Set<LeaseId>();

  constructor(truths: ReadonlyMap<ShardId, Truth>, problems: Problems, places: LeasePlaces) {
    this.#truths = truths;
    this.#problems = problems;
    this.#places = places;
  }

  /** Somebody was told that the lease is gone: nothing may hang on it now, or before it is granted again. */
  mustBeGone(id: LeaseId): void {
    this.#gone.add(id);
    this.check();
  }

  /** Somebody was told that the lease is granted. */
  isBack(id: LeaseId): void {
    this.#gone.delete(id);
  }

  /** The lease lives, and these keys were put on it by somebody who has heard of it. */
  mustBeThere(id: LeaseId, keys: readonly string[]): void {
    this.#take();
    for (const key of keys) {
      if (this.#versions.get(key)?.at(-1)?.isDeleted === false) continue;
      this.#problems.add('lease-cut-short', `${key} is gone, and its lease ${id} lives`);
    }
  }

  /** To be called when the truths have been extended. */
  check(): void {
    this.#take();
    for (const [key, { lease }] of this.#newest()) {
      if (lease === undefined || !this.#gone.has(lease)) continue;
      this.#problems.add('lease-outlived', `${key} is there, and its lease ${lease} is gone`);
    }
  }

  /** Keys that hang on a lease. */
  get attached(): readonly string[] {
    this.#take();
    return [...this.#newest()].flatMap(([key, { lease }]) => (lease === undefined ? [] : [key]));
  }

  /** To be called in the end. */
  checkTogether(): void {
    this.check();
    for (const [shard, truth] of this.#truths) {
      for (const end of truth.leaseEnds) this.#checkEnd(shard, end);
    }
  }

  #checkEnd(shard: ShardId, { lease, revision, slots }: LeaseEnd): void {
    for (const [key, versions] of this.#versions) {
      const at = versions.findLast((version) => version.revision <= revision);
      if (at?.lease !== lease) continue;
      const isServed =
        slots === undefined
          ? this.#places.firstOwner(key) === shard
          : slots.refusal(utf8(key), undefined, Number.MAX_SAFE_INTEGER) === undefined;
      if (!isServed) continue;
      const text = `shard ${shard} let lease ${lease} go at ${revision}, and ${key} stayed`;
      this.#problems.add('lease-one-revision', text);
    }
  }

  *#newest(): Generator<[string, Version]> {
    for (const [key, versions] of this.#versions) {
      const newest = versions.at(-1);
      if (newest !== undefined) yield [key, newest];
    }
  }

  #take(): void {
    for (const [shard, { changes }] of this.#truths) {
      if (shard === this.#places.meta) continue;
      const from = this.#read.get(shard) ?? 0;
      for (const change of changes.slice(from)) this.#add(change);
      this.#read.set(shard, changes.length);
    }
  }

  #add({ key, revision, value, lease }: Change): void {
    // The log of one shard may be read to the deletion before that of another one to the put.
    if (!isHeldKey(key)) return;
    const versions = this.#versions.get(key) ?? [];
    this.#versions.set(key, versions);
    const isDeleted = value === undefined;
    versions.push({ revision, isDeleted, lease: isDeleted ? undefined : lease });
    versions.sort((a, b) => a.revision - b.revision);
  }
}
