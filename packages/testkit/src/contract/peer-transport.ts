import { KvError, type MemberId, shardId, utf8 } from '@kvorum/base';
import type { PeerEnvelope, PeerMessages, PeerTransport } from '@kvorum/ports';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** Two members that can reach each other, and a third id that nobody has. */
export interface PeerMessagesFixture {
  readonly a: PeerMessages;
  readonly b: PeerMessages;
  readonly absent: MemberId;
  /** Lets time pass (virtual or real) until `condition` holds; rejects when it never does. */
  readonly until: (condition: () => boolean) => Promise<void>;
  dispose(): Promise<void>;
}

export interface PeerTransportFixture extends PeerMessagesFixture {
  readonly a: PeerTransport;
  readonly b: PeerTransport;
}

const SHARD = shardId(3);
const signal = (): AbortSignal => new AbortController().signal;
const envelope = (payload: unknown): PeerEnvelope => ({ shard: SHARD, payload });

/** Runs the same tests over any PeerTransport; called from a test file of the adapter. */
export function describePeerTransportContract(
  name: string,
  createFixture: () => Promise<PeerTransportFixture>,
): void {
  describe(`PeerTransport contract: ${name}`, () => {
    const fixture = eachFixture(createFixture);
    describeMessages(fixture);
    describeRequests(fixture);
    describeReachability(fixture);
    describeOpenRequests(fixture);
  });
}

/** The part of the contract that a transport of messages alone must keep. */
export function describePeerMessagesContract(
  name: string,
  createFixture: () => Promise<PeerMessagesFixture>,
): void {
  describe(`PeerMessages contract: ${name}`, () => {
    const fixture = eachFixture(createFixture);
    describeMessages(fixture);
    describeReachability(fixture);
  });
}

/** A fixture of its own for each test, in which both members have heard each other. */
function eachFixture<Fixture extends PeerMessagesFixture>(
  createFixture: () => Promise<Fixture>,
): () => Fixture {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
    const { a, b } = fixture;
    await fixture.until(() => a.isReachable(b.self) && b.isReachable(a.self));
  });
  afterEach(() => fixture.dispose());
  return () => fixture;
}

/** Settles the request while `until` moves the time. */
async function settled(fixture: PeerMessagesFixture, request: Promise<unknown>): Promise<unknown> {
  let done = false;
  const outcome = request.then(
    (value) => value,
    (error: unknown) => ({ error }),
  );
  void outcome.then(() => {
    done = true;
  });
  await fixture.until(() => done);
  return outcome;
}

function describeMessages(fixture: () => PeerMessagesFixture): void {
  it('delivers plain data unchanged, with its sender and shard', async () => {
    const { a, b, until } = fixture();
    const payload = {
      term: 5,
      big: 2n ** 62n,
      small: 1n,
      bytes: utf8('bytes'),
      list: [1, 'two', null, true, { nested: -1n }],
    };
    const received: unknown[] = [];
    b.onMessage((from, message) => received.push([from, message]));
    a.send(b.self, envelope(payload));
    await until(() => received.length === 1);
    expect(received).toEqual([[a.self, envelope(payload)]]);
  });

  it('carries messages in both directions', async () => {
    const { a, b, until } = fixture();
    const received: unknown[] = [];
    b.onMessage((from, message) => b.send(from, envelope(`re: ${String(message.payload)}`)));
    a.onMessage((_, message) => received.push(message.payload));
    a.send(b.self, envelope('hello'));
    await until(() => received.length === 1);
    expect(received).toEqual(['re: hello']);
  });

  it('delivers many messages of one turn', async () => {
    const { a, b, until } = fixture();
    const received = new Set<unknown>();
    b.onMessage((_, message) => received.add(message.payload));
    for (let i = 0; i < 1000; i += 1) a.send(b.self, envelope(i));
    await until(() => received.size === 1000);
  });

  it('drops messages to unknown members silently', async () => {
    const { a, absent } = fixture();
    expect(() => a.send(absent, envelope('x'))).not.toThrow();
    expect(a.isReachable(absent)).toBe(false);
  });
}

function describeRequests(fixture: () => PeerTransportFixture): void {
  it('answers requests, each with its own answer whatever their order', async () => {
    const { a, b } = fixture();
    const waiting: (() => void)[] = [];
    b.onRequest(async (from, payload) => {
      // Answers leave in the reverse order of the requests.
      await new Promise<void>((resolve) => {
        waiting.unshift(resolve);
        if (waiting.length === 3) for (const go of waiting) go();
      });
      return { from, payload };
    });
    const answers = await settled(
      fixture(),
      Promise.all([1, 2n, utf8('3')].map((i) => a.request(b.self, i, { signal: signal() }))),
    );
    expect(answers).toEqual([1, 2n, utf8('3')].map((payload) => ({ from: a.self, payload })));
  });

  it('passes a KvError of the handler on, with code, details and outcome', async () => {
    const { a, b } = fixture();
    b.onRequest(async () => {
      throw new KvError('KV_NOT_LEADER', 'ask another', { details: { leader: 'abc' } });
    });
    const { error } = (await settled(fixture(), a.request(b.self, 'x', { signal: signal() }))) as {
      error: KvError;
    };
    expect([error.code, error.message, error.details, error.outcome]).toEqual([
      'KV_NOT_LEADER',
      'etcdserver: not leader: ask another',
      { leader: 'abc' },
      'not-applied',
    ]);
  });

  it('rejects with KV_UNAVAILABLE when the member cannot be reached', async () => {
    const { a, absent } = fixture();
    expect(await settled(fixture(), a.request(absent, 'x', { signal: signal() }))).toMatchObject({
      error: { code: 'KV_UNAVAILABLE', outcome: 'not-applied' },
    });
  });

  it('rejects on abort with the reason of the signal, before and during the request', async () => {
    const { a, b, until } = fixture();
    let arrived = 0;
    b.onRequest(() => {
      arrived += 1;
      return new Promise(() => undefined);
    });
    const reason = new RangeError('planned');
    const aborted = a.request(b.self, 'x', { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
    const controller = new AbortController();
    const request = a.request(b.self, 'x', { signal: controller.signal });
    await until(() => arrived === 1);
    controller.abort(reason);
    await expect(request).rejects.toBe(reason);
  });
}

function describeReachability(fixture: () => PeerMessagesFixture): void {
  it('tells when a member goes, and takes messages for it all the same', async () => {
    const { a, b, until } = fixture();
    const events: unknown[] = [];
    a.onReachability((peer, reachable) => events.push([peer, reachable]));
    await b.close();
    await until(() => !a.isReachable(b.self));
    expect(events[0]).toEqual([b.self, false]);
    a.send(b.self, envelope('into the void'));
  });

  it('closes twice without harm, and reaches nobody after', async () => {
    const { a, b } = fixture();
    await a.close();
    await a.close();
    a.send(b.self, envelope('x'));
    expect(a.isReachable(b.self)).toBe(false);
  });
}

function describeOpenRequests(fixture: () => PeerTransportFixture): void {
  it('rejects the open requests to a member that goes with an unknown outcome', async () => {
    const { a, b, until } = fixture();
    let arrived = false;
    b.onRequest(() => {
      arrived = true;
      return new Promise(() => undefined);
    });
    const request = a.request(b.self, 'x', { signal: signal() });
    const outcome = request.catch((error: unknown) => error);
    await until(() => arrived);
    await b.close();
    await until(() => !a.isReachable(b.self));
    expect(await outcome).toMatchObject({ code: 'KV_UNAVAILABLE', outcome: 'unknown' });
  });

  it('refuses requests once closed', async () => {
    const { a, b } = fixture();
    await a.close();
    await expect(a.request(b.self, 'x', { signal: signal() })).rejects.toMatchObject({
      code: 'KV_UNAVAILABLE',
    });
  });
}
