import { KvError, SESSION_RETRY_MS_MAX } from '@kvorum/base';
import { FRAME, type RequestItem } from '@kvorum/wire';
import { Backoff } from './backoff.ts';
import type { Call } from './call.ts';
import type { Connection } from './connection.ts';
import { SessionWindow } from './session-window.ts';

/** A frame is closed at this size, so that one does not hold up the others for long. */
const FRAME_BYTES_TARGET = 256 * 1024;
const FRAME_ITEMS_MAX = 4096;
/** What a frame can say; the caller's own deadline is kept by the dispatcher. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Room for what a frame carries besides its keys and values. */
const ITEM_OVERHEAD_BYTES = 24;

export interface LaneHost {
  readonly session: boolean;
  readonly now: () => number;
  readonly nextId: () => number;
  readonly connectionFor: (shard: string) => Connection | undefined;
  readonly expire: (call: Call) => void;
  /** The call has to end sooner than its deadline. */
  readonly endsSooner: (call: Call) => void;
}

/** The way to one shard: what waits to be sent, in session order, and the pause after a refusal. */
export class Lane {
  readonly shard: string;
  readonly window: SessionWindow = new SessionWindow();
  /** When the leader this client knows of changed; 0 = nothing to move. */
  leaderChangedMs = 0;
  readonly #host: LaneHost;
  readonly #backoff = new Backoff(8, 400);
  #waiting: Call[] = [];
  /** Calls that were sent before come first, in seq order. */
  #again: Call[] = [];
  #gateMs = 0;
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(shard: string, host: LaneHost) {
    this.shard = shard;
    this.#host = host;
  }

  add(call: Call): void {
    call.shard = this.shard;
    this.#waiting.push(call);
  }

  /** Takes back a call whose attempt failed; it goes out again before anything newer. */
  retry(call: Call): void {
    call.state = 'waiting';
    call.connection = undefined;
    this.#again.push(call);
  }

  *unsent(): IterableIterator<Call> {
    yield* this.#again;
    yield* this.#waiting;
  }

  /** Gives every waiting call back, to be routed anew. */
  takeUnsent(): Call[] {
    const calls = [...this.unsent()];
    this.#again = [];
    this.#waiting = [];
    return calls;
  }

  /** Waits before the next attempt, longer each time until a call succeeds. */
  pause(): void {
    const now = this.#host.now();
    if (this.#gateMs > now) return;
    const delayMs = this.#backoff.next();
    this.#gateMs = now + delayMs;
    this.#wakeIn(delayMs);
  }

  succeeded(): void {
    if (this.#backoff.failures > 0) this.#backoff.reset();
  }

  /** Something changed for the better: do not wait for the pause to end. */
  openGate(): void {
    this.#gateMs = 0;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Sends what waits, if there is somebody to send it to and no pause. */
  flush(): void {
    if (this.#again.length === 0 && this.#waiting.length === 0) return;
    const now = this.#host.now();
    if (now < this.#gateMs) return;
    const connection = this.#host.connectionFor(this.shard);
    if (connection === undefined) return;
    const calls = this.#inOrder();
    for (let at = 0; at < calls.length; ) at = this.#sendFrame(calls, at, connection, now);
  }

  #inOrder(): Call[] {
    const again = this.#again;
    const waiting = this.#waiting;
    this.#again = [];
    this.#waiting = [];
    if (again.length === 0) return waiting;
    again.sort((a, b) => a.seq - b.seq);
    return again.concat(waiting);
  }

  /** Sends calls[from…] up to the frame's bounds; returns where the next frame starts. */
  #sendFrame(calls: readonly Call[], from: number, connection: Connection, now: number): number {
    const items: RequestItem[] = [];
    let bytes = 0;
    let deadlineMs = 0;
    let resendUntilMs = Number.POSITIVE_INFINITY;
    let first: Call | undefined;
    let at = from;
    for (; at < calls.length && items.length < FRAME_ITEMS_MAX; at += 1) {
      const call = calls[at];
      if (call === undefined || call.state !== 'waiting') continue;
      if (call.endMs <= now) {
        this.#host.expire(call);
        continue;
      }
      if (bytes > 0 && bytes + call.bytes > FRAME_BYTES_TARGET) break;
      this.#limitResends(call, now);
      // One deadline holds for the whole frame, and no write of it may outlive its own last moment.
      const latest = Math.max(deadlineMs, call.endMs);
      const earliest = Math.min(resendUntilMs, call.resendUntilMs);
      first ??= call;
      if (first !== call && needsOwnFrame(call, first, latest > earliest)) break;
      bytes += call.bytes + ITEM_OVERHEAD_BYTES;
      deadlineMs = latest;
      resendUntilMs = earliest;
      items.push(this.#prepare(call, connection));
    }
    if (first !== undefined) {
      const { mapVersion } = first;
      // Rounded down: `now + 30000 - now` can be a hair more than 30000, and no write may outlive its limit.
      const timeoutMs = Math.min(Math.max(1, Math.floor(deadlineMs - now)), TIMEOUT_MS_MAX);
      const { ackedThrough } = this.window;
      connection.send([FRAME.requests, this.shard, mapVersion, timeoutMs, ackedThrough, items]);
    }
    return at;
  }

  #limitResends(call: Call, now: number): void {
    if (!call.write || !this.#host.session) return;
    call.resendUntilMs = Math.min(call.resendUntilMs, now + SESSION_RETRY_MS_MAX);
    if (call.resendUntilMs < call.deadlineMs) this.#host.endsSooner(call);
  }

  #prepare(call: Call, connection: Connection): RequestItem {
    // A sequence number is taken at the first sending, so that what never leaves makes no hole.
    if (call.seq === 0 && call.write && this.#host.session) call.seq = this.window.next();
    call.id = this.#host.nextId();
    call.state = 'sent';
    call.connection = connection;
    connection.pending.set(call.id, call);
    return call.item(call.id);
  }

  #wakeIn(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), delayMs + 1);
  }
}

/** The shard must know by which map a request for several slots was sent to it alone. */
function needsOwnFrame(call: Call, first: Call, isLate: boolean): boolean {
  return isLate || (call.request !== undefined && call.mapVersion !== first.mapVersion);
}

/** What a caller is told when time is up. */
export function deadlineError(call: Call, unreachable: KvError | undefined): KvError {
  const cause = call.lastError ?? unreachable;
  const options = cause === undefined ? {} : { cause, details: cause.details };
  const last = cause === undefined ? undefined : `last: ${cause.message}`;
  const ended = call.resendUntilMs < call.deadlineMs;
  const tooLate = `a write is repeated for at most ${SESSION_RETRY_MS_MAX / 1000} s`;
  const said = [ended ? tooLate : undefined, last].filter((text) => text !== undefined);
  const because = said.length === 0 ? undefined : said.join('; ');
  if (call.write && call.maybeApplied) return new KvError('KV_TIMEOUT', because, options);
  if (call.state === 'sent') {
    return call.write
      ? new KvError('KV_TIMEOUT', because, options)
      : new KvError('KV_TIMEOUT', because, { ...options, outcome: 'not-applied' });
  }
  if (unreachable !== undefined) return unreachable;
  return new KvError('KV_DEADLINE', because, options);
}
