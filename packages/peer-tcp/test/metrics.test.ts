import { clusterId, DEFAULT_LIMITS, type MemberId, memberId, shardId } from '@kvorum/base';
import { openPeerTransport, type PeerMetrics, type TcpPeerTransport } from '@kvorum/peer-tcp';
import type { Clock } from '@kvorum/ports';
import { seededRng } from '@kvorum/testkit';
import { afterEach, expect, it } from 'vitest';

const [A, B] = [memberId(1n), memberId(2n)];
const PING_MS = 1000;
/** Pings, which come once a second, come every few milliseconds. */
const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs === PING_MS ? 5 : delayMs);
    return () => clearTimeout(timer);
  },
};
const opened: TcpPeerTransport[] = [];
afterEach(async () => {
  for (const transport of opened.splice(0)) await transport.close();
});

class Counted implements PeerMetrics {
  readonly bytes = { sent: 0, received: 0 };
  dropCount = 0;
  readonly roundTripsMs: number[] = [];
  readonly peers = new Set<MemberId>();
  readonly sent = (peer: MemberId, bytes: number): void => {
    this.peers.add(peer);
    this.bytes.sent += bytes;
  };
  readonly received = (_peer: MemberId, bytes: number): void => {
    this.bytes.received += bytes;
  };
  readonly dropped = (): void => {
    this.dropCount += 1;
  };
  readonly roundTrip = (_peer: MemberId, ms: number): void => {
    this.roundTripsMs.push(ms);
  };
}

async function open(
  self: MemberId,
  metrics: PeerMetrics,
  peers: readonly { id: MemberId; host: string; port: number }[],
): Promise<TcpPeerTransport> {
  const transport = await openPeerTransport({
    clock,
    rng: seededRng(1),
    limits: DEFAULT_LIMITS,
    clusterId: clusterId(7n),
    self,
    diskId: 'd',
    listen: { host: '127.0.0.1', port: 0 },
    peers,
    metrics,
  });
  opened.push(transport);
  return transport;
}

it('tells bytes both ways, round trips and what could not be sent', async () => {
  const [ofA, ofB] = [new Counted(), new Counted()];
  const b = await open(B, ofB, []);
  const a = await open(A, ofA, [{ id: B, ...b.address }]);
  a.send(B, { shard: shardId(0), payload: 'too early' });
  expect(ofA.dropCount).toBe(1);
  await expect.poll(() => a.isReachable(B)).toBe(true);
  a.send(B, { shard: shardId(0), payload: 'x'.repeat(10_000) });
  await expect.poll(() => ofA.roundTripsMs.length).toBeGreaterThan(1);
  expect(Math.min(...ofA.roundTripsMs)).toBeGreaterThan(0);
  await a.close();
  await expect.poll(() => ofB.bytes.received).toBe(ofA.bytes.sent);
  expect(ofA.bytes.sent).toBeGreaterThan(10_000);
  expect(ofB.bytes.sent).toBeGreaterThan(0);
  expect([...ofA.peers, ...ofB.peers]).toEqual([B, A]);
});
