import { EMPTY_BYTES, KvError, type KvRequest } from '@kvorum/base';
import type {
  HealthStatus,
  LogPage,
  LogParams,
  MemberChanged,
  MemberChangeParams,
  MemberInfo,
  MoveInfo,
  MoveReplicaParams,
  RecoverParams,
  RecoveryView,
  ReshardParams,
  ShardHash,
  ShardInfo,
  SlotsParams,
  SlotsView,
} from '@kvorum/wire';
import type {
  CompactResult,
  DeleteResult,
  KvResult,
  PutResult,
  ShardRangeResult,
  TxnResult,
} from './answer.ts';
import { AuthAdmin } from './auth-admin.ts';
import { GetCall, PutCall, RequestCall } from './call.ts';
import { checkRequest, checkWatch } from './check-request.ts';
import { Control, type EndpointStatus, type Transferred } from './control.ts';
import { Dispatcher } from './dispatcher.ts';
import { Election } from './election.ts';
import type { Entry } from './entry.ts';
import type { LineParts } from './holding.ts';
import {
  type Bytes,
  type KeyRange,
  type Span,
  spanOf,
  spanOfTarget,
  toBytes,
} from './key-range.ts';
import {
  COMPACT_OPTIONS,
  DELETE_OPTIONS,
  GET_OPTIONS,
  hasPutFlags,
  isSet,
  PUT_OPTIONS,
  putRequestOf,
  RANGE_OPTIONS,
  rangeRequestOf,
  WATCH_OPTIONS,
} from './key-requests.ts';
import { LeaseCalls } from './lease-calls.ts';
import { Leases } from './leases.ts';
import { acquireLock, type Lock, type LockOptions, withLock } from './lock.ts';
import { type CallOptions, type ConnectOptions, checkOptions, settingsOf } from './options.ts';
import { mergeRanges, type RangeResult } from './range-merge.ts';
import type {
  CompactOptions,
  DeleteOptions,
  GetOptions,
  PutOptions,
  RangeOptions,
} from './request-options.ts';
import { scanRange } from './scan.ts';
import type { ShardRouter } from './shard-router.ts';
import { runStm, type StmOptions, type StmTxn } from './stm.ts';
import { TxnBuilder, type TxnInit, txnRequestOf } from './txn.ts';
import { Watch, type WatchOptions } from './watch.ts';
import { whileMoving } from './while-moving.ts';

/**
 * A client of one cluster, safe to share. Made by {@link connect}; call {@link KvorumClient.close}
 * when done.
 *
 * Every call rejects with a `KvError`: `code` says what happened, `outcome` whether the operation
 * may have been applied (`not-applied` or `unknown`), `retry` what to do next, `details` where to
 * go on.
 */
export class KvorumClient {
  readonly #dispatcher: Dispatcher;
  readonly #control: Control;
  readonly #watches = new Set<Watch>();
  readonly #line: LineParts;
  /** Leases: grants, what is known of them, and those that this client keeps alive. */
  readonly leases: Leases;

  /** Users, roles and permissions. */
  readonly auth: AuthAdmin;

  constructor(options: ConnectOptions) {
    this.#dispatcher = new Dispatcher(settingsOf(options));
    this.#control = new Control(this.#dispatcher);
    this.auth = new AuthAdmin(this.#control);
    this.leases = new Leases(this.#dispatcher, new LeaseCalls(this.#dispatcher, this.#control));
    const dispatcher = this.#dispatcher;
    this.#line = {
      txn: (init, call) => this.txn(init, call),
      watch: (target, watched) => this.watch(target, watched),
      placeOf: (key) => dispatcher.pool.router?.placeOf(key) ?? '',
      leases: this.leases,
      nowMs: () => dispatcher.now,
      timeoutMs: dispatcher.settings.timeoutMs,
    };
    this.#dispatcher.onTopology = () => {
      this.#control.onTopology();
      for (const watch of this.#watches) watch.poke();
    };
  }

  /** Waits until a member answers. Errors: KV_UNAVAILABLE saying what each endpoint answered. */
  async ready(options: CallOptions = {}): Promise<void> {
    await this.#control.connected(options);
  }

  /**
   * Stores a value. The write is durable and visible to every later linearizable read once this
   * resolves.
   */
  put(key: Bytes, value: Bytes, options?: PutOptions): Promise<PutResult> {
    if (options !== undefined && hasPutFlags(options)) return this.#putWith(key, value, options);
    const dispatcher = this.#dispatcher;
    return new Promise((resolve, reject) => {
      checkOptions(options, PUT_OPTIONS);
      const deadline = dispatcher.deadlineOf(options);
      const call = new PutCall(toBytes(key), toBytes(value), deadline, { resolve, reject });
      dispatcher.submit(call, options);
    });
  }

  /** The value of a key; undefined when there is none. Linearizable unless `serializable`. */
  get(key: Bytes, options?: GetOptions): Promise<Entry | undefined> {
    if (options?.revision !== undefined || isSet(options?.serializable)) {
      return this.#getAs(key, options ?? {});
    }
    const dispatcher = this.#dispatcher;
    return new Promise((resolve, reject) => {
      checkOptions(options, GET_OPTIONS);
      const deadline = dispatcher.deadlineOf(options);
      dispatcher.submit(new GetCall(toBytes(key), deadline, { resolve, reject }), options);
    });
  }

  /**
   * All keys of a range, in key order, over every shard that may hold some: `getAll({ prefix:
   * 'user/' })`. Each shard answers atomically at its own revision, see `shards`. For more than
   * fits in memory use {@link scan}.
   */
  getAll(range: KeyRange & RangeOptions): Promise<RangeResult> {
    return this.#rangeOver(() => spanOf(range), range);
  }

  /**
   * One key or a range in one object, with every option a range has; the single key's form of
   * {@link getAll}.
   */
  range(target: Bytes | KeyRange, options: RangeOptions = {}): Promise<RangeResult> {
    return this.#rangeOver(() => spanOfTarget(target), options);
  }

  /**
   * The keys of a range one by one, fetched `pageSize` at a time, all pages at the revisions of the
   * first one: `for await (const entry of client.scan({ prefix: 'user/' }))`.
   */
  scan(
    range: KeyRange & RangeOptions & { readonly pageSize?: number },
  ): AsyncIterableIterator<Entry> {
    const fetch = (span: Span, options: RangeOptions): Promise<RangeResult> =>
      this.#rangeOver(() => span, options);
    return scanRange(spanOf(range), range, fetch);
  }

  /**
   * Deletes one key or, atomically, a range within one shard. Errors: KV_CROSS_SHARD for a range
   * over several.
   */
  async delete(target: Bytes | KeyRange, options: DeleteOptions = {}): Promise<DeleteResult> {
    checkOptions(options, DELETE_OPTIONS);
    const span = spanOfTarget(target);
    const request: KvRequest = {
      op: 'delete-range',
      key: span.key,
      ...(span.rangeEnd.length === 0 ? {} : { rangeEnd: span.rangeEnd }),
      ...(options.prevKv === undefined ? {} : { prevKv: options.prevKv }),
    };
    return (await this.#request(request, options)) as DeleteResult;
  }

  /** Deletes a range in every shard that holds some of it: atomic within each shard, not over them. */
  async deleteEachShard(
    range: KeyRange,
    options: DeleteOptions = {},
  ): Promise<readonly DeleteResult[]> {
    checkOptions(options, DELETE_OPTIONS);
    const span = spanOf(range);
    const router = await this.#router(options);
    const { prevKv } = options;
    const flags = prevKv === undefined ? {} : { prevKv };
    const request: KvRequest = { op: 'delete-range', ...span, ...flags };
    const shards = router.shardsOf(span);
    const results = await Promise.all(
      shards.map((shard) => this.#request(request, options, shard)),
    );
    return results as DeleteResult[];
  }

  /**
   * Without arguments a builder; with a plain transaction its result. All keys must lie in one
   * shard (KV_CROSS_SHARD).
   */
  txn(): TxnBuilder;
  txn(init: TxnInit, options?: CallOptions): Promise<TxnResult>;
  txn(init?: TxnInit, options: CallOptions = {}): TxnBuilder | Promise<TxnResult> {
    if (init === undefined) return new TxnBuilder((request, opts) => this.txn(request, opts));
    return this.#request(txnRequestOf(init), options) as Promise<TxnResult>;
  }

  /**
   * Forgets history below `revision`, in one shard or in all data shards. Rejects with the first
   * shard's error, if any.
   */
  async compact(revision: number, options: CompactOptions = {}): Promise<readonly CompactResult[]> {
    checkOptions(options, COMPACT_OPTIONS);
    const router = await this.#router(options);
    if (options.shard !== undefined) router.mustHave(options.shard);
    const shards = options.shard === undefined ? router.shards : [options.shard];
    const { physical } = options;
    const request: KvRequest = {
      op: 'compact',
      revision,
      ...(physical === undefined ? {} : { physical }),
    };
    const results = await Promise.all(
      shards.map((shard) => this.#request(request, options, shard)),
    );
    return results as CompactResult[];
  }

  /** Changes of a key or range as they happen, across failovers; see {@link Watch}. */
  async watch(target: Bytes | KeyRange, options: WatchOptions = {}): Promise<Watch> {
    checkOptions(options, WATCH_OPTIONS);
    checkWatch(options);
    const span = spanOfTarget(target);
    if (span.key.length === 0) throw new KvError('KV_EMPTY_KEY');
    const router = await this.#router(options);
    const pieces = router.piecesOf(span);
    if (options.startRevision !== undefined && pieces.length > 1) {
      throw new KvError('KV_CROSS_SHARD', 'every shard has revisions of its own', {
        details: { hint: 'give `revisions`, one per shard, or watch within one shard' },
      });
    }
    const watch = new Watch(this.#dispatcher, span, options, (ended) => {
      this.#watches.delete(ended);
    });
    this.#watches.add(watch);
    return watch;
  }

  /**
   * Waits for a lock, for as long as that takes unless `timeoutMs` says otherwise: `await using lock = await kv.lock('jobs/nightly')`. Shared
   * with `etcdctl lock` and etcd's clients. Errors: KV_DEADLINE, KV_CANCELLED, KV_LEASE_LOST, KV_NOT_HELD.
   */
  async lock(name: Bytes, options: LockOptions = {}): Promise<Lock> {
    const lock = await acquireLock(this.#line, name, options, { isImpatient: false });
    if (lock === undefined) throw new KvError('KV_NOT_HELD');
    return lock;
  }

  /** The lock if nobody holds it; else undefined. */
  tryLock(name: Bytes, options: LockOptions = {}): Promise<Lock | undefined> {
    return acquireLock(this.#line, name, options, { isImpatient: true });
  }

  /**
   * Does something with a lock and releases it: `await kv.withLock('jobs/nightly', (lock) => …)`. Errors: those of the work; KV_NOT_HELD
   * and KV_LEASE_LOST when the lock was lost before the work was done: let `lock.signal` stop it.
   */
  withLock<T>(
    name: Bytes,
    work: (lock: Lock) => T | Promise<T>,
    options: LockOptions = {},
  ): Promise<T> {
    return withLock(this.#line, name, work, options);
  }

  /** An election, shared with `etcdctl elect` and etcd's clients; see {@link Election}. */
  election(name: Bytes): Election {
    return new Election(this.#line, name);
  }

  /**
   * Does something with keys of one shard as if nobody else did anything meanwhile: it is done anew when somebody has. So it must have
   * no other effects. Errors: those of the work; KV_CONFLICT, KV_CROSS_SHARD, KV_TIMEOUT.
   */
  stm<T>(work: (txn: StmTxn) => T | Promise<T>, options: StmOptions = {}): Promise<T> {
    const dispatcher = this.#dispatcher;
    const parts = {
      range: (key: Uint8Array, read: GetOptions) => this.range(key, read),
      txn: this.#line.txn,
      refusal: (keys: readonly Uint8Array[]) => dispatcher.pool.router?.refusalOfTxn(keys),
      nowMs: () => dispatcher.now,
      deadlineOf: (call: CallOptions) => dispatcher.deadlineOf(call),
    };
    return runStm(parts, work, options);
  }

  /** What every member says of itself; a member that does not answer is listed with its error. */
  status(options: CallOptions = {}): Promise<readonly EndpointStatus[]> {
    return this.#control.statusOfAll(options);
  }

  /** The cluster's members, from the first member that answers. */
  members(options: CallOptions = {}): Promise<readonly MemberInfo[]> {
    return this.#control.members(options);
  }

  /** Shards with their slots, voters and leaders, from the first member that answers. */
  shards(options: CallOptions = {}): Promise<readonly ShardInfo[]> {
    return this.#control.shards(options);
  }

  /** Load and size of ranges of slots, and the busiest slots, over all members that can be asked. */
  slots(params: SlotsParams = {}, options: CallOptions = {}): Promise<SlotsView> {
    return this.#control.slots(params, options);
  }

  /** Slots that are moving from one shard to another, with their progress. */
  moves(options: CallOptions = {}): Promise<readonly MoveInfo[]> {
    return this.#control.moves(options);
  }

  /**
   * Begins to scale, split, merge or rebalance shards, or stops what can be stopped: the members
   * carry it out in the background. Errors: KV_INVALID_ARGUMENT while slots move already.
   */
  reshard(params: ReshardParams, options: CallOptions = {}): Promise<readonly MoveInfo[]> {
    return this.#control.reshard(params, options);
  }

  /**
   * Hands a shard's leadership to a member (id or name), which keeps it for `holdMs` against the even spread of leaders.
   * Errors: KV_BAD_TRANSFEREE, KV_NOT_FOUND.
   */
  transferLeader(shard: string, member: string, options: CallOptions = {}): Promise<Transferred> {
    return this.#control.transfer(shard, member, options);
  }

  /**
   * Changes the members of the cluster: resolves as soon as the shard map has the change; the cluster carries it out from then on.
   * Errors: KV_NOT_FOUND, KV_INVALID_ARGUMENT with what is wrong, KV_TIMEOUT.
   */
  changeMember(change: MemberChangeParams, options: CallOptions = {}): Promise<MemberChanged> {
    return this.#control.changeMember(change, options);
  }

  /** Moves one replica of a shard from a member to another (names or ids). Errors: KV_NOT_FOUND, KV_INVALID_ARGUMENT. */
  moveReplica(move: MoveReplicaParams, options: CallOptions = {}): Promise<void> {
    return this.#control.moveReplica(move, options);
  }

  /** Health of one endpoint. */
  health(endpoint: string, options: CallOptions = {}): Promise<HealthStatus> {
    return this.#control.health(endpoint, options);
  }

  /** Digest of one endpoint's replica of a shard. */
  hash(endpoint: string, shard: string, options: CallOptions = {}): Promise<ShardHash> {
    return this.#control.hash(endpoint, shard, options);
  }

  /** Lets a halted shard go on from one of its replicas, or only says what would be; see `kvctl shard recover`. */
  recoverShard(params: RecoverParams, options: CallOptions = {}): Promise<RecoveryView> {
    return this.#control.recover(params, options);
  }

  /** A page of a shard's log, decoded: what `kvctl log` prints. The page's `next` goes into the next question as `cursor`. */
  logPage(params: LogParams, options: CallOptions = {}): Promise<LogPage> {
    return this.#control.logPage(params, options);
  }

  /** Every endpoint known: those given and those found. */
  get endpoints(): readonly string[] {
    return this.#dispatcher.pool.urls;
  }

  /** The shard that holds a key. */
  async shardOf(key: Bytes, options: CallOptions = {}): Promise<string> {
    return (await this.#router(options)).shardOf(toBytes(key));
  }

  /** The shards that may hold keys of a range. */
  async shardsOf(range: KeyRange, options: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#router(options)).shardsOf(spanOf(range));
  }

  /** Rejects what is under way (KV_CANCELLED), ends watches and connections. Leases that were not revoked end with their time. */
  async close(): Promise<void> {
    this.leases.close();
    for (const watch of [...this.#watches]) watch.close();
    await this.#dispatcher.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #router(options: CallOptions): Promise<ShardRouter> {
    const known = this.#dispatcher.pool.router;
    if (known !== undefined) return known;
    await this.#control.connected(options);
    const router = this.#dispatcher.pool.router;
    if (router === undefined) throw this.#dispatcher.pool.failures();
    return router;
  }

  async #putWith(key: Bytes, value: Bytes, options: PutOptions): Promise<PutResult> {
    checkOptions(options, PUT_OPTIONS);
    const request = putRequestOf(toBytes(key), toBytes(value), options);
    return (await this.#request(request, options)) as PutResult;
  }

  async #getAs(key: Bytes, options: GetOptions): Promise<Entry | undefined> {
    checkOptions(options, GET_OPTIONS);
    const request = rangeRequestOf({ key: toBytes(key), rangeEnd: EMPTY_BYTES }, options);
    const result = (await this.#request(request, options)) as ShardRangeResult;
    return result.entries[0];
  }

  #request(
    request: KvRequest,
    options: CallOptions | undefined,
    shard?: string,
  ): Promise<KvResult> {
    const dispatcher = this.#dispatcher;
    return new Promise((resolve, reject) => {
      checkRequest(request);
      const deadline = dispatcher.deadlineOf(options);
      const call = new RequestCall(request, deadline, { resolve, reject });
      dispatcher.submit(call, options, shard);
    });
  }

  async #rangeOver(spanned: () => Span, options: RangeOptions): Promise<RangeResult> {
    checkOptions(options, RANGE_OPTIONS);
    const span = spanned();
    return whileMoving(this.#dispatcher, options, () => this.#rangeOnce(span, options));
  }

  async #rangeOnce(span: Span, options: RangeOptions): Promise<RangeResult> {
    const router = await this.#router(options);
    if (options.shard !== undefined) router.mustHave(options.shard);
    const single = span.rangeEnd.length === 0;
    const asked = options.shard === undefined ? router.shardsOf(span) : [options.shard];
    if (asked.length > 1 && options.revision !== undefined && options.revision > 0) {
      throw new KvError('KV_CROSS_SHARD', 'every shard has revisions of its own', {
        details: { hint: 'give `revisions`, one per shard, or read one shard (`shard`)' },
      });
    }
    const parts = await Promise.all(
      asked.map((shard) => {
        const revision = options.revisions?.[shard];
        const scoped = revision === undefined ? options : { ...options, revision };
        return this.#request(rangeRequestOf(span, scoped), options, single ? undefined : shard);
      }),
    );
    return mergeRanges(parts as ShardRangeResult[], options);
  }
}

/** Connects to a cluster: resolves once a member answered. Errors: KV_CONFIG, KV_UNAVAILABLE. */
export async function connect(options: ConnectOptions): Promise<KvorumClient> {
  const client = new KvorumClient(options);
  try {
    await client.ready(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs });
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}
