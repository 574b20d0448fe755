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
export interface PeerMessages {
  readonly self: MemberId;
  /** Queues a message; dropped silently when the peer is unreachable or its queue is full. */
  send(to: MemberId, envelope: PeerEnvelope): void;
  onMessage(handler: (from: MemberId, envelope: PeerEnvelope) => void): void;
  /** Called when a member is heard for the first time or again, or is known to be gone: a hint, never proof. */
  onReachability(handler: (peer: MemberId, reachable: boolean) => void): void;
  isReachable(peer: MemberId): boolean;
  close(): Promise<void>;
}

/** Ends the wait for an answer: what is used of an AbortSignal, which is one of them. */
export interface RequestSignal {
  readonly aborted: boolean;
  /** What the request is rejected with. */
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once: true }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Messages and requests over a network path of the members' own. */
export interface PeerTransport extends PeerMessages {
  /** A request to a member with one answer (forwarded client requests); rejects with KV_UNAVAILABLE or on abort. */
  request(
    to: MemberId,
    payload: unknown,
    options: { readonly signal: RequestSignal },
  ): Promise<unknown>;
  onRequest(handler: (from: MemberId, payload: unknown) => Promise<unknown>): void;
}
