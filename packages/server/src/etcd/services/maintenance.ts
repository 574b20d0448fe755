import { create } from '@bufbuild/protobuf';
import { formatId, isKvError, isShardId, KvError, memberId } from '@kvorum/base';
import { digestHistory } from '@kvorum/mvcc';
import { drive, type Replica } from '@kvorum/replica';
import { memberNamed, shardsWithSlots } from '@kvorum/shard';
import {
  DefragmentResponseSchema,
  DowngradeRequest_DowngradeAction,
  DowngradeResponseSchema,
  HashKVResponseSchema,
  HashResponseSchema,
  Maintenance,
  MoveLeaderResponseSchema,
  SnapshotResponseSchema,
  StatusResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../../host.ts';
import { alarmsOf, answerAlarm } from '../alarms.ts';
import { ETCD_CLUSTER_VERSION, ETCD_VERSION } from '../etcd-version.ts';
import { GrpcError } from '../grpc-error.ts';
import { headersOf, newestRevision } from '../header.ts';
import { numberOf } from '../kv-messages.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';
import { snapshotBlobs } from '../snapshot-blobs.ts';
import { closeAll, snapshotViews } from '../snapshot-views.ts';

/**
 * etcd's Maintenance service. Where an answer can be about one shard only (raft's numbers of a status, hashes), it is the member's
 * first data shard, by number (of a member that has none, the meta shard); sizes and alarms are the whole member's.
 */
export function maintenanceService(host: Host): Service {
  return service(Maintenance, maintenanceHandlers(host));
}

export function maintenanceHandlers(host: Host): ServiceHandlers<typeof Maintenance.method> {
  const headers = headersOf(host);
  return {
    status: async () => create(StatusResponseSchema, statusOf(host)),
    alarm: async (request) => {
      serving(host);
      return answerAlarm(host, request);
    },
    hash: async () => {
      const { shard, replica } = firstShard(host);
      const { hash, revision } = await replica.stateHash();
      return create(HashResponseSchema, { header: headers({ revision, shard }), hash: u32(hash) });
    },
    hashKV: async ({ revision }) => {
      const { shard, replica } = firstShard(host);
      const found = await historyHash(replica, numberOf(revision));
      return create(HashKVResponseSchema, {
        header: headers({ revision: found.current, shard }),
        hash: u32(found.hash),
        compactRevision: BigInt(found.compactRevision),
        hashRevision: BigInt(found.revision),
      });
    },
    snapshot: async (_request, outgoing, call) => {
      serving(host);
      const views = await snapshotViews(host, call);
      try {
        for await (const { blob, remaining } of snapshotBlobs(host, views)) {
          const piece = { blob, remainingBytes: BigInt(remaining), version: ETCD_VERSION };
          if (!outgoing.send(create(SnapshotResponseSchema, piece))) await outgoing.drained();
          if (call.signal.aborted) return;
        }
      } finally {
        await closeAll(views);
      }
    },
    // The store needs none: compaction of the files goes on by itself.
    defragment: async () => {
      serving(host);
      return create(DefragmentResponseSchema);
    },
    moveLeader: async ({ targetID }) => {
      serving(host);
      await moveLeaders(host, targetID);
      return create(MoveLeaderResponseSchema);
    },
    downgrade: async ({ action, version }) => {
      serving(host);
      // There is none to cancel; etcd 3.6 answers that all the same.
      if (action !== DowngradeRequest_DowngradeAction.CANCEL) throw noDowngrade(version);
      const header = headers({ revision: newestRevision(host) });
      return create(DowngradeResponseSchema, { header, version: CLUSTER_MINOR });
    },
  };
}

function serving(host: Host): void {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
}

interface HostedShard {
  readonly shard: string;
  readonly replica: Replica;
}

/** The data shard of this member with the lowest number; the meta shard of a member that has none. */
function firstShard(host: Host): HostedShard {
  serving(host);
  for (const { shard } of host.replicas()) {
    const replica = host.replica(shard);
    if (replica !== undefined) return { shard, replica };
  }
  throw new KvError('KV_UNAVAILABLE', 'this member has no replica');
}

function statusOf(host: Host) {
  const { shard, replica } = firstShard(host);
  const { raft, appliedIndex, revision } = replica.status();
  const bytes = host.replicas().reduce((sum, one) => sum + one.status().storeBytes, 0);
  const noLeader = raft.leader === undefined ? ['etcdserver: no leader'] : [];
  return {
    header: headersOf(host)({ revision, shard }),
    version: ETCD_VERSION,
    storageVersion: ETCD_VERSION,
    dbSize: BigInt(bytes),
    dbSizeInUse: BigInt(bytes),
    dbSizeQuota: BigInt(host.limits.quotaBytes),
    leader: raft.leader ?? 0n,
    raftIndex: BigInt(raft.accepted.index),
    raftTerm: BigInt(raft.term),
    raftAppliedIndex: BigInt(appliedIndex),
    isLearner: false,
    errors: [...noLeader, ...alarmsOf(host)],
    downgradeInfo: { enabled: false },
  };
}

/** The hash of no history. */
const NOTHING = '00000000';

/** The first 32 of its bits. */
const u32 = (hex: string): number => Number.parseInt(hex.slice(0, 8), 16);

/** Of the keys' history up to a revision, 0 = the newest; of a negative one etcd hashes nothing, and says so. Errors: KV_COMPACTED, KV_FUTURE_REVISION. */
async function historyHash(replica: Replica, asked: number) {
  const source = await replica.snapshotView();
  try {
    const { revision: current, compactRevision } = source.meta;
    const revision = asked === 0 ? current : asked;
    if (revision > current) throw new KvError('KV_FUTURE_REVISION');
    if (revision >= 0 && revision < compactRevision) throw new KvError('KV_COMPACTED');
    const hash =
      revision < 0 ? NOTHING : await drive(digestHistory(revision, compactRevision), source.view);
    return { hash, current, revision, compactRevision };
  } finally {
    await source.close();
  }
}

/**
 * Hands over what this member leads of the data shards. Errors: not leader, bad leader transferee, in etcd's words; the latter also
 * when the target votes in none of them.
 */
async function moveLeaders(host: Host, targetId: bigint): Promise<void> {
  const led = shardsWithSlots(host.map()).filter((shard) => host.leads(shard));
  if (led.length === 0) throw new KvError('KV_NOT_LEADER');
  const hex = targetId === 0n ? '' : formatId(memberId(targetId));
  if (memberNamed(host.map(), hex)?.id !== hex) throw new KvError('KV_BAD_TRANSFEREE');
  if (hex === host.memberId) return;
  let moved = 0;
  for (const shard of led) {
    const voters = isShardId(shard) ? host.replica(shard)?.status().raft.voters : undefined;
    if (voters?.some((voter) => formatId(voter) === hex) !== true) continue;
    await transferred(host, shard, hex);
    moved += 1;
  }
  if (moved === 0) throw new KvError('KV_BAD_TRANSFEREE');
}

/** That it left by itself meanwhile is as well. */
async function transferred(host: Host, shard: string, member: string): Promise<void> {
  try {
    await host.transfer(shard, member);
  } catch (error) {
    if (!isKvError(error) || error.code !== 'KV_NOT_LEADER') throw error;
  }
}

/** As etcd names a version that all members understand. */
const CLUSTER_MINOR = ETCD_CLUSTER_VERSION.split('.').slice(0, 2).join('.');

const VERSION = /^\d+\.\d+(\.\d+)?(-[\w.-]+)?(\+[\w.-]+)?$/;

/** There is no etcd to go back to: everything is refused, in the words that etcd has for it. */
function noDowngrade(version: string): GrpcError {
  const text = VERSION.test(version)
    ? 'etcdserver: invalid downgrade target version'
    : 'etcdserver: wrong downgrade target version format';
  return new GrpcError('INVALID_ARGUMENT', text);
}
