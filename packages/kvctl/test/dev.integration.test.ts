import { connect } from '@kvorum/client';
import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

let cluster: DevCluster;
let all: string;

beforeAll(async () => {
  const started = await startDevCluster(3);
  cluster = started.cluster;
  all = cluster.addresses.join(',');
});
afterAll(async () => {
  await cluster.stop();
});

const on = (...args: readonly string[]): Promise<Ran> => kvctl(['--endpoints', all, ...args]);
const running = (): readonly string[] => cluster.members.map(({ name }) => name);

describe('kvctl dev', () => {
  it('kills a member while it is asked, and the others go on; brings it back', async () => {
    const kv = await connect({ endpoints: [...cluster.addresses] });
    try {
      await kv.put('greeting', 'hello');
      const shard = await kv.shardOf('greeting');
      const leader = cluster.members.find(({ host }) => host.leads(shard));
      const name = leader?.name ?? '';
      const sent = kv.put('greeting', 'on its way');
      expect(await on('dev', 'kill', name)).toEqual({
        code: 0,
        out: `${name} was killed\n`,
        err: '',
      });
      expect(running()).not.toContain(name);
      expect((await sent).shard).toBe(shard);
      await kv.put('greeting', 'still here');
      expect((await kv.get('greeting'))?.text()).toBe('still here');
      const status = await on('status');
      expect(status).toMatchObject({ code: 5 });
      expect(status.out).toMatch(/2 of 3 members up/);
      // Others know the name of the one that is down.
      expect(status.out).toMatch(/^SHARD +TERM +REVISION +m1 +m2 +m3 *$/m);
      expect(status.out).toMatch(/^down {2}http:.*ECONNREFUSED/m);

      const number = name.replace('m', '');
      expect(await on('dev', 'start', number, '-w', 'json')).toMatchObject({
        code: 0,
        out: `{"member":"${name}","running":true}\n`,
      });
      expect(running()).toEqual(['m1', 'm2', 'm3']);
      await expect
        .poll(async () => (await on('status')).code, { timeout: 10_000, interval: 100 })
        .toBe(0);
      const back = await kvctl([
        ...['--endpoints', leader?.clientAddress ?? ''],
        ...['get', 'greeting', '--print-value-only'],
      ]);
      expect(back.out).toBe('still here\n');
    } finally {
      await kv.close();
    }
  });

  it.each([
    [['kill', '9'], 'no member 9 (members: m1, m2, m3)'],
    [['start', 'm1'], 'm1 runs already'],
  ])('%j is refused', async (args, problem) => {
    const ran = await on('dev', ...args);
    expect(ran).toMatchObject({ code: 3, out: '' });
    expect(ran.err).toContain(problem);
  });

  it('leaves the last member alone, and says who is starting', async () => {
    await on('dev', 'kill', '1');
    const [, m2, m3] = cluster.addresses;
    // Each is asked to kill itself, both at once: one of them is the last.
    const both = await Promise.all(
      [`${m2}/v1/dev/members/2/kill`, `${m3}/v1/dev/members/3/kill`].map((path) =>
        fetch(`http://${path}`, { method: 'POST' }),
      ),
    );
    expect(both.filter(({ ok }) => ok)).toHaveLength(1);
    await expect.poll(() => running().length).toBe(1);
    if (running()[0] === 'm2') {
      await on('dev', 'start', '3');
      await on('dev', 'kill', '2');
    }
    const last = await on('dev', 'kill', '3');
    expect(last.err).toMatch(/m3 is the last member that runs[\s\S]*Next: {2}start another one/);
    expect((await on('dev', 'kill', '2')).err).toContain('m2 does not run');
    await on('dev', 'start', '1');
    await on('dev', 'start', '2');
    await expect
      .poll(async () => (await on('status')).code, { timeout: 10_000, interval: 100 })
      .toBe(0);
  });

  it('is not for pages of other sites', async () => {
    const response = await fetch(`http://${cluster.addresses[0]}/v1/dev/members/2/kill`, {
      method: 'POST',
      headers: { origin: 'http://elsewhere.example' },
    });
    expect(response.status).toBe(400);
    expect(running()).toContain('m2');
  });

  it('says that there is nothing of the kind where nobody listens', async () => {
    expect(await kvctl(['--endpoints', 'http://127.0.0.1:1', 'dev', 'kill', '1'])).toMatchObject({
      code: 2,
    });
  });
});
