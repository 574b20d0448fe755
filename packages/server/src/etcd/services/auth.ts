import { create } from '@bufbuild/protobuf';
import type { AuthChange, Permission, PermissionKind } from '@kvorum/auth';
import { KvError } from '@kvorum/base';
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
import { AuthOperations } from '../../auth/auth-operations.ts';
import type { Host } from '../../host.ts';
import { headersOf, newestRevision, type ResponseHeader } from '../header.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

const KINDS: readonly PermissionKind[] = ['read', 'write', 'readwrite'];
const TYPES: Readonly<Record<PermissionKind, PermissionType>> = {
  read: PermissionType.READ,
  write: PermissionType.WRITE,
  readwrite: PermissionType.READWRITE,
};

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
  host: Pick<Host, 'auth' | 'clusterId' | 'self' | 'termOf' | 'refusal' | 'map' | 'dataReplica'>,
): Service {
  const headers = headersOf(host);
  const calls = new AuthCalls(new AuthOperations(host.auth, () => host.refusal()), () =>
    headers({ revision: newestRevision(host) }),
  );
  return service(Auth, { ...switches(calls), ...users(calls), ...roles(calls) });
}

type Handlers = ServiceHandlers<typeof Auth.method>;
interface Headed {
  readonly header: ResponseHeader;
}

/** What the methods have in common. */
class AuthCalls {
  readonly operations: AuthOperations;
  readonly header: () => ResponseHeader;

  constructor(operations: AuthOperations, header: () => ResponseHeader) {
    this.operations = operations;
    this.header = header;
  }

  async change(wanted: AuthChange): Promise<Headed> {
    await this.operations.change(wanted);
    return { header: this.header() };
  }
}

function switches({
  operations,
  header,
}: AuthCalls): Pick<Handlers, 'authEnable' | 'authDisable' | 'authStatus' | 'authenticate'> {
  return {
    async authEnable() {
      await operations.enable();
      return create(AuthEnableResponseSchema, { header: header() });
    },
    async authDisable() {
      await operations.change({ kind: 'disable' });
      return create(AuthDisableResponseSchema, { header: header() });
    },
    async authStatus() {
      const { enabled, revision } = await operations.status();
      const authRevision = BigInt(revision);
      return create(AuthStatusResponseSchema, { header: header(), enabled, authRevision });
    },
    async authenticate({ name, password }, { deadlineMs }) {
      const token = await operations.logIn(name, password, deadlineMs);
      return create(AuthenticateResponseSchema, { header: header(), token });
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

function users(calls: AuthCalls): Pick<Handlers, UserMethods> {
  const { operations } = calls;
  return {
    // A hash that the caller has made itself is not taken: nobody could say what it costs to guess.
    async userAdd({ name, password, options }) {
      await operations.addUser(name, options?.noPassword === true ? undefined : password);
      return create(AuthUserAddResponseSchema, { header: calls.header() });
    },
    async userGet({ name }) {
      const found = await operations.rolesOfUser(name);
      return create(AuthUserGetResponseSchema, { header: calls.header(), roles: [...found] });
    },
    async userList() {
      const names = await operations.users();
      return create(AuthUserListResponseSchema, { header: calls.header(), users: [...names] });
    },
    async userDelete({ name }) {
      const done = await calls.change({ kind: 'user-delete', name });
      return create(AuthUserDeleteResponseSchema, done);
    },
    async userChangePassword({ name, password }) {
      await operations.changePassword(name, password);
      return create(AuthUserChangePasswordResponseSchema, { header: calls.header() });
    },
    async userGrantRole({ user: name, role }) {
      const done = await calls.change({ kind: 'user-grant', name, role });
      return create(AuthUserGrantRoleResponseSchema, done);
    },
    async userRevokeRole({ name, role }) {
      const done = await calls.change({ kind: 'user-revoke', name, role });
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

function roles(calls: AuthCalls): Pick<Handlers, RoleMethods> {
  const { operations } = calls;
  return {
    async roleAdd({ name }) {
      return create(AuthRoleAddResponseSchema, await calls.change({ kind: 'role-add', name }));
    },
    async roleGet({ role }) {
      const perm = (await operations.permissionsOfRole(role)).map(permissionMessage);
      return create(AuthRoleGetResponseSchema, { header: calls.header(), perm });
    },
    async roleList() {
      const names = await operations.roles();
      return create(AuthRoleListResponseSchema, { header: calls.header(), roles: [...names] });
    },
    async roleDelete({ role: name }) {
      const done = await calls.change({ kind: 'role-delete', name });
      return create(AuthRoleDeleteResponseSchema, done);
    },
    async roleGrantPermission({ name, perm }) {
      const done = await calls.change({ kind: 'role-grant', name, permission: permissionOf(perm) });
      return create(AuthRoleGrantPermissionResponseSchema, done);
    },
    async roleRevokePermission({ role: name, key, rangeEnd }) {
      const done = await calls.change({ kind: 'role-revoke', name, key, rangeEnd });
      return create(AuthRoleRevokePermissionResponseSchema, done);
    },
  };
}
