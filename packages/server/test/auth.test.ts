import { create, type Message } from '@bufbuild/protobuf';
import { leaseId, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import {
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
  Watch,
  WatchRequestSchema,
  type WatchResponse,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { Health } from '@kvorum/wire/gen/grpc/health/v1/health_pb';
import { Election } from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import { Lock } from '@kvorum/wire/gen/v3lockpb/v3lock_pb';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { etcdServices } from '../src/etcd/etcd-services.ts';
import { guarded } from '../src/etcd/guard/guard.ts';
import { ruleOf } from '../src/etcd/guard/rules.ts';
import { headersOf } from '../src/etcd/header.ts';
import type { Method, Service } from '../src/etcd/service.ts';
import type { Host } from '../src/host.ts';
import { authMember, ServiceCalls } from './support/auth-calls.ts';
import { Collected, callOf, Pushed } from './support/etcd-calls.ts';

type Init = Readonly<Record<string, unknown>>;

const member = authMember();
const { tokens } = member;
const logIn = (name: string): Promise<string> => member.logIn(name);
let host: Host;
let calls: ServiceCalls;
beforeAll(() => {
  host = member.host;
  calls = member.calls;
});

/** What `app` may and may not ask of a method; `open`, `user`, `root`: whoever it is that may. */
type Expected = 'open' | 'user' | 'root' | { readonly may?: Init; readonly mayNot: Init };

const key = utf8('app/k');
const put = (at: Uint8Array, more: Init = {}): Init => ({
  request: { case: 'requestPut', value: { key: at, ...more } },
});
const range = (at: Uint8Array, rangeEnd?: Uint8Array): Init => ({
  request: { case: 'requestRange', value: { key: at, ...(rangeEnd && { rangeEnd }) } },
});
const txn = (...success: readonly Init[]): Init => ({
  request: { case: 'requestTxn', value: { success } },
});
const watchOf = (at: Uint8Array, rangeEnd?: Uint8Array): Init => ({
  requestUnion: { case: 'createRequest', value: { key: at, ...(rangeEnd && { rangeEnd }) } },
});
const other = utf8('other');
const mixed = { key, rangeEnd: RANGE_END_OPEN };

const TABLE: Readonly<Record<string, Expected>> = {
  'KV/Range': { may: { key }, mayNot: mixed },
  'KV/RangeStream': { may: { key }, mayNot: mixed },
  'KV/Put': { may: { key, prevKv: true }, mayNot: { key: other } },
  'KV/DeleteRange': { may: { key, prevKv: true }, mayNot: mixed },
  'KV/Txn': { may: { success: [put(key)] }, mayNot: { failure: [put(other)] } },
  'KV/Compact': 'root',
  'Lease/LeaseGrant': 'user',
  'Lease/LeaseRevoke': { may: { ID: 1n }, mayNot: { ID: 2n } },
  'Lease/LeaseKeepAlive': 'user',
  // The keys of a lease are read (CVE-2023-32082).
  'Lease/LeaseTimeToLive': { may: { ID: 2n }, mayNot: { ID: 2n, keys: true } },
  'Lease/LeaseLeases': { mayNot: {} },
  'Cluster/MemberAdd': 'root',
  'Cluster/MemberRemove': 'root',
  'Cluster/MemberUpdate': 'root',
  'Cluster/MemberList': 'user',
  'Cluster/MemberPromote': 'root',
  'Maintenance/Alarm': { may: { action: 0 }, mayNot: { action: 1 } },
  'Maintenance/Status': 'root',
  'Maintenance/Defragment': 'root',
  'Maintenance/Hash': 'root',
  'Maintenance/HashKV': 'root',
  'Maintenance/Snapshot': 'root',
  'Maintenance/MoveLeader': 'root',
  'Maintenance/Downgrade': 'root',
  'Auth/AuthEnable': 'root',
  'Auth/AuthDisable': 'root',
  'Auth/AuthStatus': 'open',
  'Auth/Authenticate': 'open',
  'Auth/UserAdd': 'root',
  'Auth/UserGet': { may: { name: 'app' }, mayNot: { name: 'root' } },
  'Auth/UserList': 'root',
  'Auth/UserDelete': 'root',
  'Auth/UserChangePassword': 'root',
  'Auth/UserGrantRole': 'root',
  'Auth/UserRevokeRole': 'root',
  'Auth/RoleAdd': 'root',
  'Auth/RoleGet': { may: { role: 'app' }, mayNot: { role: 'root' } },
  'Auth/RoleList': 'root',
  'Auth/RoleDelete': 'root',
  'Auth/RoleGrantPermission': 'root',
  'Auth/RoleRevokePermission': 'root',
  'Lock/Lock': {
    may: { name: utf8('app/l'), lease: 1n },
    mayNot: { name: utf8('app/l'), lease: 2n },
  },
  'Lock/Unlock': { may: { key }, mayNot: { key: other } },
  'Election/Campaign': { may: { name: utf8('app/e') }, mayNot: { name: other } },
  'Election/Proclaim': { may: { leader: { key } }, mayNot: { leader: { key, lease: 2n } } },
  'Election/Leader': { may: { name: utf8('app/e') }, mayNot: { name: utf8('m') } },
  'Election/Observe': { may: { name: utf8('app/e') }, mayNot: { name: other } },
  'Election/Resign': { may: { leader: { key } }, mayNot: { leader: { key: other } } },
  'Health/Check': 'open',
  'Health/Watch': 'open',
};

const DESCRIPTORS = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election, Health];

/** Every service there is in etcd's interface, with handlers that answer at once. */
function stubs(): readonly Service[] {
  return DESCRIPTORS.map(({ typeName, methods }) => ({
    name: typeName,
    methods: methods.map((descriptor): Method => {
      const answer = create(descriptor.output);
      if (descriptor.methodKind === 'unary') {
        return { descriptor, kind: 'unary', handle: () => Promise.resolve(answer) };
      }
      const handle = (): Promise<void> => Promise.resolve();
      return descriptor.methodKind === 'server_streaming'
        ? { descriptor, kind: 'server_streaming', handle }
        : { descriptor, kind: 'bidi_streaming', handle };
    }),
  }));
}

describe('every RPC of every service (CVE-2026-33413)', () => {
  const paths = DESCRIPTORS.flatMap(({ typeName, methods }) =>
    methods.map(({ name }) => [typeName, name] as const),
  ).filter(([service]) => service !== 'etcdserverpb.Watch');
  let guardedCalls: ServiceCalls;

  beforeAll(() => {
    const { gate, source } = host.auth;
    gate.setLeases({
      keysOf: (lease) => Promise.resolve(lease === leaseId(2n) ? [other] : [key]),
      all: () => Promise.resolve([leaseId(1n), leaseId(2n)]),
    });
    guardedCalls = new ServiceCalls(guarded(stubs(), { gate, source, headers: headersOf(host) }));
  });

  it('the table names each of them', () => {
    const known = paths.map(([service, name]) => `${service.split('.').at(-1) ?? ''}/${name}`);
    expect(Object.keys(TABLE).sort()).toEqual(known.sort());
  });

  it.each(paths)('%s/%s', async (service, name) => {
    const path = `${service.split('.').at(-1) ?? ''}/${name}`;
    const expected = TABLE[path] ?? 'root';
    const ask = (request: Init, token?: string): Promise<string> =>
      guardedCalls.outcome(path, request, token);
    expect(ruleOf(service, name)).toBeDefined();
    const mayNot = typeof expected === 'string' ? {} : expected.mayNot;
    const isOpen = expected === 'open';
    expect(await ask(mayNot)).toBe(isOpen ? 'OK' : 'KV_USER_EMPTY');
    expect(await ask(mayNot, 'wrong')).toBe(isOpen ? 'OK' : 'KV_UNAUTHENTICATED');
    expect(await ask(mayNot, tokens.root)).toBe('OK');
    const denied = isOpen || expected === 'user' ? 'OK' : 'KV_PERMISSION_DENIED';
    // Bidirectional calls but watches are asked about as a whole.
    expect(await ask(mayNot, tokens.nobody)).toBe(denied);
    expect(await ask(mayNot, tokens.app)).toBe(denied);
    if (typeof expected === 'object' && expected.may !== undefined) {
      expect(await ask(expected.may, tokens.app)).toBe('OK');
    }
  });

  it('a method without a rule is nobody’s, not even root’s', async () => {
    const [kv] = stubs();
    const foreign = { name: 'etcdserverpb.New', methods: kv?.methods ?? [] };
    const { gate, source } = host.auth;
    const news = new ServiceCalls(guarded([foreign], { gate, source, headers: headersOf(host) }));
    expect(await news.outcome('New/Range', { key }, tokens.root)).toBe('KV_PERMISSION_DENIED');
  });
});

describe('nested operations', () => {
  it.each<readonly [string, readonly Init[], string]>([
    ['a put (CVE-2026-33343)', [txn(txn(put(other)))], 'KV_PERMISSION_DENIED'],
    ['a range', [txn(txn(range(other)))], 'KV_PERMISSION_DENIED'],
    ['a range beyond the permission', [txn(range(key, RANGE_END_OPEN))], 'KV_PERMISSION_DENIED'],
    [
      'the value before (CVE-2026-44283)',
      [txn(put(utf8('m'), { prevKv: true }))],
      'KV_PERMISSION_DENIED',
    ],
    [
      'a lease with foreign keys (CVE-2026-44283)',
      [txn(put(key, { lease: 2n }))],
      'KV_PERMISSION_DENIED',
    ],
    ['what is allowed', [txn(txn(put(key, { prevKv: true })))], 'OK'],
  ])('%s', async (_, success, expected) => {
    expect(await calls.outcome('KV/Txn', { success }, tokens.app)).toBe(expected);
  });

  it('a compare reads', async () => {
    const compare = [
      { key: other, target: 3, targetUnion: { case: 'value', value: utf8('hidden') } },
    ];
    expect(await calls.outcome('KV/Txn', { compare }, tokens.app)).toBe('KV_PERMISSION_DENIED');
    expect(await calls.outcome('KV/Txn', { compare }, tokens.root)).toBe('OK');
  });
});

describe('watches', () => {
  async function watch(token: string | undefined, ...wanted: readonly Init[]) {
    const method = etcdServices(host)
      .flatMap(({ methods }) => methods)
      .find(({ descriptor }) => descriptor.parent.typeName === 'etcdserverpb.Watch');
    if (method?.kind !== 'bidi_streaming') throw new TypeError('no watch');
    const outgoing = new Collected<Message>();
    const requests = new Pushed<Message>();
    const over = new AbortController();
    const call = callOf(token === undefined ? {} : { token }, over.signal);
    for (const init of wanted) requests.push(create(method.descriptor.input, init));
    const done = method.handle(requests, outgoing, call);
    done.catch(() => undefined);
    const answers = (await outgoing.first(wanted.length)) as readonly WatchResponse[];
    return { answers, done, requests, outgoing, end: () => over.abort() };
  }

  it('one key gives no right to later ones (GHSA-xg4h-6gfc-h4m8), and answers keep their order', async () => {
    const { answers, end } = await watch(
      tokens.app,
      watchOf(utf8('m')),
      watchOf(utf8('m'), RANGE_END_OPEN),
      watchOf(key),
      watchOf(new Uint8Array(0), RANGE_END_OPEN),
    );
    end();
    expect(answers.map(({ created, canceled, watchId }) => [created, canceled, watchId])).toEqual([
      [true, false, 0n],
      [true, true, -1n],
      [true, false, 1n],
      [true, true, -1n],
    ]);
    expect(answers[1]?.cancelReason).toBe(
      'rpc error: code = PermissionDenied desc = etcdserver: permission denied',
    );
  });

  it.each([
    [undefined, 'rpc error: code = InvalidArgument desc = etcdserver: user name is empty'],
    ['x', 'rpc error: code = Unauthenticated desc = etcdserver: invalid auth token'],
  ])('with token %s', async (token, reason) => {
    const { answers, end } = await watch(token, watchOf(key));
    end();
    expect(answers[0]).toMatchObject({ created: true, canceled: true, cancelReason: reason });
  });

  it('a stream ends when its user may not watch any more', async () => {
    await calls.call('Auth/UserAdd', { name: 'leaver', password: 'pw-leaver' }, tokens.root);
    await calls.call('Auth/UserGrantRole', { user: 'leaver', role: 'app' }, tokens.root);
    const { done } = await watch(await logIn('leaver'), watchOf(key));
    await calls.call('Auth/UserRevokeRole', { name: 'leaver', role: 'app' }, tokens.root);
    await expect(done).rejects.toMatchObject({ code: 'KV_PERMISSION_DENIED' });
  });

  it('one that was cancelled is not asked about any more, nor kept', async () => {
    const extra = { key: utf8('extra'), permType: 0, rangeEnd: new Uint8Array(0) };
    await calls.call('Auth/UserAdd', { name: 'changer', password: 'pw-changer' }, tokens.root);
    await calls.call('Auth/RoleAdd', { name: 'extra' }, tokens.root);
    await calls.call('Auth/RoleGrantPermission', { name: 'extra', perm: extra }, tokens.root);
    for (const role of ['app', 'extra']) {
      await calls.call('Auth/UserGrantRole', { user: 'changer', role }, tokens.root);
    }
    const token = await logIn('changer');
    const opened = await watch(token, watchOf(key), watchOf(utf8('extra')));
    const [, { watchId } = { watchId: 0n }] = opened.answers;
    const requestUnion = { case: 'cancelRequest', value: { watchId } } as const;
    opened.requests.push(create(WatchRequestSchema, { requestUnion }));
    await opened.outgoing.first(3);
    const revoked = { name: 'changer', role: 'extra' };
    await calls.call('Auth/UserRevokeRole', revoked, tokens.root);
    opened.requests.push(create(WatchRequestSchema, watchOf(key)));
    const answers = opened.outgoing.first(4);
    expect((await Promise.race([answers, opened.done]))?.length).toBe(4);
    opened.end();
  });
});

describe('logging in', () => {
  it('tells nobody what was wrong', async () => {
    await calls.call('Auth/UserAdd', { name: 'bare', options: { noPassword: true } }, tokens.root);
    const attempts = [
      ['app', 'wrong'],
      ['app', ''],
      ['unknown', 'pw-app'],
      ['bare', ''],
      ['', ''],
    ] as const;
    for (const [name, password] of attempts) {
      expect(await calls.outcome('Auth/Authenticate', { name, password })).toBe('KV_AUTH_FAILED');
    }
  });

  it('a hash from outside, an empty and an endless password are no passwords (CVE-2020-15115)', async () => {
    for (const password of ['', 'x'.repeat(73), 'a\0b']) {
      const request = { name: 'new', password, hashedPassword: '$2b$04$abc' };
      expect(await calls.outcome('Auth/UserAdd', request, tokens.root)).toBe('KV_INVALID_ARGUMENT');
    }
  });

  it('a token ends with the password, and with the user', async () => {
    await calls.call('Auth/UserAdd', { name: 'temp', password: 'pw-temp' }, tokens.root);
    const first = await logIn('temp');
    expect(await calls.outcome('Auth/UserGet', { name: 'temp' }, first)).toBe('OK');
    await calls.call('Auth/UserChangePassword', { name: 'temp', password: 'other' }, tokens.root);
    expect(await calls.outcome('Auth/UserGet', { name: 'temp' }, first)).toBe('KV_UNAUTHENTICATED');
    await calls.call('Auth/UserDelete', { name: 'temp' }, tokens.root);
    await calls.call('Auth/UserAdd', { name: 'temp', password: 'pw-temp' }, tokens.root);
    expect(await calls.outcome('Auth/UserGet', { name: 'temp' }, first)).toBe('KV_UNAUTHENTICATED');
  });

  it('no token but a real one is taken, and none is ever an exception', async () => {
    const real = tokens.app;
    const [payload = '', signature = ''] = real.split('.');
    const forged = Buffer.from(
      Buffer.from(payload, 'base64url').toString().replace('app', 'root'),
    ).toString('base64url');
    const odd = [
      '',
      '.',
      'a.b.c',
      `${forged}.${signature}`,
      `${payload}.`,
      `${real}x`,
      'x'.repeat(1e5),
    ];
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.constantFrom(...odd), fc.string()), async (token) => {
        expect(await calls.outcome('KV/Range', { key }, token)).toBe('KV_UNAUTHENTICATED');
      }),
      { numRuns: 100 },
    );
    expect(await calls.outcome('KV/Range', { key }, `Bearer ${real}`)).toBe('OK');
  });

  it('passwords and tokens are in no log line (CVE-2021-28235)', () => {
    expect(member.log.length).toBeGreaterThan(5);
    const said = member.log.join('\n');
    for (const secret of ['pw-root', 'pw-app', '$2b$', ...Object.values(tokens)]) {
      expect(said).not.toContain(secret);
    }
  });
});

describe('root', () => {
  it('cannot be lost while it is needed', async () => {
    const refused = 'KV_AUTH_MANAGEMENT';
    expect(await calls.outcome('Auth/UserDelete', { name: 'root' }, tokens.root)).toBe(refused);
    expect(
      await calls.outcome('Auth/UserRevokeRole', { name: 'root', role: 'root' }, tokens.root),
    ).toBe(refused);
  });
});
