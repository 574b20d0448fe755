import { type AuthAnswer, type AuthParams, parseAuthParams } from '@kvorum/wire';
import { AuthOperations } from '../auth/auth-operations.ts';
import type { Host } from '../host.ts';

/** Answers the control method `auth`. Errors: KV_MALFORMED; those of {@link AuthOperations}. */
export async function authControl(
  host: Pick<Host, 'auth' | 'refusal'>,
  given: unknown,
): Promise<AuthAnswer> {
  const parsed = parseAuthParams(given);
  if (!parsed.ok) throw parsed.error;
  return run(new AuthOperations(host.auth, () => host.refusal()), parsed.value);
}

async function done(change: Promise<void>): Promise<AuthAnswer> {
  await change;
  return {};
}

async function run(operations: AuthOperations, params: AuthParams): Promise<AuthAnswer> {
  switch (params.action) {
    case 'status':
      return operations.status();
    case 'enable':
      return done(operations.enable());
    case 'disable':
      return done(operations.change({ kind: 'disable' }));
    case 'logIn':
      return { token: await operations.logIn(params.user, params.password) };
    case 'listUsers':
      return { users: await operations.users() };
    case 'getUser':
      return { roles: await operations.rolesOfUser(params.user) };
    case 'addUser':
      return done(operations.addUser(params.user, params.password));
    case 'deleteUser':
      return done(operations.change({ kind: 'user-delete', name: params.user }));
    case 'changePassword':
      return done(operations.changePassword(params.user, params.password));
    case 'grantRole':
      return done(operations.change({ kind: 'user-grant', name: params.user, role: params.role }));
    case 'revokeRole':
      return done(operations.change({ kind: 'user-revoke', name: params.user, role: params.role }));
    case 'listRoles':
      return { roles: await operations.roles() };
    case 'getRole':
      return { permissions: await operations.permissionsOfRole(params.role) };
    case 'addRole':
      return done(operations.change({ kind: 'role-add', name: params.role }));
    case 'deleteRole':
      return done(operations.change({ kind: 'role-delete', name: params.role }));
    case 'grantPermission': {
      const { role: name, kind, key, rangeEnd } = params;
      const permission = { kind, key, rangeEnd };
      return done(operations.change({ kind: 'role-grant', name, permission }));
    }
    case 'revokePermission': {
      const { role: name, key, rangeEnd } = params;
      return done(operations.change({ kind: 'role-revoke', name, key, rangeEnd }));
    }
  }
}
