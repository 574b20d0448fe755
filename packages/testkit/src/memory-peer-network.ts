import { assert, formatId, KvError, type MemberId } from '@kvorum/base';
import type { Clock, PeerEnvelope, PeerTransport, RequestSignal, Rng } from '@kvorum/ports';

/** Behaviour of one direction between two members. Probabilities are per mille. */
export interface PeerLinkFaults {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  readonly lossPerMille: number;
  readonly duplicationPerMille: number;
  /** Nothing passes in this direction. */
  readonly cut: boolean;
  /** What is sent waits, and arrives once this ends: a connection that hangs without breaking. */
  readonly clogged?: boolean;
}

const PERFECT: PeerLinkFaults = {
  delayMsMin: 0,
  delayMsMax: 1,
  lossPerMille: 0,
  duplicationPerMille: 0,
  cut: false,
  clogged: false,
};

/** Messages under way in one direction; more are lost, as by a full queue. */
const IN_FLIGHT_MAX = 1000;

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

/** One direction between two members. */
class Link {
  readonly from: MemberId;
  readonly to: MemberId;
  faults: PeerLinkFaults;
  reachable = false;
  inFlight = 0;
  /** What arrived at the clogged end, in order. */
  waiting: (() => void)[] = [];

  constructor(from: MemberId, to: MemberId, faults: PeerLinkFaults) {
    this.from = from;
    this.to = to;
    this.faults = faults;
  }
}

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
  readonly #links = new Map<MemberId, Map<MemberId, Link>>();
  readonly #members = new Map<MemberId, MemoryPeerTransport>();
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
    const link = this.#link(from, to);
    link.faults = { ...link.faults, ...faults };
    this.#reviewReachability();
    if (link.faults.clogged === true) return;
    for (const arrive of link.waiting.splice(0)) this.#clock.setTimer(0, arrive);
  }

  /** Cuts both directions between two members. */
  cut(a: MemberId, b: MemberId): void {
    this.setFaults(a, b, { cut: true });
    this.setFaults(b, a, { cut: true });
  }

  /** Ends every fault, also those given for all directions. */
  heal(): void {
    for (const from of this.#members.keys()) {
      for (const to of this.#members.keys()) this.setFaults(from, to, PERFECT);
    }
  }

  faultsOf(from: MemberId, to: MemberId): PeerLinkFaults {
    return this.#link(from, to).faults;
  }

  /** What a TCP connection from `from` would find: `to` runs, and both directions pass. */
  isReachable(from: MemberId, to: MemberId): boolean {
    const running = this.#members.has(from) && this.#members.has(to);
    return running && !this.faultsOf(from, to).cut && !this.faultsOf(to, from).cut;
  }

  /** Hands `deliver` the receiver when the packet arrives: never, once or twice. */
  transmit(from: MemberId, to: MemberId, deliver: (receiver: MemoryPeerTransport) => void): void {
    const link = this.#link(from, to);
    const { delayMsMax, delayMsMin, duplicationPerMille, lossPerMille } = link.faults;
    const copies = this.#chance(duplicationPerMille) ? 2 : 1;
    for (let i = 0; i < copies; i += 1) {
      if (this.#chance(lossPerMille) || link.inFlight >= IN_FLIGHT_MAX) continue;
      link.inFlight += 1;
      const arrive = (): void => {
        if (link.faults.clogged === true) {
          link.waiting.push(arrive);
          return;
        }
        link.inFlight -= 1;
        // A link cut while the packet travels loses it too.
        const receiver = this.#members.get(to);
        if (receiver === undefined || link.faults.cut) return;
        this.deliveredCount += 1;
        deliver(receiver);
      };
      this.#clock.setTimer(this.#rng.integer(delayMsMin, delayMsMax + 1), arrive);
    }
  }

  leave(self: MemberId): void {
    this.#members.delete(self);
    this.#reviewReachability();
  }

  #chance(perMille: number): boolean {
    return perMille > 0 && this.#rng.integer(0, 1000) < perMille;
  }

  #link(from: MemberId, to: MemberId): Link {
    let links = this.#links.get(from);
    if (links === undefined) {
      links = new Map();
      this.#links.set(from, links);
    }
    let link = links.get(to);
    if (link === undefined) {
      link = new Link(from, to, this.#defaults);
      links.set(to, link);
    }
    return link;
  }

  #reviewReachability(): void {
    for (const [from, transport] of this.#members) {
      for (const to of this.#members.keys()) if (to !== from) this.#link(from, to);
      for (const link of this.#links.get(from)?.values() ?? []) {
        const now = this.isReachable(from, link.to);
        if (link.reachable === now || link.to === from) continue;
        link.reachable = now;
        transport.reachabilityChanged(link.to, now);
      }
    }
  }
}

/** A copy of plain data, as a network makes: neither side may see the other's later changes. */
function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copyOf);
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value);
  // Spread keeps the shape of the object: adding field by field to an empty one is far slower.
  const copy: Record<string, unknown> = { ...value };
  for (const name in copy) {
    const field = copy[name];
    if (typeof field === 'object') copy[name] = copyOf(field);
  }
  return copy;
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
    const { shard } = envelope;
    const payload = copyOf(envelope.payload);
    this.#network.transmit(this.self, to, (receiver) => {
      receiver.#onMessage(this.self, { shard, payload });
    });
  }

  request(
    to: MemberId,
    payload: unknown,
    options: { readonly signal: RequestSignal },
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
