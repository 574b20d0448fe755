import { create } from '@bufbuild/protobuf';
import type { LeaseId } from '@kvorum/base';
import {
  Lock,
  LockResponseSchema,
  UnlockResponseSchema,
} from '@kvorum/wire/gen/v3lockpb/v3lock_pb';
import type { Host } from '../../host.ts';
import { GrpcError } from '../grpc-error.ts';
import type { ResponseHeader } from '../header.ts';
import { asClientOfItself, directoryOf, oldestOf, Recipes, waiterKey } from '../recipes.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

/** etcd's Lock service. Its keys are those of clientv3/concurrency: both may wait for one lock. */
export function lockService(host: Host): Service {
  return service(Lock, lockHandlers(host));
}

export function lockHandlers(host: Host): ServiceHandlers<typeof Lock.method> {
  return {
    lock: async ({ name, lease }, call) => {
      const recipes = new Recipes(host, call);
      const { key, header } = await asClientOfItself(acquired(recipes, name, lease));
      return create(LockResponseSchema, { header, key });
    },
    unlock: async ({ key }, call) => {
      const request = { op: 'delete-range', key } as const;
      const { header } = await asClientOfItself(new Recipes(host, call).run(request));
      return create(UnlockResponseSchema, { header });
    },
  };
}

interface Acquired {
  readonly key: Uint8Array;
  readonly header: ResponseHeader;
}

/** Errors: UNKNOWN "mutex: session is expired" when the lease ended while it waited; CANCELLED, and then its key is gone. */
async function acquired(recipes: Recipes, name: Uint8Array, given: bigint): Promise<Acquired> {
  const lease = await recipes.session(given);
  const directory = directoryOf(name);
  const key = waiterKey(name, lease);
  const { response, header } = await recipes.run({
    op: 'txn',
    compare: [{ key, target: 'create', result: 'equal', value: 0 }],
    success: [
      { op: 'put', key, value: new Uint8Array(0), lease: lease as LeaseId },
      oldestOf(directory),
    ],
    failure: [{ op: 'range', key }, oldestOf(directory)],
  });
  const [own, oldest] = response.responses;
  const created = own?.op === 'range' ? (own.kvs[0]?.createRevision ?? 0) : Number(header.revision);
  const owner = oldest?.op === 'range' ? oldest.kvs[0] : undefined;
  if (owner === undefined || owner.createRevision === created) return { key, header };
  try {
    await recipes.waitUntilFirst(directory, created - 1);
    // The session may have ended meanwhile, and its key with it.
    const still = await recipes.run({ op: 'range', key });
    if (still.response.kvs.length > 0) return { key, header: still.header };
  } catch (error) {
    await recipes.cleanUp({ op: 'delete-range', key });
    throw error;
  }
  throw new GrpcError('UNKNOWN', 'mutex: session is expired');
}
