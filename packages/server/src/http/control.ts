import { err, formatId, isKvError, KvError, ok, type Result } from '@kvorum/base';
import type { ReplicaPort, ReplicaStatus } from '@kvorum/replica';
import { type ShardMap, slotSpansOf } from '@kvorum/shard';
import {
  CONTROL_METHODS,
  type ControlMethod,
  type HealthStatus,
  type LogPage,
  type MemberStatus,
  type MoveInfo,
  parseHashParams,
  parseLogParams,
  parseMemberChange,
  parseMoveReplica,
  parseRecoverParams,
  parseReshardParams,
  parseSlotsParams,
  parseTransferParams,
  type ReplicaInfo,
  type ShardHash,
  type ShardInfo,
} from '@kvorum/wire';
import type { Host } from '../host.ts';
import { reshard } from '../member/reshard.ts';
import { logPageElsewhere, notHere, shardsElsewhere } from '../router/elsewhere.ts';
import { votersOf } from '../router/place.ts';
import { authControl } from './auth-control.ts';
import { leaseControl } from './lease-control.ts';
import { logPage } from './log-page.ts';

/** A replica's status in the form of the native protocol. */
export function replicaInfo(status: ReplicaStatus): ReplicaInfo {
  const { raft } = status;
  return {
    shard: status.shard,
    role: raft.role,
    term: raft.term,
    ...(raft.leader === undefined ? {} : { leader: formatId(raft.leader) }),
    index: raft.accepted.index,
    appliedIndex: status.appliedIndex,
    revision: status.revision,
    compactRevision: status.compactRevision,
    queuedCommands: status.queuedCommands,
    watchers: status.watchers,
    logName: status.logName,
    logReachable: status.raft.logReachable,
    storeBytes: status.storeBytes,
    leaderChanges: raft.leaderChangeCount,
    voters: raft.voters.map(formatId),
    ...(raft.learners.length === 0 ? {} : { learners: raft.learners.map(formatId) }),
    ...(status.phase === 'installing' ? { installing: installText(status) } : {}),
    ...(raft.durableOffset < 0 ? {} : { durableOffset: raft.durableOffset }),
    ...(raft.halted === undefined
      ? {}
      : { halted: `${raft.halted.reason}: ${raft.halted.detail}` }),
  };
}

function installText({ install }: ReplicaStatus): string {
  if (install?.source === undefined) return 'asking the other members for a snapshot';
  const { receivedBytes, source, totalBytes } = install;
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
  const of = totalBytes > receivedBytes ? ` of about ${mb(totalBytes)}` : '';
  return `${mb(receivedBytes)}${of} MB from ${formatId(source)}`;
}

/** The asked member with all its replicas. */
export function memberStatus(host: Host): MemberStatus {
  const member = host.members.find((info) => info.id === host.memberId);
  return {
    member: member ?? { id: host.memberId, name: host.name, clientUrls: [], peerAddress: '' },
    clusterId: host.clusterId,
    version: host.version,
    mapVersion: host.map().version,
    uptimeMs: Math.round(host.clock.nowMs() - host.startedAtMs),
    residentBytes: process.memoryUsage.rss(),
    handOvers: host.handOvers(),
    replicas: host.replicas().map((replica) => ({
      ...replicaInfo(replica.status()),
      ...host.copyStatus(replica.shard),
    })),
  };
}

/** Every shard: as this member's replica sees it, or as another member says. */
export async function shardInfos(host: Host): Promise<readonly ShardInfo[]> {
  const all = [...ownShardInfos(host), ...(await shardsElsewhere(host))];
  const order = new Map(host.map().shards.map(({ id }, at) => [id as string, at]));
  const at = ({ shard }: ShardInfo): number =>
    shard === 'meta' ? Number.MAX_SAFE_INTEGER : (order.get(shard) ?? Number(shard));
  return all.sort((a, b) => at(a) - at(b));
}

function ownShardInfos(host: Host): readonly ShardInfo[] {
  const map = host.map();
  return host.replicas().map((replica) => infoOf(map, replica.status()));
}

function infoOf(map: ShardMap, { shard, raft, revision }: ReplicaStatus): ShardInfo {
  const wanted = votersOf(map, shard);
  return {
    shard,
    slots: slotSpansOf(map, shard),
    // The map of a young cluster has no entry of the meta group.
    voters: wanted.length === 0 ? raft.voters.map(formatId) : wanted,
    ...(raft.leader === undefined ? {} : { leader: formatId(raft.leader) }),
    term: raft.term,
    revision,
  };
}

/** Healthy = every check of /readyz passes. */
export function healthStatus(host: Host): HealthStatus {
  const failed = host.readiness().filter((check) => !check.ok);
  return {
    healthy: failed.length === 0,
    reasons: failed.map((check) => `${check.name}: ${check.detail}`),
  };
}

function replicaOf(host: Host, shard: string): ReplicaPort {
  const replica = host.replica(shard);
  if (replica === undefined) throw notHere(host, shard);
  return replica;
}

async function hash(host: Host, params: unknown): Promise<ShardHash> {
  const parsed = parseHashParams(params);
  if (!parsed.ok) throw parsed.error;
  const found = await replicaOf(host, parsed.value.shard).stateHash();
  return { shard: parsed.value.shard, ...found };
}

/** From whichever member has the log open; any can be asked. */
function log(host: Host, params: unknown): Promise<LogPage> {
  const parsed = parseLogParams(params);
  if (!parsed.ok) throw parsed.error;
  const { shard } = parsed.value;
  return host.replica(shard) === undefined
    ? logPageElsewhere(host, shard, params)
    : logPage(host, params);
}

async function transfer(host: Host, params: unknown): Promise<{ readonly holdMs: number }> {
  const parsed = parseTransferParams(params);
  if (!parsed.ok) throw parsed.error;
  return { holdMs: await host.transfer(parsed.value.shard, parsed.value.member) };
}

function startReshard(host: Host, params: unknown): Promise<readonly MoveInfo[]> {
  const parsed = parseReshardParams(params);
  if (!parsed.ok) throw parsed.error;
  return reshard(host.mapEditor, parsed.value, {
    shardsMax: host.limits.shardsMax,
    figures: () => host.slotLoads.all(),
  });
}

function run(host: Host, method: ControlMethod, params: unknown): unknown {
  switch (method) {
    case 'status':
      return memberStatus(host);
    case 'members':
      return host.members;
    case 'shards':
      return shardInfos(host);
    case 'health':
      return healthStatus(host);
    case 'hash':
      return hash(host, params);
    case 'log':
      return log(host, params);
    case 'transfer':
      return transfer(host, params);
    case 'changeMember': {
      const parsed = parseMemberChange(params);
      if (!parsed.ok) throw parsed.error;
      return host.admin.change(parsed.value);
    }
    case 'moveReplica': {
      const parsed = parseMoveReplica(params);
      if (!parsed.ok) throw parsed.error;
      return host.admin.move(parsed.value);
    }
    case 'recover': {
      const parsed = parseRecoverParams(params);
      if (!parsed.ok) throw parsed.error;
      return host.recovery.recover(parsed.value);
    }
    case 'moves':
      return host.moves();
    case 'slots': {
      const parsed = parseSlotsParams(params);
      if (!parsed.ok) throw parsed.error;
      return host.slotLoads.view(parsed.value);
    }
    case 'reshard':
      return startReshard(host, params);
    case 'leaseGrant':
    case 'leaseRevoke':
    case 'leaseKeepAlive':
    case 'leaseTimeToLive':
    case 'leases':
      return leaseControl(host, method, params);
    case 'auth':
      return authControl(host, params);
  }
}

/** Runs one control method (table in wire's control.ts). Never rejects. */
export async function handleControl(
  host: Host,
  method: string,
  params: unknown,
): Promise<Result<unknown, KvError>> {
  const known = CONTROL_METHODS.find((name) => name === method);
  if (known === undefined) {
    return err(
      new KvError(
        'KV_INVALID_ARGUMENT',
        `unknown method ${method} (known: ${CONTROL_METHODS.join(', ')})`,
      ),
    );
  }
  try {
    return ok(await run(host, known, params));
  } catch (error) {
    if (isKvError(error)) return err(error);
    host.logger.error({ err: error, method: known }, 'a control method failed unexpectedly');
    const text = error instanceof Error ? error.message : String(error);
    return err(
      new KvError('KV_UNAVAILABLE', `${known} failed on this member: ${text}`, {
        cause: error,
        outcome: 'not-applied',
      }),
    );
  }
}
