import { create } from '@bufbuild/protobuf';
import { type AuthChange, type Permission, type PermissionKind, ROOT } from '@kvorum/auth';
import { EMPTY_BYTES, KvError, RANGE_END_OPEN, toHex } from '@kvorum/base';
import {
  type Permission as PbPermission,
  PermissionSchema,
  Permission_Type as PermissionType,
} from '@kvorum/wire/gen/authpb/auth_pb';
import {
  Auth,
  AuthDisableResponseSchema,
  AuthEnableResponseSchema,
  AuthenticateResponseSchema,
  AuthRoleAddResponseSchema,
  AuthRoleDeleteResponseSchema,
  AuthRoleGetResponseSchema,
  AuthRoleGrantPermissionResponseSchema,
  AuthRoleListResponseSchema,
  AuthRoleRevokePermissionResponseSchema,
  AuthStatusResponseSchema,
  AuthUserAddResponseSchema,
  AuthUserChangePasswordResponseSchema,
  AuthUserDeleteResponseSchema,
  AuthUserGetResponseSchema,
  AuthUserGrantRoleResponseSchema,
  AuthUserListResponseSchema,
  AuthUserRevokeRoleResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { MemberAuth } from '../../auth/member-auth.ts';
import type { Host } from '../../host.ts';
import { systemRng } from '../../member/system.ts';
import { headersOf, type ResponseHeader } from '../header.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

const TOKEN_KEY_BYTES = 32;

const KINDS: readonly PermissionKind[] = ['read', 'write', 'readwrite'];
const TYPES: Readonly<Record<PermissionKind, PermissionType>> = {
  read: PermissionType.READ,
  write: PermissionType.WRITE,
  readwrite: PermissionType.READWRITE,
};

/** What the role root may do, as etcd shows it. */
const EVERYTHING: Permission = { kind: 'readwrite', key: EMPTY_BYTES, rangeEnd: RANGE_END_OPEN };

function permissionOf(message: PbPermission | undefined): Permission {
  if (message === undefined) throw new KvError('KV_PERMISSION_NOT_GIVEN');
  const kind = KINDS[message.permType];
  if (kind === undefined) throw new KvError('KV_INVALID_ARGUMENT', 'unknown kind of permission');
  return { kind, key: message.key, rangeEnd: message.rangeEnd };
}

function permissionMessage({ kind, key, rangeEnd }: Permission): PbPermission {
  return create(PermissionSchema, { permType: TYPES[kind], key, rangeEnd });
}

/** etcd's Auth service. Who may call which method: guard/rules.ts. */
export function authService(
  host: Pick<Host, 'auth' | 'clusterId' | 'self' | 'termOf' | 'refusal'>,
): Service {
  const headers = headersOf(host);
  const header = (): ResponseHeader => headers({ revision: 0 });
  const change = async (wanted: AuthChange): Promise<{ readonly header: ResponseHeader }> => {
    const refusal = host.refusal();
    if (refusal !== undefined) throw refusal;
    await host.auth.admin.change(wanted);
    return { header: header() };
  };
  return service(Auth, {
    ...switches(host.auth, header, change),
    ...users(host.auth, header, change),
    ...roles(host.auth, header, change),
  });
}

type Handlers = ServiceHandlers<typeof Auth.method>;
type Header = () => ResponseHeader;
type Change = (wanted: AuthChange) => Promise<{ readonly header: ResponseHeader }>;

function switches(
  { gate, source }: MemberAuth,
  header: Header,
  change: Change,
): Pick<Handlers, 'authEnable' | 'authDisable' | 'authStatus' | 'authenticate'> {
  return {
    async authEnable() {
      const tokenKey = toHex(systemRng.bytes(TOKEN_KEY_BYTES));
      return create(AuthEnableResponseSchema, await change({ kind: 'enable', tokenKey }));
    },
    async authDisable() {
      return create(AuthDisableResponseSchema, await change({ kind: 'disable' }));
    },
    async authStatus() {
      await source.confirm();
      const { enabled, revision } = source.state;
      const authRevision = BigInt(revision);
      return create(AuthStatusResponseSchema, { header: header(), enabled, authRevision });
    },
    async authenticate({ name, password }, { deadlineMs }) {
      await gate.ready(deadlineMs);
      const { token } = await gate.logIn(name, password);
      return create(AuthenticateResponseSchema, { header: header(), token: token() });
    },
  };
}

type UserMethods =
  | 'userAdd'
  | 'userGet'
  | 'userList'
  | 'userDelete'
  | 'userChangePassword'
  | 'userGrantRole'
  | 'userRevokeRole';

function users(
  { gate, source }: MemberAuth,
  header: Header,
  change: Change,
): Pick<Handlers, UserMethods> {
  const { passwords } = gate;
  return {
    // A hash that the caller has made itself is not taken: nobody could say what it costs to guess.
    async userAdd({ name, password, options }) {
      if (name === '') throw new KvError('KV_USER_EMPTY');
      const passwordHash =
        options?.noPassword === true ? {} : { passwordHash: await passwords.hash(name, password) };
      const done = await change({ kind: 'user-add', name, ...passwordHash });
      return create(AuthUserAddResponseSchema, done);
    },
    async userGet({ name }) {
      await source.confirm();
      const user = source.state.users.get(name);
      if (user === undefined) throw new KvError('KV_USER_NOT_FOUND');
      return create(AuthUserGetResponseSchema, { header: header(), roles: [...user.roles] });
    },
    async userList() {
      await source.confirm();
      const names = [...source.state.users.keys()].sort();
      return create(AuthUserListResponseSchema, { header: header(), users: names });
    },
    async userDelete({ name }) {
      return create(AuthUserDeleteResponseSchema, await change({ kind: 'user-delete', name }));
    },
    async userChangePassword({ name, password }) {
      const passwordHash = await passwords.hash(name, password);
      const done = await change({ kind: 'user-password', name, passwordHash });
      return create(AuthUserChangePasswordResponseSchema, done);
    },
    async userGrantRole({ user: name, role }) {
      const done = await change({ kind: 'user-grant', name, role });
      return create(AuthUserGrantRoleResponseSchema, done);
    },
    async userRevokeRole({ name, role }) {
      const done = await change({ kind: 'user-revoke', name, role });
      return create(AuthUserRevokeRoleResponseSchema, done);
    },
  };
}

type RoleMethods =
  | 'roleAdd'
  | 'roleGet'
  | 'roleList'
  | 'roleDelete'
  | 'roleGrantPermission'
  | 'roleRevokePermission';

function roles(
  { source }: MemberAuth,
  header: Header,
  change: Change,
): Pick<Handlers, RoleMethods> {
  return {
    async roleAdd({ name }) {
      return create(AuthRoleAddResponseSchema, await change({ kind: 'role-add', name }));
    },
    async roleGet({ role: name }) {
      await source.confirm();
      const role = source.state.roles.get(name);
      if (role === undefined) throw new KvError('KV_ROLE_NOT_FOUND');
      const permissions = name === ROOT ? [EVERYTHING] : role.permissions;
      const perm = permissions.map(permissionMessage);
      return create(AuthRoleGetResponseSchema, { header: header(), perm });
    },
    async roleList() {
      await source.confirm();
      const names = [...source.state.roles.keys()].sort();
      return create(AuthRoleListResponseSchema, { header: header(), roles: names });
    },
    async roleDelete({ role: name }) {
      return create(AuthRoleDeleteResponseSchema, await change({ kind: 'role-delete', name }));
    },
    async roleGrantPermission({ name, perm }) {
      const done = await change({ kind: 'role-grant', name, permission: permissionOf(perm) });
      return create(AuthRoleGrantPermissionResponseSchema, done);
    },
    async roleRevokePermission({ role: name, key, rangeEnd }) {
      const done = await change({ kind: 'role-revoke', name, key, rangeEnd });
      return create(AuthRoleRevokePermissionResponseSchema, done);
    },
  };
}
