import type { ClusterId, Limits, MemberId } from '@kvorum/base';
import type { Clock, PeerTransport, Rng } from '@kvorum/ports';

export interface PeerAddress {
  readonly id: MemberId;
  readonly host: string;
  readonly port: number;
}

/** PEM texts. Both sides show a certificate that `ca` signed; its names must match the hosts in the peer addresses. */
export interface PeerTls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca: string | Buffer;
}

export interface PeerWarning {
  /** Absent when the other side did not say who it is. */
  readonly peer?: MemberId;
  /** What happened and what to check. */
  readonly message: string;
}

export interface PeerTransportOptions {
  readonly self: MemberId;
  readonly clusterId: ClusterId;
  /** Identity of this member's data directory. */
  readonly diskId: string;
  /** Port 0 takes a free one; see `address`. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly peers: readonly PeerAddress[];
  readonly tls?: PeerTls;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits: Limits;
  /** Why nothing may come from a member that says who it is; undefined = it may. Asked at every connection. */
  readonly admit?: (hello: {
    readonly memberId: MemberId;
    readonly diskId: string;
  }) => string | undefined;
  readonly onWarning?: (warning: PeerWarning) => void;
  readonly metrics?: PeerMetrics;
}

/** What a transport counts; bytes are told about once a second. */
export interface PeerMetrics {
  readonly sent: (peer: MemberId, bytes: number) => void;
  readonly received: (peer: MemberId, bytes: number) => void;
  /** A message was dropped: there was no connection. */
  readonly dropped: (peer: MemberId) => void;
  /** From a ping until its answer, milliseconds. */
  readonly roundTrip: (peer: MemberId, ms: number) => void;
}

export interface TcpPeerTransport extends PeerTransport {
  /** Where it listens. */
  readonly address: { readonly host: string; readonly port: number };
  /** Replaces the peers: connects to new ones, drops the connections of those gone, redials those moved. */
  setPeers(peers: readonly PeerAddress[]): void;
}

/** Connecting, TLS and hello together. */
export const HANDSHAKE_MS = 3000;
export const REDIAL_MS_MIN = 50;
export const REDIAL_MS_MAX = 1000;
/** A quiet outgoing connection asks for a sign of life this often… */
export const PING_MS = 1000;
/** …and counts as dead without one for this long (a vanished machine sends no reset). */
export const SILENCE_MS_MAX = 5000;
/** How long a closing transport waits for its last bytes to leave. */
export const LINGER_MS = 500;
/** Accepted connections that have not said hello; the oldest makes room. */
export const STRANGERS_MAX = 256;
