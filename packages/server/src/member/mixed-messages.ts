import type { MemberId } from '@kvorum/base';
import type { PeerEnvelope, PeerMessages } from '@kvorum/ports';

/**
 * Messages over Kafka, to members that are heard there. While `election` changes from one value to the other, member by member, some
 * speak only directly: they are answered the way they speak.
 */
export class MixedMessages implements PeerMessages {
  readonly self: MemberId;
  readonly #kafka: PeerMessages;
  readonly #direct: PeerMessages;
  /** Members that sent a message directly, which one with elections over Kafka does only to answer such a member. */
  readonly #speakDirectly = new Set<MemberId>();

  /** Closes neither. */
  constructor(kafka: PeerMessages, direct: PeerMessages) {
    this.self = kafka.self;
    this.#kafka = kafka;
    this.#direct = direct;
  }

  send(to: MemberId, envelope: PeerEnvelope): void {
    (this.#isDirect(to) ? this.#direct : this.#kafka).send(to, envelope);
  }

  onMessage(handler: (from: MemberId, envelope: PeerEnvelope) => void): void {
    this.#kafka.onMessage(handler);
    this.#direct.onMessage((from, envelope) => {
      this.#speakDirectly.add(from);
      handler(from, envelope);
    });
  }

  onReachability(handler: (peer: MemberId, reachable: boolean) => void): void {
    this.#kafka.onReachability(handler);
    this.#direct.onReachability((peer, reachable) => {
      if (this.#isDirect(peer)) handler(peer, reachable);
    });
  }

  isReachable(peer: MemberId): boolean {
    return (this.#isDirect(peer) ? this.#direct : this.#kafka).isReachable(peer);
  }

  async close(): Promise<void> {}

  #isDirect(peer: MemberId): boolean {
    return this.#speakDirectly.has(peer) && !this.#kafka.isReachable(peer);
  }
}
