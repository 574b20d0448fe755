import { clusterId, DEFAULT_LIMITS, memberId } from '@kvorum/base';
import {
  askPeer,
  openPeerTransport,
  type PeerTransportOptions,
  type TcpPeerTransport,
} from '@kvorum/peer-tcp';
import type { Clock } from '@kvorum/ports';
import { seededRng } from '@kvorum/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const [A, B, STRANGER] = [memberId(1n), memberId(2n), memberId(99n)];
const CLUSTER = clusterId(7n);
const LOOPBACK = { host: '127.0.0.1', port: 0 };
const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
const common = { clock, rng: seededRng(1), limits: DEFAULT_LIMITS, clusterId: CLUSTER };

const opened: TcpPeerTransport[] = [];
afterEach(async () => {
  for (const transport of opened.splice(0)) await transport.close();
});

async function open(
  options: Pick<PeerTransportOptions, 'self' | 'diskId'> & Partial<PeerTransportOptions>,
): Promise<TcpPeerTransport> {
  const transport = await openPeerTransport({ ...common, listen: LOOPBACK, peers: [], ...options });
  opened.push(transport);
  return transport;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe('who may connect', () => {
  it('refuses a member with another disk, which hears why', async () => {
    const a = await open({
      self: A,
      diskId: 'a',
      admit: ({ memberId: id, diskId }) =>
        id === B && diskId !== 'b' ? 'its disk was another one' : undefined,
    });
    const warnings: string[] = [];
    const b = await open({
      self: B,
      diskId: 'empty',
      peers: [{ id: A, ...a.address }],
      onWarning: ({ message }) => warnings.push(message),
    });
    await until(() => warnings.length > 0);
    expect(warnings[0]).toContain('it refuses this member: its disk was another one');
    expect(b.isReachable(A)).toBe(false);
    const sound = await open({ self: B, diskId: 'b', peers: [{ id: A, ...a.address }] });
    await until(() => sound.isReachable(A));
  });

  it('answers the question of one that does not know yet who it is', async () => {
    const a = await open({ self: A, diskId: 'a' });
    a.onRequest(async (from, payload) => [from, payload]);
    const signal = AbortSignal.timeout(5000);
    const options = { ...common, self: STRANGER, diskId: '', signal };
    expect(await askPeer(a.address, { kind: 'map' }, options)).toEqual([STRANGER, { kind: 'map' }]);
    const other = { ...options, clusterId: clusterId(8n) };
    await expect(askPeer(a.address, {}, other)).rejects.toMatchObject({
      code: 'KV_UNAVAILABLE',
      message: expect.stringContaining('it belongs to cluster') as unknown,
    });
    await a.close();
    await expect(askPeer(a.address, {}, options)).rejects.toMatchObject({ code: 'KV_UNAVAILABLE' });
  });
});
