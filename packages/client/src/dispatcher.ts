import { randomBytes } from 'node:crypto';
import { errorSpec, KvError } from '@kvorum/base';
import { errorFromPlain, type ResponseItem } from '@kvorum/wire';
import { MalformedAnswer } from './answer.ts';
import type { Call } from './call.ts';
import type { Connection } from './connection.ts';
import { deadlineError, Lane, type LaneHost } from './lane.ts';
import { MemberPool } from './member-pool.ts';
import type { CallOptions, Settings } from './options.ts';
import { decide } from './retry-policy.ts';

/** Deadlines and liveness are looked at this often; one timer serves every call. */
const SWEEP_MS = 50;
/**
 * After a change of leader the old one has this long to answer what it was asked, then the new one
 * is asked.
 */
const OLD_LEADER_GRACE_MS = 300;

const nowMs = (): number => performance.now();

/** Every call under way: routing, attempts, deadlines, back-pressure. */
export class Dispatcher {
  readonly settings: Settings;
  readonly pool: MemberPool;
  /** Told when a connection opened or leaders moved. */
  onTopology: (() => void) | undefined = undefined;
  readonly #lanes = new Map<string, Lane>();
  readonly #laneHost: LaneHost;
  readonly #sweeper: NodeJS.Timeout;
  /** Calls that cannot be routed yet: no shard map came. */
  #unrouted: Call[] = [];
  #dirty = new Set<Lane>();
  #flushing = false;
  #lastId = 0;
  #inflight = 0;
  #inflightBytes = 0;
  #nextDeadlineMs = Number.POSITIVE_INFINITY;
  #sweptMs = nowMs();
  #closed = false;

  constructor(settings: Settings) {
    this.settings = settings;
    const listener = {
      onTopology: (moved: readonly string[]) => this.#onTopology(moved),
      onResponses: (from: Connection, _shard: string, items: readonly ResponseItem[]) =>
        this.#onResponses(from, items),
      onClosed: (connection: Connection, reason: KvError) => this.#onClosed(connection, reason),
    };
    const clientId = randomBytes(16).toString('hex');
    this.pool = new MemberPool({ ...settings, clientId }, listener, nowMs);
    this.#laneHost = {
      session: settings.session,
      now: nowMs,
      nextId: () => this.nextId(),
      connectionFor: (shard) => this.pool.connectionFor(shard),
      expire: (call) => this.#expire(call),
      endsSooner: (call) => this.#endsAt(call),
    };
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    this.pool.explore(nowMs());
  }

  get closed(): boolean {
    return this.#closed;
  }
  get now(): number {
    return nowMs();
  }

  /** Unique on every connection of this client. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Authorization was enabled after the connection was made, which its member closes now: the next one shows who this is. */
  isLoggedInNext({ code }: KvError): boolean {
    return code === 'KV_USER_EMPTY' && this.settings.auth !== undefined;
  }

  /** When a call with these options must be over. */
  deadlineOf(options: CallOptions | undefined): number {
    const timeoutMs: unknown = options?.timeoutMs ?? this.settings.timeoutMs;
    // A deadline that compares with nothing would never pass.
    if (typeof timeoutMs === 'number' && timeoutMs >= 0) return nowMs() + timeoutMs;
    throw new KvError(
      'KV_INVALID_ARGUMENT',
      `timeoutMs must be a number, not ${String(timeoutMs)}`,
    );
  }

  /** Takes a call on; it is settled exactly once. `shard` = already routed. */
  submit(call: Call, options: CallOptions | undefined, shard?: string): void {
    const refusal = this.#refuse(call);
    if (refusal !== undefined) {
      call.state = 'done';
      call.fail(refusal);
      return;
    }
    this.#inflight += 1;
    this.#inflightBytes += call.bytes;
    this.#endsAt(call);
    if (options?.signal !== undefined && !this.#listen(call, options.signal)) return;
    this.#route(call, shard);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const call of this.#live()) this.#cancel(call, 'the client was closed', undefined);
    for (const lane of this.#lanes.values()) lane.stop();
    await this.pool.close(500);
  }

  #endsAt(call: Call): void {
    if (call.endMs < this.#nextDeadlineMs) this.#nextDeadlineMs = call.endMs;
  }

  #refuse(call: Call): KvError | undefined {
    if (this.#closed)
      return new KvError('KV_CANCELLED', 'the client is closed', { outcome: 'not-applied' });
    if (call.key.length === 0 && call.request?.op !== 'compact' && call.request?.op !== 'txn') {
      return new KvError('KV_EMPTY_KEY');
    }
    const limit = this.pool.requestBytesMax;
    if (call.bytes > limit) {
      return new KvError('KV_REQUEST_TOO_LARGE', `${call.bytes} bytes, at most ${limit}`, {
        details: { limit, actual: call.bytes },
      });
    }
    const { inflightMax, inflightBytesMax } = this.settings;
    if (this.#inflight < inflightMax && this.#inflightBytes + call.bytes <= inflightBytesMax)
      return undefined;
    const full =
      this.#inflight >= inflightMax
        ? { what: 'calls', limit: inflightMax, actual: this.#inflight }
        : { what: 'bytes', limit: inflightBytesMax, actual: this.#inflightBytes };
    return new KvError(
      'KV_TOO_MANY_REQUESTS',
      `${full.actual} ${full.what} under way in this client`,
      {
        details: {
          limit: full.limit,
          actual: full.actual,
          hint: 'await some calls before making more',
        },
      },
    );
  }

  /** False when the signal is aborted already. */
  #listen(call: Call, signal: AbortSignal): boolean {
    if (signal.aborted) {
      this.#cancel(call, 'aborted before it was sent', signal.reason);
      return false;
    }
    call.signal = signal;
    call.onAbort = () => this.#cancel(call, 'aborted by its signal', signal.reason);
    signal.addEventListener('abort', call.onAbort, { once: true });
    return true;
  }

  #route(call: Call, given?: string): void {
    const router = this.pool.router;
    if (router === undefined) {
      this.#unrouted.push(call);
      return;
    }
    let shard = given ?? call.shard;
    if (shard === '') {
      const routed =
        call.request === undefined ? router.shardOf(call.key) : router.route(call.request);
      if (typeof routed !== 'string') {
        this.#reject(call, routed);
        return;
      }
      shard = routed;
    }
    if (given !== undefined) call.pinned = true;
    if (call.mapVersion === 0) call.mapVersion = router.version;
    const lane = this.#lane(shard);
    lane.add(call);
    this.#markDirty(lane);
  }

  #lane(shard: string): Lane {
    let lane = this.#lanes.get(shard);
    if (lane === undefined) {
      lane = new Lane(shard, this.#laneHost);
      this.#lanes.set(shard, lane);
    }
    return lane;
  }

  /**
   * Commands of one turn of the event loop share a frame. With nothing else under way none can join them from an answer of this turn:
   * then they leave as soon as the code that runs has made them all.
   */
  #markDirty(lane: Lane): void {
    this.#dirty.add(lane);
    if (this.#flushing) return;
    this.#flushing = true;
    if (this.#inflight <= 1) process.nextTick(this.#flush);
    else setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#closed) return;
    const lanes = this.#dirty;
    this.#dirty = new Set();
    for (const lane of lanes) lane.flush();
  };

  /** A new leader is known, or somebody answers again: everything that waits may try at once. */
  #onTopology(moved: readonly string[]): void {
    if (this.#closed) return;
    this.#routeAgain();
    const now = nowMs();
    for (const shard of moved) {
      const lane = this.#lanes.get(shard);
      if (lane === undefined) continue;
      lane.leaderChangedMs = now;
      lane.openGate();
    }
    for (const lane of this.#lanes.values()) this.#markDirty(lane);
    this.onTopology?.();
  }

  #routeAgain(): void {
    const calls = this.#unrouted;
    this.#unrouted = [];
    for (const call of calls) if (call.state !== 'done') this.#route(call);
  }

  #onResponses(from: Connection, items: readonly ResponseItem[]): void {
    const { pending } = from;
    for (const item of items) {
      if (!Array.isArray(item) || typeof item[0] !== 'number')
        throw new MalformedAnswer('an answer has an id');
      const call = pending.get(item[0]);
      if (call === undefined) continue; // abandoned: its late answer changes nothing
      if (item[1] === 2) {
        pending.delete(item[0]);
        this.#onError(call, errorFromPlain(item[2]), from);
        continue;
      }
      call.succeed(item); // throws before anything is settled when the answer is malformed
      pending.delete(item[0]);
      const lane = this.#lanes.get(call.shard);
      if (call.seq > 0) lane?.window.recorded();
      this.#settle(call);
      lane?.succeeded();
    }
  }

  #onError(call: Call, error: KvError, from: Connection): void {
    const verdict = this.isLoggedInNext(error) ? 'retry' : decide(call, error);
    call.lastError = error;
    if (verdict === 'reject') {
      this.#reject(call, outcomeFor(call, error));
      return;
    }
    const lane = this.#lane(call.shard);
    const leaderHint = error.code === 'KV_NOT_LEADER' || error.code === 'KV_NO_LEADER';
    const news = leaderHint && this.pool.notLeader(call.shard, from, error.details.leader);
    if (error.outcome === 'unknown') call.maybeApplied = true;
    // Nothing to recognise: the time for repeating it begins with the next attempt.
    if (!call.maybeApplied) call.resendUntilMs = Number.POSITIVE_INFINITY;
    if (verdict === 'reroute') {
      // Another shard means another session sequence; safe, as this attempt was not applied.
      this.#settleSeq(call);
      call.state = 'waiting';
      call.shard = '';
      call.mapVersion = 0;
      call.connection = undefined;
      call.maybeApplied = false;
      this.#unrouted.push(call); // until the next sweep: the map that says where to is on its way
      return;
    }
    if (!news) lane.pause();
    lane.retry(call);
    this.#markDirty(lane);
  }

  #onClosed(connection: Connection, reason: KvError): void {
    const lost = [...connection.pending.values()];
    connection.pending.clear();
    for (const call of lost) this.#lost(call, reason);
    for (const lane of this.#lanes.values()) this.#markDirty(lane);
  }

  /** The attempt under way will not be answered. */
  #lost(call: Call, reason: KvError): void {
    if (call.state === 'done') return;
    call.lastError = reason;
    if (call.write) call.maybeApplied = true;
    if (call.write && call.seq === 0) {
      const detail = 'the connection was lost before the answer';
      this.#reject(call, new KvError('KV_TIMEOUT', detail, { cause: reason }));
      return;
    }
    const lane = this.#lane(call.shard);
    lane.retry(call);
    this.#markDirty(lane);
  }

  #sweep(): void {
    const now = nowMs();
    const stalled = now - this.#sweptMs > SWEEP_MS * 10;
    this.#sweptMs = now;
    this.pool.tick(now, stalled);
    if (this.#unrouted.length > 0) this.#routeAgain();
    for (const lane of this.#lanes.values()) {
      if (lane.leaderChangedMs > 0 && now - lane.leaderChangedMs > OLD_LEADER_GRACE_MS) {
        lane.leaderChangedMs = 0;
        this.#moveToLeader(lane.shard);
      }
      lane.flush();
    }
    if (now >= this.#nextDeadlineMs) this.#expireUntil(now);
  }

  /** Asks the new leader what the old one did not answer. Without a session only reads may move. */
  #moveToLeader(shard: string): void {
    const leader = this.pool.leaderOf(shard);
    const reason = new KvError('KV_LEADER_CHANGED');
    for (const connection of this.pool.connections()) {
      if (connection.memberId === leader) continue;
      for (const [id, call] of connection.pending) {
        if (call.shard !== shard || (call.write && call.seq === 0)) continue;
        connection.pending.delete(id);
        this.#lost(call, reason);
      }
    }
  }

  #expireUntil(now: number): void {
    let next = Number.POSITIVE_INFINITY;
    for (const call of this.#live()) {
      if (call.endMs <= now) this.#expire(call);
      else if (call.endMs < next) next = call.endMs;
    }
    this.#nextDeadlineMs = next;
  }

  *#live(): IterableIterator<Call> {
    for (const connection of this.pool.connections()) yield* [...connection.pending.values()];
    for (const lane of this.#lanes.values()) {
      for (const call of lane.unsent()) if (call.state === 'waiting') yield call;
    }
    for (const call of this.#unrouted) if (call.state === 'waiting') yield call;
  }

  #expire(call: Call): void {
    const unreachable = this.pool.anyOpen() === undefined ? this.pool.failures() : undefined;
    this.#reject(call, deadlineError(call, unreachable));
  }

  #cancel(call: Call, detail: string, cause: unknown): void {
    const sent = call.write && (call.maybeApplied || call.state === 'sent');
    const outcome = sent ? 'unknown' : 'not-applied';
    this.#reject(
      call,
      new KvError('KV_CANCELLED', detail, { outcome, ...(cause === undefined ? {} : { cause }) }),
    );
  }

  #reject(call: Call, error: KvError): void {
    if (call.state === 'done') return;
    call.connection?.pending.delete(call.id);
    this.#settle(call);
    call.fail(error);
  }

  #settle(call: Call): void {
    call.state = 'done';
    call.connection = undefined;
    this.#inflight -= 1;
    this.#inflightBytes -= call.bytes;
    this.#settleSeq(call);
    if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort);
  }

  #settleSeq(call: Call): void {
    if (call.seq === 0) return;
    this.#lanes.get(call.shard)?.window.settle(call.seq);
    call.seq = 0;
  }
}

/**
 * A member's error with what it means for this call: a read changes nothing, an earlier lost
 * attempt leaves doubt.
 */
function outcomeFor(call: Call, error: KvError): KvError {
  const doubtful = call.write && call.maybeApplied;
  const outcome = doubtful ? 'unknown' : call.write ? error.outcome : 'not-applied';
  if (outcome === error.outcome) return error;
  const { message } = errorSpec(error.code);
  const said = error.message.slice(message.length + 2);
  const doubt = 'an earlier attempt was not answered and may have been applied';
  const detail = [said, doubtful ? doubt : ''].filter((text) => text !== '').join('; ');
  const { details } = error;
  return new KvError(error.code, detail === '' ? undefined : detail, {
    details,
    cause: error,
    outcome,
  });
}
