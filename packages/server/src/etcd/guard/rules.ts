import type { Message } from '@bufbuild/protobuf';
import { type Needs, needsOf, noNeeds, spanOf } from '@kvorum/auth';
import { EMPTY_BYTES, NO_LEASE, prefixEnd, utf8 } from '@kvorum/base';
import type * as pb from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { AlarmRequest_AlarmAction as AlarmAction } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type * as election from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import type * as lock from '@kvorum/wire/gen/v3lockpb/v3lock_pb';
import { type Caller, needsToSeeRole, needsToSeeUser, rootNeeds } from '../../auth/admin-needs.ts';
import { needsOfLease, needsOfLeaseList, needsOfLeaseTime } from '../../auth/lease-needs.ts';
import { deleteRequestOf, putRequestOf, rangeRequestOf, txnRequestOf } from '../kv-messages.ts';

/**
 * Who may call a method. `open`: everybody. `user`: whoever has logged in. `root`: the role root. `watch`: each watch is asked about
 * when it is created. A function: whoever has what it says.
 */
export type Rule =
  | 'open'
  | 'user'
  | 'root'
  | 'watch'
  | ((request: Message, caller: Caller) => Needs);

/** Messages come without their types; that of a method is the compiler's word and its descriptor's. */
function needs<Request extends Message>(of: (request: Request, caller: Caller) => Needs): Rule {
  return (request, caller) => of(request as Request, caller);
}

const SLASH = utf8('/');

/** Whoever waits under a name writes a key below it, and reads those of the others. */
function contender(name: Uint8Array, lease: bigint): Needs {
  const span = below(name);
  return { ...needsOfLease(lease), reads: [span], writes: [span] };
}

function below(name: Uint8Array): ReturnType<typeof spanOf> {
  const prefix = new Uint8Array([...name, ...SLASH]);
  return spanOf(prefix, prefixEnd(prefix));
}

function ofKey(key: Uint8Array): Needs {
  const span = spanOf(key, EMPTY_BYTES);
  return { ...noNeeds(), reads: [span], writes: [span] };
}

const KV_RULES: Readonly<Record<string, Rule>> = {
  Range: needs<pb.RangeRequest>((m) => needsOf(rangeRequestOf(m))),
  RangeStream: needs<pb.RangeRequest>((m) => needsOf(rangeRequestOf(m))),
  Put: needs<pb.PutRequest>((m) => needsOf(putRequestOf(m))),
  DeleteRange: needs<pb.DeleteRangeRequest>((m) => needsOf(deleteRequestOf(m))),
  Txn: needs<pb.TxnRequest>((m) => needsOf(txnRequestOf(m))),
  Compact: 'root',
};

const LEASE_RULES: Readonly<Record<string, Rule>> = {
  LeaseGrant: 'user',
  LeaseRevoke: needs<pb.LeaseRevokeRequest>((m) => needsOfLease(m.ID)),
  LeaseKeepAlive: 'user',
  LeaseTimeToLive: needs<pb.LeaseTimeToLiveRequest>((m) => needsOfLeaseTime(m.ID, m)),
  LeaseLeases: needs<pb.LeaseLeasesRequest>(needsOfLeaseList),
};

const CLUSTER_RULES: Readonly<Record<string, Rule>> = {
  MemberAdd: 'root',
  MemberRemove: 'root',
  MemberUpdate: 'root',
  MemberList: 'user',
  MemberPromote: 'root',
};

const MAINTENANCE_RULES: Readonly<Record<string, Rule>> = {
  Alarm: needs<pb.AlarmRequest>((m) => (m.action === AlarmAction.GET ? noNeeds() : rootNeeds())),
  // As etcd 3.6.14.
  Status: 'root',
  Defragment: 'root',
  Hash: 'root',
  HashKV: 'root',
  Snapshot: 'root',
  MoveLeader: 'root',
  Downgrade: 'root',
};

const AUTH_RULES: Readonly<Record<string, Rule>> = {
  AuthEnable: 'root',
  AuthDisable: 'root',
  AuthStatus: 'open',
  Authenticate: 'open',
  UserAdd: 'root',
  UserGet: needs<pb.AuthUserGetRequest>((m, caller) => needsToSeeUser(m.name, caller)),
  UserList: 'root',
  UserDelete: 'root',
  UserChangePassword: 'root',
  UserGrantRole: 'root',
  UserRevokeRole: 'root',
  RoleAdd: 'root',
  RoleGet: needs<pb.AuthRoleGetRequest>((m, caller) => needsToSeeRole(m.role, caller)),
  RoleList: 'root',
  RoleDelete: 'root',
  RoleGrantPermission: 'root',
  RoleRevokePermission: 'root',
};

/** Lock and Election do no more than their callers could do with plain requests. */
const LOCK_RULES: Readonly<Record<string, Rule>> = {
  Lock: needs<lock.LockRequest>((m) => contender(m.name, m.lease)),
  Unlock: needs<lock.UnlockRequest>((m) => ({ ...ofKey(m.key), reads: [] })),
};

const ELECTION_RULES: Readonly<Record<string, Rule>> = {
  Campaign: needs<election.CampaignRequest>((m) => contender(m.name, m.lease)),
  Proclaim: needs<election.ProclaimRequest>((m) => ({
    ...ofKey(m.leader?.key ?? EMPTY_BYTES),
    leases: needsOfLease(m.leader?.lease ?? NO_LEASE).leases,
  })),
  Leader: needs<election.LeaderRequest>((m) => ({ ...noNeeds(), reads: [below(m.name)] })),
  Observe: needs<election.LeaderRequest>((m) => ({ ...noNeeds(), reads: [below(m.name)] })),
  Resign: needs<election.ResignRequest>((m) => ofKey(m.leader?.key ?? EMPTY_BYTES)),
};

/** Every method of every service: what is not listed nobody may call while authorization is enabled. */
const RULES: ReadonlyMap<string, Readonly<Record<string, Rule>>> = new Map([
  ['etcdserverpb.KV', KV_RULES],
  ['etcdserverpb.Watch', { Watch: 'watch' }],
  ['etcdserverpb.Lease', LEASE_RULES],
  ['etcdserverpb.Cluster', CLUSTER_RULES],
  ['etcdserverpb.Maintenance', MAINTENANCE_RULES],
  ['etcdserverpb.Auth', AUTH_RULES],
  ['v3lockpb.Lock', LOCK_RULES],
  ['v3electionpb.Election', ELECTION_RULES],
  ['grpc.health.v1.Health', { Check: 'open', Watch: 'open' }],
]);

/** Undefined: nobody may. */
export function ruleOf(service: string, method: string): Rule | undefined {
  const rules = RULES.get(service);
  return rules !== undefined && Object.hasOwn(rules, method) ? rules[method] : undefined;
}
