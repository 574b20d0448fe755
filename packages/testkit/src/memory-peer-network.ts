import { assert, formatId, KvError, type MemberId } from '@kvorum/base';
import type { Clock, PeerEnvelope, PeerTransport, Rng } from '@kvorum/ports';

/** Behaviour of one direction between two members. Probabilities are per mille. */
export interface PeerLinkFaults {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  readonly lossPerMille: number;
  readonly duplicationPerMille: number;
  /** Nothing passes in this direction. */
  readonly cut: boolean;
}

const PERFECT: PeerLinkFaults = {
  delayMsMin: 0,
  delayMsMax: 1,
  lossPerMille: 0,
  duplicationPerMille: 0,
  cut: false,
};

export interface MemoryPeerNetworkOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Faults of every direction that has none of its own. */
  readonly faults?: Partial<PeerLinkFaults>;
}

interface PendingRequest {
  readonly to: MemberId;
  readonly reject: (error: KvError) => void;
}

const linkName = (from: MemberId, to: MemberId): string => `${formatId(from)}>${formatId(to)}`;

function unreachable(to: MemberId, outcome: 'not-applied' | 'unknown'): KvError {
  return new KvError('KV_UNAVAILABLE', `member ${formatId(to)} cannot be reached`, { outcome });
}

/**
 * Transports of members in one process, on a clock that may be virtual, with delay, loss, duplication and cut links for each
 * direction. Everything is decided by the given Rng: a seed replays it.
 */
export class MemoryPeerNetwork {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #defaults: PeerLinkFaults;
  readonly #faults = new Map<string, PeerLinkFaults>();
  readonly #members = new Map<MemberId, MemoryPeerTransport>();
  readonly #reachable = new Map<string, boolean>();
  /** Messages handed to a receiver so far; for tests and simulation statistics. */
  deliveredCount = 0;

  constructor(options: MemoryPeerNetworkOptions) {
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#defaults = { ...PERFECT, ...options.faults };
  }

  /** The transport of a member that (re)starts; an earlier one of the same id must be closed. */
  join(self: MemberId): PeerTransport {
    assert(!this.#members.has(self), `member ${formatId(self)} joined twice`);
    const transport = new MemoryPeerTransport(self, this);
    this.#members.set(self, transport);
    this.#reviewReachability();
    return transport;
  }

  /** Changes one direction; fields left out keep their value. */
  setFaults(from: MemberId, to: MemberId, faults: Partial<PeerLinkFaults>): void {
    this.#faults.set(linkName(from, to), { ...this.faultsOf(from, to), ...faults });
    this.#reviewReachability();
  }

  /** Cuts both directions between two members. */
  cut(a: MemberId, b: MemberId): void {
    this.setFaults(a, b, { cut: true });
    this.setFaults(b, a, { cut: true });
  }

  /** Ends every fault, also those given for all directions. */
  heal(): void {
    for (const from of this.#members.keys()) {
      for (const to of this.#members.keys()) this.#faults.set(linkName(from, to), PERFECT);
    }
    this.#reviewReachability();
  }

  faultsOf(from: MemberId, to: MemberId): PeerLinkFaults {
    return this.#faults.get(linkName(from, to)) ?? this.#defaults;
  }

  /** What a TCP connection from `from` would find: `to` runs, and both directions pass. */
  isReachable(from: MemberId, to: MemberId): boolean {
    const running = this.#members.has(from) && this.#members.has(to);
    return running && !this.faultsOf(from, to).cut && !this.faultsOf(to, from).cut;
  }

  /** Hands `deliver` the receiver when the packet arrives: never, once or twice. */
  transmit(from: MemberId, to: MemberId, deliver: (receiver: MemoryPeerTransport) => void): void {
    const faults = this.faultsOf(from, to);
    const copies = this.#chance(faults.duplicationPerMille) ? 2 : 1;
    for (let i = 0; i < copies; i += 1) {
      if (this.#chance(faults.lossPerMille)) continue;
      const delayMs = this.#rng.integer(faults.delayMsMin, faults.delayMsMax + 1);
      this.#clock.setTimer(delayMs, () => {
        // A link cut while the packet travels loses it too.
        const receiver = this.#members.get(to);
        if (receiver === undefined || this.faultsOf(from, to).cut) return;
        this.deliveredCount += 1;
        deliver(receiver);
      });
    }
  }

  leave(self: MemberId): void {
    this.#members.delete(self);
    this.#reviewReachability();
  }

  #chance(perMille: number): boolean {
    return perMille > 0 && this.#rng.integer(0, 1000) < perMille;
  }

  #reviewReachability(): void {
    for (const [from, transport] of this.#members) {
      for (const to of this.#peersSeenBy(from)) {
        const name = linkName(from, to);
        const now = this.isReachable(from, to);
        if ((this.#reachable.get(name) ?? false) === now) continue;
        this.#reachable.set(name, now);
        transport.reachabilityChanged(to, now);
      }
    }
  }

  #peersSeenBy(from: MemberId): ReadonlySet<MemberId> {
    const seen = new Set(this.#members.keys());
    for (const [name, reachable] of this.#reachable) {
      const [left = '', right = ''] = name.split('>');
      if (reachable && left === formatId(from)) seen.add(BigInt(`0x${right}`) as MemberId);
    }
    seen.delete(from);
    return seen;
  }
}

class MemoryPeerTransport implements PeerTransport {
  readonly self: MemberId;
  readonly #network: MemoryPeerNetwork;
  readonly #pending = new Map<number, PendingRequest>();
  #lastRequest = 0;
  #closed = false;
  #onMessage: (from: MemberId, envelope: PeerEnvelope) => void = () => undefined;
  #onRequest: ((from: MemberId, payload: unknown) => Promise<unknown>) | undefined;
  #onReachability: (peer: MemberId, reachable: boolean) => void = () => undefined;

  constructor(self: MemberId, network: MemoryPeerNetwork) {
    this.self = self;
    this.#network = network;
  }

  send(to: MemberId, envelope: PeerEnvelope): void {
    if (this.#closed) return;
    // A copy, as a network makes: neither side may see the other's later changes.
    const { shard } = envelope;
    const payload = structuredClone(envelope.payload);
    this.#network.transmit(this.self, to, (receiver) => {
      receiver.#onMessage(this.self, { shard, payload });
    });
  }

  request(
    to: MemberId,
    payload: unknown,
    options: { readonly signal: AbortSignal },
  ): Promise<unknown> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.#closed || !this.#network.isReachable(this.self, to)) {
        return reject(unreachable(to, 'not-applied'));
      }
      this.#lastRequest += 1;
      const id = this.#lastRequest;
      const settle = (act: () => void): void => {
        if (!this.#pending.delete(id)) return;
        signal.removeEventListener('abort', onAbort);
        act();
      };
      const onAbort = (): void => settle(() => reject(signal.reason as Error));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, { to, reject: (error) => settle(() => reject(error)) });
      this.#transmitRequest(to, payload, (answer) =>
        settle(() => ('error' in answer ? reject(answer.error as Error) : resolve(answer.value))),
      );
    });
  }

  onMessage(handler: (from: MemberId, envelope: PeerEnvelope) => void): void {
    this.#onMessage = handler;
  }

  onRequest(handler: (from: MemberId, payload: unknown) => Promise<unknown>): void {
    this.#onRequest = handler;
  }

  onReachability(handler: (peer: MemberId, reachable: boolean) => void): void {
    this.#onReachability = handler;
  }

  isReachable(peer: MemberId): boolean {
    return !this.#closed && this.#network.isReachable(this.self, peer);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#network.leave(this.self);
    for (const { to, reject } of [...this.#pending.values()]) reject(unreachable(to, 'unknown'));
  }

  reachabilityChanged(peer: MemberId, reachable: boolean): void {
    if (!reachable) {
      for (const request of [...this.#pending.values()]) {
        if (request.to === peer) request.reject(unreachable(peer, 'unknown'));
      }
    }
    this.#onReachability(peer, reachable);
  }

  #transmitRequest(to: MemberId, payload: unknown, onAnswer: (answer: Answer) => void): void {
    const copy = structuredClone(payload);
    let taken = false;
    this.#network.transmit(this.self, to, (receiver) => {
      // A request travels on a stream: the duplicates that messages know do not exist for it.
      if (taken) return;
      taken = true;
      void receiver.#answer(this.self, copy).then((answer) => {
        this.#network.transmit(to, this.self, () => onAnswer(answer));
      });
    });
  }

  async #answer(from: MemberId, payload: unknown): Promise<Answer> {
    const handler = this.#onRequest;
    if (handler === undefined) return { error: new KvError('KV_UNAVAILABLE', 'not serving yet') };
    try {
      return { value: structuredClone(await handler(from, payload)) };
    } catch (error) {
      return { error };
    }
  }
}

type Answer = { readonly value: unknown } | { readonly error: unknown };
