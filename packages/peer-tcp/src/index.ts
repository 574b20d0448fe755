export { type AskOptions, askPeer } from './ask-peer.ts';
export type {
  PeerAddress,
  PeerMetrics,
  PeerTls,
  PeerTransportOptions,
  PeerWarning,
  TcpPeerTransport,
} from './peer-options.ts';
export { openPeerTransport } from './peer-transport.ts';
