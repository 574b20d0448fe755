import type { MemberId, ShardId } from '@kvorum/base';

/** One message from a shard's replica to its replica on another member. Payloads are plain data (msgpack). */
export interface PeerEnvelope {
  readonly shard: ShardId;
  readonly payload: unknown;
}

/**
 * Messages between members: unordered, may be lost or doubled; never corrupt. Everything sent to one member within one turn of
 * the event loop travels in one frame, so heartbeats of many shards cost one message. The contract suite is
 * `testkit/src/contract/peer-transport.ts`.
 */
export interface PeerTransport {
  readonly self: MemberId;
  /** Queues a message; dropped silently when the peer is unreachable or its queue is full. */
  send(to: MemberId, envelope: PeerEnvelope): void;
  /** A request to a member with one answer (forwarded client requests); rejects with KV_UNAVAILABLE or on abort. */
  request(
    to: MemberId,
    payload: unknown,
    options: { readonly signal: AbortSignal },
  ): Promise<unknown>;
  onMessage(handler: (from: MemberId, envelope: PeerEnvelope) => void): void;
  onRequest(handler: (from: MemberId, payload: unknown) => Promise<unknown>): void;
  /** Called when a member's connection is established, or refused or broken: a hint, never proof. */
  onReachability(handler: (peer: MemberId, reachable: boolean) => void): void;
  isReachable(peer: MemberId): boolean;
  close(): Promise<void>;
}
