import {
  fromUtf8,
  type KvError,
  prefixEnd,
  type ShardId,
  utf8,
  type WatchEvent,
} from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { WatchHandle } from '@kvorum/replica';
import type { History, SeenEvent, WatchRecord } from './history.ts';
import type { SimMember } from './member.ts';
import { fixedRouting, type Routing } from './moves/routing.ts';
import { keyOf } from './requests.ts';
import type { World } from './world.ts';

const CHECK_MS = 300;
/** Of a hundred deliveries: the consumer's buffer is full. */
const FULL_PERCENT = 5;

export interface WatcherParts {
  readonly world: World;
  readonly history: History;
  readonly keys: number;
  /** By default nothing moves. */
  readonly routing?: Routing;
  /** First revision that it has not seen; 2 by default. */
  readonly from?: number;
}

/** A watcher that follows one shard over failovers: it resumes at another member from the revision it stands at. */
export class SimWatcher {
  readonly record: WatchRecord;
  readonly #world: World;
  readonly #history: History;
  readonly #rng: Rng;
  #connection: { readonly member: SimMember; readonly life: number | undefined } | undefined;
  #handle: WatchHandle | undefined;
  #generation = 0;
  readonly #routing: Routing;
  #allowed: readonly SimMember[];

  constructor(parts: WatcherParts, index: number, rng: Rng) {
    const { world, history, keys, from = 2 } = parts;
    this.#world = world;
    this.#history = history;
    this.#rng = rng;
    this.#allowed = world.members;
    this.#routing = parts.routing ?? fixedRouting(world);
    const { groups } = this.#routing;
    const shard = groups[rng.integer(0, groups.length)] as ShardId;
    this.record = {
      name: `w${index}`,
      shard,
      key: rng.integer(0, 2) === 0 ? undefined : keyOf(shard, rng.integer(0, keys)),
      withPrevious: rng.integer(0, 2) === 0,
      seen: [],
      shown: [],
      skipped: [],
      from,
      next: from,
    };
    history.watches.push(this.record);
  }

  start(): void {
    this.#world.clock.setTimer(CHECK_MS, () => {
      this.#check();
      this.start();
    });
  }

  /** Moves to members that work for good. */
  restrict(members: readonly SimMember[]): void {
    this.#allowed = members;
    if (this.#connection !== undefined && !members.includes(this.#connection.member)) {
      this.#disconnect();
    }
  }

  /** Everything up to `revision` has had the time to come. */
  get connected(): boolean {
    return this.#connection !== undefined;
  }

  #check(): void {
    const at = this.#connection;
    if (at !== undefined && at.member.life !== at.life) this.#disconnect();
    // Now and then a client moves on for reasons of its own.
    else if (at !== undefined && this.#rng.integer(0, 40) === 0) this.#disconnect();
    if (this.#connection === undefined) this.#connect();
  }

  #disconnect(): void {
    this.#connection = undefined;
    this.#generation += 1;
    this.#handle?.cancel();
    this.#handle = undefined;
  }

  #connect(): void {
    const member = this.#allowed[this.#rng.integer(0, this.#allowed.length)] as SimMember;
    if (member.paused) return;
    const { record } = this;
    // A member that pauses takes the call late; by then this watcher may follow another one.
    this.#generation += 1;
    const generation = this.#generation;
    const current = (): boolean => generation === this.#generation;
    const key = utf8(record.key ?? `s${record.shard}/`);
    member.call(this.#routing.shardOf(record.shard), (replica) => {
      if (!current()) return;
      this.#connection = { member, life: member.life };
      this.#handle = replica.watch(
        {
          key,
          ...(record.key === undefined ? { rangeEnd: prefixEnd(key) } : {}),
          startRevision: record.next,
          prevKv: record.withPrevious,
          progressNotify: this.#rng.integer(0, 2) === 0,
        },
        {
          created: () => undefined,
          events: (events, revision) => !current() || this.#take(events, revision),
          cancelled: (error) => {
            if (current()) this.#cancelled(error);
          },
        },
      );
    });
  }

  #take(events: readonly WatchEvent[], revision: number): boolean {
    if (this.#rng.integer(0, 100) < FULL_PERCENT) {
      const handle = (): void => this.#handle?.resume();
      this.#world.clock.setTimer(this.#rng.integer(1, 200), handle);
      return false;
    }
    this.record.seen.push(...events.map(seenOf));
    this.record.shown.push([this.#history.now(), revision]);
    this.record.next = Math.max(this.record.next, revision + 1);
    return true;
  }

  #cancelled(error: KvError): void {
    this.#connection = undefined;
    this.#generation += 1;
    this.#handle = undefined;
    this.#world.trace.line(this.record.name, `cancelled ${error.code}`);
    if (error.code === 'KV_WRONG_SHARD') this.#routing.refresh();
    const { compactRevision } = error.details;
    if (error.code !== 'KV_COMPACTED' || compactRevision === undefined) return;
    this.record.skipped.push([this.record.next, compactRevision]);
    this.record.next = Math.max(this.record.next, compactRevision + 1);
  }
}

function seenOf({ type, kv, prevKv }: WatchEvent): SeenEvent {
  return {
    revision: kv.modRevision,
    key: fromUtf8(kv.key),
    value: type === 'put' ? fromUtf8(kv.value) : undefined,
    previous: prevKv === undefined ? undefined : fromUtf8(prevKv.value),
  };
}
