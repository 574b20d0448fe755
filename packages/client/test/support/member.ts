import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll } from 'vitest';
import { useOneMember } from '../../../server/test/support/use-member.ts';

/** A real member of two shards for the tests of a file, configured by `values`, with clients of it that are closed at the end. */
export function useMember(values: Readonly<Record<string, unknown>> = {}): {
  readonly url: () => string;
  readonly kv: () => KvorumClient;
  readonly client: (options?: Partial<Parameters<typeof connect>[0]>) => Promise<KvorumClient>;
} {
  const member = useOneMember(values);
  const clients: KvorumClient[] = [];
  const url = (): string => member.url;
  const client = async (options: Partial<Parameters<typeof connect>[0]> = {}) => {
    const made = await connect({ endpoints: [url()], ...options });
    clients.push(made);
    return made;
  };
  beforeAll(async () => {
    await client();
  });
  afterAll(async () => {
    await Promise.all(clients.map((one) => one.close()));
  });
  return {
    url,
    client,
    kv: () => {
      const [first] = clients;
      if (first === undefined) throw new TypeError('not started');
      return first;
    },
  };
}
