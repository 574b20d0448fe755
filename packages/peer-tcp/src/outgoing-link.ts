import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { formatId, KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { RequestSignal } from '@kvorum/ports';
import { errorFromPlain, type PeerHello, type PeerItem } from '@kvorum/wire';
import { helloRefusal, ownHello } from './handshake.ts';
import {
  HANDSHAKE_MS,
  LINGER_MS,
  type PeerAddress,
  type PeerTransportOptions,
  PING_MS,
  REDIAL_MS_MAX,
  REDIAL_MS_MIN,
  SILENCE_MS_MAX,
} from './peer-options.ts';
import { type CloseReason, PeerSocket } from './peer-socket.ts';

interface PendingRequest {
  resolve(answer: unknown): void;
  reject(error: KvError): void;
}

export interface LinkEvents {
  onReachability(peer: MemberId, reachable: boolean): void;
  onHello(hello: PeerHello): void;
}

/**
 * The connection this member dials to one peer: carries messages and requests out, and the answers back. Redials for ever,
 * with growing, jittered pauses, so that members that restart together do not dial in step.
 */
export class OutgoingLink {
  readonly address: PeerAddress;
  readonly #options: PeerTransportOptions;
  readonly #events: LinkEvents;
  readonly #pending = new Map<number, PendingRequest>();
  #lastRequest = 0;
  #socket: PeerSocket | undefined;
  #up = false;
  #closed = false;
  /** Undefined until the first attempt has ended: the first refusal is news too. */
  #reported: boolean | undefined;
  #failures = 0;
  #lastWarning: string | undefined;
  #lastSignMs = 0;
  /** When the oldest ping without an answer was sent. */
  #pingedMs: number | undefined;
  #cancelTimer: () => void = () => undefined;
  #onFinished: (() => void) | undefined;

  constructor(address: PeerAddress, options: PeerTransportOptions, events: LinkEvents) {
    this.address = address;
    this.#options = options;
    this.#events = events;
    this.#dial();
  }

  get isUp(): boolean {
    return this.#up;
  }

  message(shard: ShardId, payload: unknown): void {
    if (this.#up) this.#socket?.message(shard, payload);
    else this.#options.metrics?.dropped(this.address.id);
  }

  request(payload: unknown, signal: RequestSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (!this.#up || this.#socket === undefined) return reject(this.#unavailable('not-applied'));
      if (this.#pending.size >= this.#options.limits.peerRequestsMax) {
        return reject(this.#tooMany());
      }
      this.#lastRequest += 1;
      const id = this.#lastRequest;
      const queued = this.#socket.item({ kind: 'request', id, payload }, payload);
      if (queued === 'full') return reject(this.#tooMany());
      if (queued === 'too-large') return reject(new KvError('KV_REQUEST_TOO_LARGE'));

      const onAbort = (): void => {
        this.#pending.delete(id);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, {
        resolve: (answer) => {
          signal.removeEventListener('abort', onAbort);
          resolve(answer);
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      });
    });
  }

  /** Sends what is queued, then closes; resolves when the socket is gone. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve();
      this.#closed = true;
      this.#cancelTimer();
      const socket = this.#socket;
      const wasUp = this.#up;
      this.#down();
      if (socket === undefined) return resolve();
      this.#onFinished = resolve;
      if (!wasUp) return socket.destroy('closed');
      socket.end();
      this.#cancelTimer = this.#options.clock.setTimer(LINGER_MS, () => socket.destroy('closed'));
    });
  }

  #dial(): void {
    const { host, port } = this.address;
    const { tls, clock, limits } = this.#options;
    const raw: Socket =
      tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, ...tls });
    const socket = new PeerSocket(raw, limits, {
      onItem: (item) => this.#onItem(item),
      onClosed: (reason) => this.#onClosed(reason),
    });
    this.#socket = socket;
    raw.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      socket.item(ownHello(this.#options));
    });
    this.#cancelTimer = clock.setTimer(HANDSHAKE_MS, () => {
      socket.destroy(`no handshake within ${HANDSHAKE_MS} ms`);
    });
  }

  #onItem(item: PeerItem): void {
    this.#lastSignMs = this.#options.clock.nowMs();
    if (this.#up) this.#onAnswer(item);
    else this.#onHello(item);
  }

  #onAnswer(item: PeerItem): void {
    switch (item.kind) {
      case 'response':
        this.#take(item.id)?.resolve(item.payload);
        break;
      case 'response-error':
        this.#take(item.id)?.reject(errorFromPlain(item.error));
        break;
      case 'pong':
        this.#onPong();
        break;
      case 'hello':
      case 'messages':
      case 'request':
      case 'ping':
        this.#socket?.destroy(`unexpected ${item.kind} on a dialled connection`, true);
        break;
    }
  }

  #onPong(): void {
    const { metrics, clock } = this.#options;
    if (this.#pingedMs === undefined) return;
    metrics?.roundTrip(this.address.id, clock.nowMs() - this.#pingedMs);
    this.#pingedMs = undefined;
  }

  #onHello(item: PeerItem): void {
    if (this.#closed) return;
    const refusal = helloRefusal(this.#options, item, this.address.id);
    if (refusal !== undefined || item.kind !== 'hello') {
      this.#socket?.destroy(refusal ?? 'no hello', true);
      return;
    }
    this.#cancelTimer();
    this.#up = true;
    this.#failures = 0;
    this.#lastWarning = undefined;
    this.#schedulePing();
    this.#events.onHello(item);
    this.#report(true);
  }

  #schedulePing(): void {
    const { clock } = this.#options;
    this.#cancelTimer = clock.setTimer(PING_MS, () => {
      if (clock.nowMs() - this.#lastSignMs > SILENCE_MS_MAX) {
        this.#socket?.destroy(`no sign of life for ${SILENCE_MS_MAX} ms`);
        return;
      }
      this.#socket?.reportBytes(this.address.id, this.#options.metrics);
      // The time of an answer that is still awaited stays that of its own ping.
      this.#pingedMs ??= clock.nowMs();
      this.#socket?.item({ kind: 'ping' });
      this.#schedulePing();
    });
  }

  /** An aborted request has left the map: its late answer is dropped. */
  #take(id: number): PendingRequest | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #onClosed(reason: CloseReason): void {
    this.#cancelTimer();
    this.#socket?.reportBytes(this.address.id, this.#options.metrics);
    this.#socket = undefined;
    this.#pingedMs = undefined;
    if (this.#closed) {
      this.#onFinished?.();
      return;
    }
    if (reason.violation) this.#warn(reason.text);
    this.#down();
    const { clock, rng } = this.#options;
    const pauseMs = Math.min(REDIAL_MS_MAX, REDIAL_MS_MIN * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const jittered = rng.integer(Math.ceil(pauseMs / 2), pauseMs + 1);
    this.#cancelTimer = clock.setTimer(jittered, () => this.#dial());
  }

  #down(): void {
    this.#up = false;
    const open = [...this.#pending.values()];
    this.#pending.clear();
    // They may have arrived: the peer may still execute them.
    for (const request of open) request.reject(this.#unavailable('unknown'));
    this.#report(false);
  }

  #report(reachable: boolean): void {
    if (this.#reported === reachable) return;
    this.#reported = reachable;
    this.#events.onReachability(this.address.id, reachable);
  }

  /** The same trouble at every redial is said once. */
  #warn(text: string): void {
    if (this.#lastWarning === text) return;
    this.#lastWarning = text;
    const { id, host, port } = this.address;
    this.#options.onWarning?.({
      peer: id,
      message: `connection to member ${formatId(id)} (${host}:${port}) dropped: ${text}`,
    });
  }

  #unavailable(outcome: 'not-applied' | 'unknown'): KvError {
    const message = `member ${formatId(this.address.id)} cannot be reached`;
    return new KvError('KV_UNAVAILABLE', message, { outcome });
  }

  #tooMany(): KvError {
    const message = `the queue to member ${formatId(this.address.id)} is full`;
    return new KvError('KV_TOO_MANY_REQUESTS', message);
  }
}
