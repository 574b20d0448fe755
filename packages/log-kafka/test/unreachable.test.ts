import { createServer, type Server, type Socket } from 'node:net';
import { shardId } from '@kvorum/base';
import { type KafkaLogsOptions, openKafkaLogs } from '@kvorum/log-kafka';
import { afterEach, expect, it } from 'vitest';

const SPEC = { shard: shardId(0), generation: 0 };
const servers: Server[] = [];

const silentServer = (): Promise<string> => serverThat((socket) => socket.resume());

async function serverThat(meets: (socket: Socket) => unknown): Promise<string> {
  const server = createServer(meets);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `127.0.0.1:${address.port}`;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((done) => server.close(done))));
});

it('names the brokers that refuse the connection', async () => {
  const brokers = [await silentServer(), await silentServer()];
  await Promise.all(servers.splice(0).map((server) => new Promise((done) => server.close(done))));
  const logs = openKafkaLogs({ brokers, clientId: 'test' });
  const opening = logs.open(SPEC, { create: true });
  await expect(opening).rejects.toMatchObject({ code: 'KV_LOG_UNAVAILABLE' });
  await expect(opening).rejects.toThrow(brokers.join(', '));
  await logs.close();
});

it('does not wait for ever for a broker that accepts and says nothing', async () => {
  const brokers = [await silentServer()];
  const logs = openKafkaLogs({ brokers, clientId: 'test', requestTimeoutMs: 100 });
  await expect(logs.open(SPEC, { create: true })).rejects.toThrow(
    new RegExp(`${brokers[0]} answers .*timed out`),
  );
  await logs.close();
});

it('does not take a broker that hangs up, as a dying one does, for a wrong setting', async () => {
  const brokers = [await serverThat((socket) => socket.destroy())];
  const ways = [{}, { ssl: true }, { sasl: { mechanism: 'plain', username: 'a', password: 'b' } }];
  for (const way of ways as readonly Pick<KafkaLogsOptions, 'ssl' | 'sasl'>[]) {
    const logs = openKafkaLogs({ brokers, clientId: 'test', ...way });
    const opening = logs.open(SPEC, { create: true });
    await expect(opening).rejects.toMatchObject({ code: 'KV_LOG_UNAVAILABLE' });
    await logs.close();
  }
});

it.each([['localhost'], ['host:0'], ['host:99999'], ['a b:1'], ['']])(
  'refuses "%s" as a broker',
  (broker) => {
    expect(() => openKafkaLogs({ brokers: [broker], clientId: 'test' })).toThrow(/host:port/);
  },
);

it('refuses an empty list', () => {
  expect(() => openKafkaLogs({ brokers: [], clientId: 'test' })).toThrow(/log.brokers is empty/);
});
