import { connect, type KvorumClient } from '@kvorum/client';
import { afterEach } from 'vitest';
import { FakeCluster } from './fake-cluster.ts';

type Options = Partial<Parameters<typeof connect>[0]>;

/** Fake clusters and clients that are closed after each test, clients first. */
export function useClusters(): {
  readonly cluster: (members: number, shards: number) => Promise<FakeCluster>;
  readonly client: (to: FakeCluster, options?: Options) => Promise<KvorumClient>;
} {
  const clusters: FakeCluster[] = [];
  const clients: KvorumClient[] = [];
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await Promise.all(clusters.splice(0).map((cluster) => cluster.stop()));
  });
  return {
    cluster: async (members, shards) => {
      const made = await FakeCluster.start(members, shards);
      clusters.push(made);
      return made;
    },
    client: async (to, options = {}) => {
      const made = await connect({ endpoints: to.endpoints, ...options });
      clients.push(made);
      return made;
    },
  };
}
