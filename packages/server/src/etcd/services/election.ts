import { create } from '@bufbuild/protobuf';
import { equalBytes, type KeyValue, type LeaseId } from '@kvorum/base';
import {
  CampaignResponseSchema,
  Election,
  type LeaderKey,
  LeaderKeySchema,
  LeaderResponseSchema,
  ProclaimResponseSchema,
  ResignResponseSchema,
} from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import type { Host } from '../../host.ts';
import { GrpcError } from '../grpc-error.ts';
import type { ResponseHeader } from '../header.ts';
import { keyValueMessage, numberOf } from '../kv-messages.ts';
import { asClientOfItself, directoryOf, Recipes, waiterKey } from '../recipes.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

/** etcd's Election service. Its keys are those of clientv3/concurrency: both may campaign in one election. */
export function electionService(host: Host): Service {
  return service(Election, electionHandlers(host));
}

export function electionHandlers(host: Host): ServiceHandlers<typeof Election.method> {
  return {
    campaign: async ({ name, lease, value }, call) => {
      const recipes = new Recipes(host, call);
      const { leader, header } = await asClientOfItself(campaign(recipes, name, { lease, value }));
      return create(CampaignResponseSchema, { header, leader });
    },
    proclaim: async ({ leader, value }, call) => {
      const recipes = new Recipes(host, call);
      const header = await asClientOfItself(proclaim(recipes, given(leader), value));
      return create(ProclaimResponseSchema, { header });
    },
    leader: async ({ name }, call) => {
      const { kv, header } = await new Recipes(host, call).first(directoryOf(name));
      if (kv === undefined) throw new GrpcError('UNKNOWN', 'election: no leader');
      return create(LeaderResponseSchema, { header, kv: keyValueMessage(kv) });
    },
    observe: async ({ name }, outgoing, call) => {
      const send = async (header: ResponseHeader, kv: KeyValue): Promise<void> => {
        const message = create(LeaderResponseSchema, { header, kv: keyValueMessage(kv) });
        if (!outgoing.send(message)) await outgoing.drained();
      };
      const recipes = new Recipes(host, call);
      while (!call.signal.aborted) await observeOne(recipes, directoryOf(name), send);
    },
    resign: async ({ leader }, call) => {
      const header = await asClientOfItself(resign(new Recipes(host, call), given(leader)));
      return create(ResignResponseSchema, { header });
    },
  };
}

/** Errors: UNKNOWN in etcd's words. */
function given(leader: LeaderKey | undefined): LeaderKey {
  if (leader !== undefined) return leader;
  throw new GrpcError('UNKNOWN', '"leader" field must be provided');
}

interface Elected {
  readonly leader: LeaderKey;
  readonly header: ResponseHeader;
}

/** Resolves when it is elected. Who campaigns again with the same lease goes on with the key it has, and its new value. */
async function campaign(
  recipes: Recipes,
  name: Uint8Array,
  wanted: { readonly lease: bigint; readonly value: Uint8Array },
): Promise<Elected> {
  const { value } = wanted;
  const lease = await recipes.session(wanted.lease);
  const key = waiterKey(name, lease);
  const { response, header } = await recipes.run({
    op: 'txn',
    compare: [{ key, target: 'create', result: 'equal', value: 0 }],
    success: [{ op: 'put', key, value, lease: lease as LeaseId }],
    failure: [{ op: 'range', key }],
  });
  const [found] = response.responses;
  const standing = found?.op === 'range' ? found.kvs[0] : undefined;
  const rev = standing === undefined ? header.revision : BigInt(standing.createRevision);
  const leader = create(LeaderKeySchema, { name, key, rev, lease });
  try {
    if (standing !== undefined && !equalBytes(standing.value, value)) {
      await proclaim(recipes, leader, value);
    }
    await recipes.waitUntilFirst(directoryOf(name), numberOf(rev) - 1);
  } catch (error) {
    await recipes.cleanUp(ifStillThere(leader, { op: 'delete-range', key }));
    throw error;
  }
  return { leader, header };
}

/** An operation for as long as the leader's key is the one it was elected with. */
function ifStillThere<Op>({ key, rev }: LeaderKey, op: Op) {
  return {
    op: 'txn',
    compare: [{ key, target: 'create', result: 'equal', value: numberOf(rev) }],
    success: [op],
    failure: [],
  } as const;
}

/** Errors: UNKNOWN "election: not leader". */
async function proclaim(
  recipes: Recipes,
  leader: LeaderKey,
  value: Uint8Array,
): Promise<ResponseHeader> {
  const lease = (await recipes.session(leader.lease)) as LeaseId;
  const put = { op: 'put', key: leader.key, value, lease } as const;
  const { response, header } = await recipes.run(ifStillThere(leader, put));
  if (!response.succeeded) throw new GrpcError('UNKNOWN', 'election: not leader');
  return header;
}

/** That it is no leader any more is as well. */
async function resign(recipes: Recipes, leader: LeaderKey): Promise<ResponseHeader> {
  const remove = { op: 'delete-range', key: leader.key } as const;
  return (await recipes.run(ifStillThere(leader, remove))).header;
}

/** Tells of the leader and of what it proclaims, until it is gone. Waits for one when there is none. */
async function observeOne(
  recipes: Recipes,
  directory: Uint8Array,
  send: (header: ResponseHeader, kv: KeyValue) => Promise<void>,
): Promise<void> {
  const { kv, header } = await recipes.first(directory);
  if (kv === undefined) {
    // Whoever comes is read anew: he may not be the first of several.
    const from = { key: directory, isDirectory: true, startRevision: Number(header.revision) + 1 };
    await recipes.watch(from, (events) =>
      events.some(({ type }) => type === 'put') ? 'done' : 'more',
    );
    return;
  }
  await send(header, kv);
  const startRevision = Number(header.revision) + 1;
  await recipes.watch({ key: kv.key, startRevision }, async (events) => {
    for (const event of events) {
      if (event.type === 'delete') return 'done';
      const at = BigInt(event.kv.modRevision);
      await send({ ...header, revision: at }, event.kv);
    }
    return 'more';
  });
}
