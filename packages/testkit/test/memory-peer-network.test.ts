import { memberId, shardId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import {
  describePeerTransportContract,
  MemoryPeerNetwork,
  type PeerLinkFaults,
  seededRng,
  VirtualClock,
} from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';

const A = memberId(1n);
const B = memberId(2n);

interface World {
  readonly clock: VirtualClock;
  readonly network: MemoryPeerNetwork;
  readonly a: PeerTransport;
  readonly b: PeerTransport;
  readonly received: unknown[];
}

function world(faults: Partial<PeerLinkFaults> = {}, seed = 1): World {
  const clock = new VirtualClock();
  const network = new MemoryPeerNetwork({ clock, rng: seededRng(seed), faults });
  const a = network.join(A);
  const b = network.join(B);
  const received: unknown[] = [];
  b.onMessage((_, { payload }) => received.push(payload));
  return { clock, network, a, b, received };
}

function sendMany(from: PeerTransport, to: PeerTransport, count: number): void {
  for (let i = 0; i < count; i += 1) from.send(to.self, { shard: shardId(0), payload: i });
}

describePeerTransportContract('memory', async () => {
  const { clock, a, b } = world({ delayMsMin: 1, delayMsMax: 20 });
  return {
    a,
    b,
    absent: memberId(9n),
    async until(condition) {
      for (let i = 0; i < 10_000 && !condition(); i += 1) {
        clock.advance(1);
        await Promise.resolve();
      }
      expect(condition()).toBe(true);
    },
    async dispose() {
      await a.close();
      await b.close();
    },
  };
});

describe('MemoryPeerNetwork', () => {
  it('delivers nothing before the delay, and out of order with a varying one', () => {
    const { clock, a, b, received } = world({ delayMsMin: 10, delayMsMax: 50 });
    sendMany(a, b, 30);
    clock.advance(9);
    expect(received).toEqual([]);
    clock.advance(41);
    expect(received).not.toEqual([...received].sort((x, y) => Number(x) - Number(y)));
    expect(new Set(received).size).toBe(30);
  });

  it('loses and doubles as told', () => {
    const lossy = world({ lossPerMille: 500 });
    sendMany(lossy.a, lossy.b, 1000);
    lossy.clock.advance(10);
    expect(Math.abs(lossy.received.length - 500)).toBeLessThan(80);
    const doubling = world({ duplicationPerMille: 1000 });
    sendMany(doubling.a, doubling.b, 10);
    doubling.clock.advance(10);
    expect(doubling.received.length).toBe(20);
  });

  it('replays a run from its seed', () => {
    const run = (seed: number): readonly unknown[] => {
      const faults = { delayMsMax: 100, lossPerMille: 100, duplicationPerMille: 100 };
      const { clock, a, b, received } = world(faults, seed);
      sendMany(a, b, 50);
      clock.advance(200);
      return received;
    };
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
  });

  it('cuts one direction: messages pass the other way, requests and reachability do not', async () => {
    const { clock, network, a, b, received } = world();
    const events: unknown[] = [];
    a.onReachability((peer, reachable) => events.push([peer, reachable]));
    network.setFaults(B, A, { cut: true });
    sendMany(a, b, 1);
    clock.advance(5);
    expect(received).toEqual([0]);
    expect([a.isReachable(B), b.isReachable(A)]).toEqual([false, false]);
    const { signal } = new AbortController();
    await expect(a.request(B, 'x', { signal })).rejects.toMatchObject({ code: 'KV_UNAVAILABLE' });
    network.heal();
    expect(events).toEqual([
      [B, false],
      [B, true],
    ]);
  });

  it('loses what is under way when the link is cut', () => {
    const { clock, network, a, b, received } = world({ delayMsMin: 10, delayMsMax: 10 });
    sendMany(a, b, 3);
    clock.advance(5);
    network.cut(A, B);
    clock.advance(100);
    expect(received).toEqual([]);
  });

  it('holds back what is sent over a clogged link until it is free again', () => {
    const { clock, network, a, b, received } = world();
    network.setFaults(A, B, { clogged: true });
    sendMany(a, b, 3);
    clock.advance(1000);
    expect(received).toEqual([]);
    expect(a.isReachable(B)).toBe(true);
    network.setFaults(A, B, { clogged: false });
    clock.advance(0);
    expect(new Set(received)).toEqual(new Set([0, 1, 2]));
  });

  it('gives the receiver a copy', () => {
    const { clock, a, b, received } = world();
    const payload = { list: [1] };
    a.send(b.self, { shard: shardId(0), payload });
    payload.list.push(2);
    clock.advance(5);
    expect(received).toEqual([{ list: [1] }]);
  });

  it('lets a member that left join again', async () => {
    const { network, a, b } = world();
    await b.close();
    expect(a.isReachable(B)).toBe(false);
    network.join(B);
    expect(a.isReachable(B)).toBe(true);
  });
});
