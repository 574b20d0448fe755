import { create, type Message } from '@bufbuild/protobuf';
import {
  AuthDisableRequestSchema,
  AuthEnableRequestSchema,
  AuthenticateRequestSchema,
  AuthRoleAddRequestSchema,
  AuthRoleDeleteRequestSchema,
  AuthRoleGetRequestSchema,
  AuthRoleGrantPermissionRequestSchema,
  AuthRoleListRequestSchema,
  AuthRoleRevokePermissionRequestSchema,
  AuthStatusRequestSchema,
  AuthUserAddRequestSchema,
  AuthUserChangePasswordRequestSchema,
  AuthUserDeleteRequestSchema,
  AuthUserGetRequestSchema,
  AuthUserGrantRoleRequestSchema,
  AuthUserListRequestSchema,
  AuthUserRevokeRoleRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { type Choose, KEYS } from './choose.ts';
import type { MethodName } from './methods.ts';
import type { Operation } from './operation.ts';

export const PASSWORDS = ['p', 'q'] as const;
const USERS = ['root', 'u', 'v', 'u', 'v'] as const;
const ROLES = ['root', 'x', 'y', 'x', 'y'] as const;

const NONE = new Uint8Array();
/** The end that stands for no end. */
const OPEN = new Uint8Array([0]);

type Call = Operation & { readonly kind: 'call' };
type Draw = (choose: Choose) => readonly [method: MethodName, request: Message];

/** One that is there perhaps; seldom none. */
const user = (choose: Choose): string => (choose.once(25) ? '' : choose.random.pick(USERS));
const role = (choose: Choose): string => (choose.once(25) ? '' : choose.random.pick(ROLES));
const password = (choose: Choose): string => choose.random.pick(PASSWORDS);

/**
 * A range that begins at a key has always the same end: etcd keeps a permission twice that is granted again while another
 * one begins at the same key.
 */
function range(choose: Choose): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } {
  const at = choose.random.below(KEYS.length);
  const ends = [NONE, OPEN, KEYS[(at + 1) % KEYS.length] ?? NONE, NONE, KEYS[1]];
  return { key: KEYS[at] ?? NONE, rangeEnd: ends[at % ends.length] ?? NONE };
}

const perm = (choose: Choose) =>
  choose.once(20) ? {} : { perm: { ...range(choose), permType: choose.random.below(3) } };

/** Each as often as it stands here. */
const CHANGES: readonly (readonly [number, Draw])[] = [
  [
    3,
    (choose) => {
      const noPassword = choose.once(8);
      const options = choose.once(2) ? {} : { options: { noPassword } };
      const name = user(choose);
      // A root that cannot log in could never switch authorization off again.
      const request = { name, password: password(choose), ...(name === 'root' ? {} : options) };
      return ['userAdd', create(AuthUserAddRequestSchema, request)];
    },
  ],
  [1, (choose) => ['userGet', create(AuthUserGetRequestSchema, { name: user(choose) })]],
  [1, () => ['userList', create(AuthUserListRequestSchema)]],
  [1, (choose) => ['userDelete', create(AuthUserDeleteRequestSchema, { name: user(choose) })]],
  [
    1,
    (choose) => {
      const request = { name: user(choose), password: password(choose) };
      return ['userChangePassword', create(AuthUserChangePasswordRequestSchema, request)];
    },
  ],
  [
    5,
    (choose) => {
      const request = { user: user(choose), role: role(choose) };
      return ['userGrantRole', create(AuthUserGrantRoleRequestSchema, request)];
    },
  ],
  [
    1,
    (choose) => {
      const request = { name: user(choose), role: role(choose) };
      return ['userRevokeRole', create(AuthUserRevokeRoleRequestSchema, request)];
    },
  ],
  [3, (choose) => ['roleAdd', create(AuthRoleAddRequestSchema, { name: role(choose) })]],
  [2, (choose) => ['roleGet', create(AuthRoleGetRequestSchema, { role: role(choose) })]],
  [1, () => ['roleList', create(AuthRoleListRequestSchema)]],
  [1, (choose) => ['roleDelete', create(AuthRoleDeleteRequestSchema, { role: role(choose) })]],
  [
    7,
    (choose) => {
      const request = { name: role(choose), ...perm(choose) };
      return ['roleGrantPermission', create(AuthRoleGrantPermissionRequestSchema, request)];
    },
  ],
  [
    2,
    (choose) => {
      const request = { role: role(choose), ...range(choose) };
      return ['roleRevokePermission', create(AuthRoleRevokePermissionRequestSchema, request)];
    },
  ],
  [2, () => ['authEnable', create(AuthEnableRequestSchema)]],
  [1, () => ['authDisable', create(AuthDisableRequestSchema)]],
  [1, () => ['authStatus', create(AuthStatusRequestSchema)]],
];

const DRAWS = CHANGES.flatMap(([count, draw]) => Array.from({ length: count }, () => draw));

const call = (method: MethodName, request: Message, as?: string): Call => ({
  kind: 'call',
  method,
  request,
  ...(as === undefined ? {} : { as }),
});

/** As a user that has logged in perhaps, with a token that nobody has, or as nobody. */
export function caller(choose: Choose): string | undefined {
  return choose.random.pick([undefined, 'root', 'u', 'u', 'u', 'v', 'v', 'forged']);
}

/** A change of users and roles, as root mostly. */
export function authChange(choose: Choose): Call {
  const draw = DRAWS[choose.random.below(DRAWS.length)];
  const [method, request] = draw?.(choose) ?? ['authStatus', create(AuthStatusRequestSchema)];
  return call(method, request, choose.once(6) ? caller(choose) : 'root');
}

export function authenticate(choose: Choose): Call {
  const name = user(choose);
  // Mostly the first password, with which users are made below.
  const asked = { name, password: choose.once(5) ? password(choose) : PASSWORDS[0] };
  return call('authenticate', create(AuthenticateRequestSchema, asked));
}

/** Users and roles, authorization enabled, and everybody logged in: each step missing now and then. */
export function authBeginning(choose: Choose): Operation[] {
  const logIn = (name: string): Call =>
    call('authenticate', create(AuthenticateRequestSchema, { name, password: PASSWORDS[0] }));
  const people = ['root', 'u', 'v'].map((name) =>
    call('userAdd', create(AuthUserAddRequestSchema, { name, password: PASSWORDS[0] })),
  );
  const roles = ['root', 'x', 'y'].map((name) =>
    call('roleAdd', create(AuthRoleAddRequestSchema, { name })),
  );
  const given = [
    ['root', 'root'],
    ['u', 'x'],
    ['v', 'y'],
  ].map(([name = '', has = '']) =>
    call('userGrantRole', create(AuthUserGrantRoleRequestSchema, { user: name, role: has })),
  );
  const permissions = ['x', 'y', 'x'].map((name) =>
    call(
      'roleGrantPermission',
      create(AuthRoleGrantPermissionRequestSchema, { name, ...perm(choose) }),
    ),
  );
  const steps = [
    ...people,
    ...roles,
    ...given,
    ...permissions,
    call('authEnable', create(AuthEnableRequestSchema)),
    ...['root', 'u', 'v'].map(logIn),
  ];
  return steps.filter(() => !choose.once(40));
}
