import type { DescMessage, DescMethod, DescMethodUnary } from '@bufbuild/protobuf';
import { Auth, Cluster, KV, Lease, Maintenance } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { Election } from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import { Lock } from '@kvorum/wire/gen/v3lockpb/v3lock_pb';

/** The unary calls that sequences are made of; the streaming ones are in `watch-stream.ts` and `subject.ts`. */
export const METHODS = {
  range: KV.method.range,
  put: KV.method.put,
  deleteRange: KV.method.deleteRange,
  txn: KV.method.txn,
  compact: KV.method.compact,
  grant: Lease.method.leaseGrant,
  revoke: Lease.method.leaseRevoke,
  timeToLive: Lease.method.leaseTimeToLive,
  leases: Lease.method.leaseLeases,
  lock: Lock.method.lock,
  unlock: Lock.method.unlock,
  campaign: Election.method.campaign,
  proclaim: Election.method.proclaim,
  leader: Election.method.leader,
  resign: Election.method.resign,
  hashKV: Maintenance.method.hashKV,
  alarm: Maintenance.method.alarm,
  defragment: Maintenance.method.defragment,
  moveLeader: Maintenance.method.moveLeader,
  downgrade: Maintenance.method.downgrade,
  memberUpdate: Cluster.method.memberUpdate,
  memberPromote: Cluster.method.memberPromote,
  memberRemove: Cluster.method.memberRemove,
  authEnable: Auth.method.authEnable,
  authDisable: Auth.method.authDisable,
  authStatus: Auth.method.authStatus,
  authenticate: Auth.method.authenticate,
  userAdd: Auth.method.userAdd,
  userGet: Auth.method.userGet,
  userList: Auth.method.userList,
  userDelete: Auth.method.userDelete,
  userChangePassword: Auth.method.userChangePassword,
  userGrantRole: Auth.method.userGrantRole,
  userRevokeRole: Auth.method.userRevokeRole,
  roleAdd: Auth.method.roleAdd,
  roleGet: Auth.method.roleGet,
  roleList: Auth.method.roleList,
  roleDelete: Auth.method.roleDelete,
  roleGrantPermission: Auth.method.roleGrantPermission,
  roleRevokePermission: Auth.method.roleRevokePermission,
} as const satisfies Readonly<Record<string, DescMethodUnary<DescMessage, DescMessage>>>;

export type MethodName = keyof typeof METHODS;

/** As the first header of a call has it. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
