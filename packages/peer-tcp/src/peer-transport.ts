import { formatId, KvError, type MemberId } from '@kvorum/base';
import type { PeerEnvelope, RequestSignal } from '@kvorum/ports';
import type { PeerHello } from '@kvorum/wire';
import { IncomingConnections } from './incoming-connections.ts';
import { OutgoingLink } from './outgoing-link.ts';
import type { PeerAddress, PeerTransportOptions, TcpPeerTransport } from './peer-options.ts';

/**
 * Listens for peers and dials the given ones.
 *
 * Every member dials every other: one connection for each direction of a pair, so that who connects first never
 * matters and a connection that passes one way only is noticed. Errors: KV_CONFIG when the address is taken.
 */
export async function openPeerTransport(options: PeerTransportOptions): Promise<TcpPeerTransport> {
  const transport = new TcpTransport(options);
  await transport.start();
  return transport;
}

class TcpTransport implements TcpPeerTransport {
  readonly self: MemberId;
  readonly #options: PeerTransportOptions;
  readonly #incoming: IncomingConnections;
  readonly #links = new Map<MemberId, OutgoingLink>();
  /** Data directory of each member, as its last hello said. */
  readonly #disks = new Map<MemberId, string>();
  #address: { readonly host: string; readonly port: number };
  #closing: Promise<void> | undefined;
  #onMessage: (from: MemberId, envelope: PeerEnvelope) => void = () => undefined;
  #onRequest: ((from: MemberId, payload: unknown) => Promise<unknown>) | undefined;
  #onReachability: (peer: MemberId, reachable: boolean) => void = () => undefined;

  constructor(options: PeerTransportOptions) {
    this.self = options.self;
    this.#options = options;
    this.#address = options.listen;
    this.#incoming = new IncomingConnections(options, {
      onMessage: (from, envelope) => this.#onMessage(from, envelope),
      onRequest: (from, payload) => this.#answer(from, payload),
      onHello: (hello) => this.#checkDisk(hello),
    });
  }

  async start(): Promise<void> {
    this.#address = await this.#incoming.listen();
    this.setPeers(this.#options.peers);
  }

  get address(): { readonly host: string; readonly port: number } {
    return this.#address;
  }

  setPeers(peers: readonly PeerAddress[]): void {
    if (this.#closing !== undefined) return;
    const wanted = new Map(peers.map((peer) => [peer.id, peer]));
    wanted.delete(this.self);
    for (const [id, link] of this.#links) {
      const peer = wanted.get(id);
      if (peer?.host === link.address.host && peer.port === link.address.port) continue;
      this.#links.delete(id);
      void link.close();
    }
    for (const [id, peer] of wanted) {
      if (!this.#links.has(id)) this.#links.set(id, this.#newLink(peer));
    }
  }

  send(to: MemberId, envelope: PeerEnvelope): void {
    this.#links.get(to)?.message(envelope.shard, envelope.payload);
  }

  request(
    to: MemberId,
    payload: unknown,
    options: { readonly signal: RequestSignal },
  ): Promise<unknown> {
    const link = this.#links.get(to);
    if (link !== undefined) return link.request(payload, options.signal);
    if (options.signal.aborted) return Promise.reject(options.signal.reason as Error);
    return Promise.reject(new KvError('KV_UNAVAILABLE', `member ${formatId(to)} is not a peer`));
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
    return this.#links.get(peer)?.isUp ?? false;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all([...links.map((link) => link.close()), this.#incoming.close()]);
  }

  #newLink(peer: PeerAddress): OutgoingLink {
    return new OutgoingLink(peer, this.#options, {
      onReachability: (id, reachable) => this.#onReachability(id, reachable),
      onHello: (hello) => this.#checkDisk(hello),
    });
  }

  async #answer(from: MemberId, payload: unknown): Promise<unknown> {
    if (this.#onRequest === undefined) {
      throw new KvError('KV_UNAVAILABLE', 'the member is still starting');
    }
    return this.#onRequest(from, payload);
  }

  #checkDisk({ memberId: peer, diskId }: PeerHello): void {
    const earlier = this.#disks.get(peer);
    this.#disks.set(peer, diskId);
    if (earlier === undefined || earlier === diskId) return;
    this.#options.onWarning?.({
      peer,
      message:
        `member ${formatId(peer)} came back with another data directory (${diskId}, before ${earlier}): ` +
        'if it lost its disk, remove it and add it as a new member',
    });
  }
}
