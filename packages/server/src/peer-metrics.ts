import { formatId } from '@kvorum/base';
import type { PeerMetrics } from '@kvorum/peer-tcp';
import { Counter, Histogram, type Registry } from 'prom-client';

/** As etcd: doubling from a tenth of a millisecond. */
const SECONDS = Array.from({ length: 16 }, (_, i) => 0.0001 * 2 ** i);

/** Of the members' connections to each other; names and labels are etcd's. */
export function peerMetrics(registry: Registry): PeerMetrics {
  const registers = [registry];
  const sent = new Counter({
    name: 'etcd_network_peer_sent_bytes_total',
    help: 'Bytes sent to each member.',
    labelNames: ['To'],
    registers,
  });
  const received = new Counter({
    name: 'etcd_network_peer_received_bytes_total',
    help: 'Bytes received from each member.',
    labelNames: ['From'],
    registers,
  });
  const dropped = new Counter({
    name: 'etcd_network_peer_sent_failures_total',
    help: 'Messages to each member that could not be sent, since there was no connection.',
    labelNames: ['To'],
    registers,
  });
  const roundTrip = new Histogram({
    name: 'etcd_network_peer_round_trip_time_seconds',
    help: 'From a ping to each member until its answer.',
    labelNames: ['To'],
    buckets: SECONDS,
    registers,
  });
  return {
    sent: (peer, bytes) => sent.inc({ To: formatId(peer) }, bytes),
    received: (peer, bytes) => received.inc({ From: formatId(peer) }, bytes),
    dropped: (peer) => dropped.inc({ To: formatId(peer) }),
    roundTrip: (peer, ms) => roundTrip.observe({ To: formatId(peer) }, ms / 1000),
  };
}
