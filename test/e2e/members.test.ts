import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../scripts/free-ports.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { Command, type CommandEnd, KVCTL } from './command.ts';
import { ProcessCluster } from './process-cluster.ts';
import { sawEverything, verifyHistory } from './verify.ts';
import { Workload } from './workload.ts';

/** What docs/operations-walkthrough.md does not type: three replicas over more members, moved, renamed and replaced, under load. */
const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED members on Kafka: ${kafka.reasons.join('; ')}\n`);
}
const FOUNDERS = 3;
const [M2, M3, M4, M5] = [1, 2, 3, 4] as const;
/** Of kvctl, of kvd. */
const EXIT_INPUT = 3;
const EXIT_DATA_DIR = 3;
const COMMAND_MS = 175_000;

describe.skipIf(kafka.kind === 'unavailable')('members in processes of their own', () => {
  const topicPrefix = `members-${process.pid}-`;
  /** Where m4 moves to, by client and peer port. */
  let moved: readonly number[] = [];
  let hasMoved = false;
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let workload: Workload;

  beforeAll(async () => {
    const { bootstrap } = kafka as AvailableKafka;
    moved = await freePorts(2);
    cluster = await ProcessCluster.prepare({
      bootstrap,
      topicPrefix,
      shards: 2,
      members: 5,
      config: { replicas: 3 },
      memberConfig: (self, members) => {
        const founders = members.slice(0, FOUNDERS);
        if (founders.includes(self)) return { members: founders };
        const { name } = self;
        const [listenClient, listenPeer] =
          hasMoved && name === 'm4'
            ? moved.map((port) => `127.0.0.1:${port}`)
            : [self.client.replace('http://', ''), self.peer];
        const own = { name, client: `http://${listenClient}`, peer: listenPeer };
        return { members: [...founders, own], join: true, listenClient, listenPeer };
      },
    });
    await Promise.all([0, M2, M3].map((i) => cluster.restart(i)));
    const endpoints = cluster.endpoints.slice(0, FOUNDERS);
    client = await connect({ endpoints, timeoutMs: 60_000 });
    workload = new Workload({ client, watchClient: client, prefix: 'w/' });
    await workload.start(4, 1, 0);
  });

  afterAll(async () => {
    await client?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  function run(...args: readonly string[]): Promise<CommandEnd> {
    const endpoints = cluster.endpoints.slice(0, FOUNDERS).join(',');
    const all = ['--endpoints', endpoints, '--timeout', '60s', ...args];
    return new Command(KVCTL, all).end(COMMAND_MS);
  }

  async function kvctl(...args: readonly string[]): Promise<string> {
    const { code, output } = await run(...args);
    const newest = [M4, M5].map((i) => cluster.output(i).slice(-1000)).join('\n');
    expect(code, `${output}\n${newest}`).toBe(0);
    return output;
  }

  const settled = (): Promise<string> => kvctl('--timeout', '160s', 'shard', 'status', '--wait');
  async function votersOf(shard: string): Promise<readonly string[]> {
    const names = new Map((await client.members()).map(({ id, name }) => [id, name]));
    const found = (await client.shards()).find((one) => one.shard === shard);
    return (found?.voters ?? []).map((id) => names.get(id) ?? id).sort();
  }

  it('are not removed where a shard would lose its live majority', async () => {
    await kvctl('status', '--wait');
    await cluster.kill(M3);
    const refused = {
      code: EXIT_INPUT,
      output: expect.stringMatching(
        /without m2 shard \S+ has the voters m1, m3, of which m1 answer; it needs 2/,
      ) as string,
    };
    // The others notice within moments; until then it would not be refused.
    const preview = (): Promise<CommandEnd> => run('member', 'remove', 'm2', '--dry-run');
    await expect.poll(preview, { timeout: 60_000, interval: 200 }).toMatchObject(refused);
    expect(await run('member', 'remove', 'm2')).toMatchObject(refused);
    await cluster.restart(M3);
  });

  it('join, vote, take a replica that is moved by hand, and move to other addresses', async () => {
    const { client: url, peer } = cluster.address(M4);
    await kvctl('member', 'add', 'm4', '--peer', peer, '--client', url, '--zone', 'z4');
    cluster.spawn(M4);
    await settled();
    expect(await kvctl('member', 'promote', 'm4')).toContain('a voter of the meta group');

    const before = await votersOf('0');
    expect(before).toHaveLength(3);
    const away = ['m1', 'm2', 'm3', 'm4'].find((name) => !before.includes(name)) ?? '';
    const [from = ''] = before;
    await kvctl('shard', 'move', '0', '--from', from, '--to', away);
    await settled();
    expect(await votersOf('0')).toEqual([...before.slice(1), away].sort());

    const [clientPort, peerPort] = moved;
    const args = ['--peer', `127.0.0.1:${peerPort}`, '--client', `http://127.0.0.1:${clientPort}`];
    await kvctl('member', 'update', 'm4', ...args);
    hasMoved = true;
    cluster.configure();
    await cluster.kill(M4, 'SIGTERM');
    cluster.spawn(M4);
    const there = [...cluster.endpoints.slice(0, FOUNDERS), `http://127.0.0.1:${clientPort}`];
    await kvctl('--timeout', '160s', '--endpoints', there.join(','), 'status', '--wait');
    const elsewhere = await connect({ endpoints: [`http://127.0.0.1:${clientPort}`] });
    expect((await elsewhere.get('w/0/k', { timeoutMs: 60_000 }))?.version).toBeGreaterThan(0);
    await elsewhere.close();
  });

  it('are drained, and replaced by another one; who is replaced says so and ends', async () => {
    await kvctl('member', 'drain', 'm2');
    await settled();
    expect([...(await votersOf('0')), ...(await votersOf('1'))]).not.toContain('m2');
    await kvctl('member', 'drain', 'm2', '--cancel');

    const { client: url, peer } = cluster.address(M5);
    await kvctl('member', 'replace', 'm2', 'm5', '--peer', peer, '--client', url);
    cluster.spawn(M5);
    await settled();
    const { code, output } = await cluster.ended(M2);
    expect(code).toBe(EXIT_DATA_DIR);
    expect(output).toMatch(/was removed from the cluster · to have it back: .*\(KV_DATA_DIR\)\n$/);
    expect((await client.members()).map(({ name }) => name)).toEqual(['m1', 'm3', 'm4', 'm5']);
  });

  it('and of all that no request of the SDK was lost', async () => {
    await workload.stop(sawEverything(workload), 60_000);
    const lost = workload.writes.filter(({ outcome }) => outcome !== 'acknowledged');
    expect(lost.map((one) => ({ ...one, tookMs: one.endMs - one.startMs }))).toEqual([]);
    await verifyHistory(workload, client);
  });
});
