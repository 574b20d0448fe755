import { memberId, shardId } from '@kvorum/base';
import type { PeerMessages } from '@kvorum/ports';
import { MemoryPeerNetwork, seededRng, VirtualClock } from '@kvorum/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { MixedMessages } from '../src/member/mixed-messages.ts';

const [A, B] = [memberId(1n), memberId(2n)];
const SHARD = shardId(0);

describe('a member whose elections go over Kafka', () => {
  let clock: VirtualClock;
  let kafka: MemoryPeerNetwork;
  let direct: MemoryPeerNetwork;
  let a: MixedMessages;
  let received: unknown[];
  let events: boolean[];
  beforeEach(() => {
    clock = new VirtualClock();
    [kafka, direct] = [1, 2].map(
      (seed) => new MemoryPeerNetwork({ clock, rng: seededRng(seed) }),
    ) as [MemoryPeerNetwork, MemoryPeerNetwork];
    a = new MixedMessages(kafka.join(A), direct.join(A));
    [received, events] = [[], []];
    a.onMessage((_, { payload }) => received.push(payload));
    a.onReachability((_, reachable) => events.push(reachable));
  });

  const settle = (): void => clock.advance(1000);
  function heardAt(transport: PeerMessages): unknown[] {
    const heard: unknown[] = [];
    transport.onMessage((_, { payload }) => heard.push(payload));
    return heard;
  }
  const say = (from: PeerMessages, to: typeof A, payload: string): void =>
    from.send(to, { shard: SHARD, payload });

  it('uses Kafka for one that is heard there, and takes no notice of its connection', () => {
    const [overKafka, overTcp] = [kafka.join(B), direct.join(B)];
    const [atKafka, atTcp] = [heardAt(overKafka), heardAt(overTcp)];
    settle();
    events.length = 0;
    direct.cut(A, B);
    direct.heal();
    say(a, B, 'x');
    settle();
    expect([atKafka, atTcp, events, a.isReachable(B)]).toEqual([['x'], [], [], true]);
  });

  it('answers one that speaks directly and is not heard on Kafka the way it speaks', () => {
    const overTcp = direct.join(B);
    const atTcp = heardAt(overTcp);
    settle();
    expect(a.isReachable(B)).toBe(false);
    say(overTcp, A, 'hello');
    settle();
    say(a, B, 'welcome');
    settle();
    expect([received, atTcp, a.isReachable(B)]).toEqual([['hello'], ['welcome'], true]);
    direct.cut(A, B);
    settle();
    expect([events.at(-1), a.isReachable(B)]).toEqual([false, false]);
  });

  it('goes over to Kafka as soon as that one is heard there', () => {
    const overTcp = direct.join(B);
    say(overTcp, A, 'hello');
    settle();
    const atKafka = heardAt(kafka.join(B));
    settle();
    say(a, B, 'x');
    settle();
    expect(atKafka).toEqual(['x']);
  });
});
