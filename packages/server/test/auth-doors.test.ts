import { type Credentials, KvorumClient } from '@kvorum/client';
import { FRAME, OP } from '@kvorum/wire';
import { describe, expect, it } from 'vitest';
import { authMember } from './support/auth-calls.ts';
import { CLIENT_ID, RawSession } from './support/raw-session.ts';

const member = authMember();
const { tokens } = member;

const basic = (name: string, password = `pw-${name}`): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
});

describe('REST', () => {
  async function status(
    method: string,
    path: string,
    headers = {},
    body?: object,
  ): Promise<number> {
    const json = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await fetch(`${member.url}${path}`, {
      method,
      headers: { ...headers, ...json },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    await answer.arrayBuffer();
    return answer.status;
  }

  it.each(['/livez', '/health', '/version', '/metrics', '/docs/json', '/nothing'])(
    '%s is open',
    async (path) => {
      expect(await status('GET', path)).toBe(path === '/nothing' ? 404 : 200);
    },
  );

  const doors: readonly (readonly [string, string, object?])[] = [
    ['GET', '/v1/kv/keys/other'],
    ['PUT', '/v1/kv/keys/other', { value: 'x' }],
    ['DELETE', '/v1/kv/keys/other'],
    ['POST', '/v1/kv/put', { key: 'other', value: 'x' }],
    ['POST', '/v1/kv/range', { key: 'other' }],
    ['POST', '/v1/kv/delete', { key: 'other' }],
    ['POST', '/v1/kv/txn', { compare: [], success: [{ op: 'range', key: 'other' }], failure: [] }],
    ['GET', '/v1/kv/watch?key=other'],
    ['POST', '/v1/kv/compact', { revision: 1, shard: '0' }],
    ['GET', '/v1/snapshot/0'],
    ['GET', '/v1/snapshot/meta'],
    ['GET', '/v1/restore/0'],
    ['POST', '/v1/restore/auth', {}],
    ['GET', '/v1/slots'],
  ];
  it.each(doors.map(([method, path, body]) => ({ method, path, body })))(
    '$method $path',
    async ({ method, path, body }) => {
      expect(await status(method, path, {}, body)).toBe(401);
      expect(await status(method, path, { authorization: 'Bearer x' }, body)).toBe(401);
      expect(await status(method, path, basic('app', 'wrong'), body)).toBe(401);
      expect(await status(method, path, basic('app'), body)).toBe(403);
    },
  );

  it('lets through whom it may, by password and by token', async () => {
    expect(await status('PUT', '/v1/kv/keys/app%2Fk', basic('app'), { value: 'v' })).toBe(200);
    const bearer = { authorization: `Bearer ${tokens.app}` };
    expect(await status('GET', '/v1/kv/keys/app%2Fk', bearer)).toBe(200);
    expect(await status('GET', '/v1/kv/keys/other', basic('root'))).toBe(200);
    expect(await status('GET', '/v1/snapshot/0', basic('root'))).toBe(200);
    expect(await status('GET', '/v1/members', basic('nobody'))).toBe(200);
  });

  it('writes who it was into the log', async () => {
    await status('PUT', '/v1/kv/keys/app%2Faudit', basic('app'), { value: 'v' });
    const session = await open({ user: 'root', password: 'pw-root' });
    session.send([FRAME.control, 1, 'log', { shard: '0', last: 1 }]);
    const [, , error, page] = await session.next(FRAME.controlResponse);
    session.close();
    expect(error).toBeNull();
    expect(JSON.stringify(page)).toContain('"user":"app"');
  });
});

async function open(credentials?: object): Promise<RawSession> {
  const session = new RawSession(member.url);
  await new Promise((resolve) => session.ws.once('open', resolve));
  session.send([FRAME.hello, 1, CLIENT_ID, 'test', credentials ?? null]);
  if (credentials !== undefined) await session.next(FRAME.welcome);
  return session;
}

describe('native sessions', () => {
  it.each<readonly [unknown, string]>([
    [undefined, 'KV_USER_EMPTY'],
    [{ user: 'app', password: 'x' }, 'KV_AUTH_FAILED'],
    [{ token: 'x' }, 'KV_UNAUTHENTICATED'],
    [{ user: 'app' }, 'KV_MALFORMED'],
  ])('credentials %j are refused', async (credentials, code) => {
    const session = new RawSession(member.url);
    await new Promise((resolve) => session.ws.once('open', resolve));
    session.send([FRAME.hello, 1, CLIENT_ID, 'test', credentials ?? null]);
    expect((await session.closed).reason).toContain(code);
  });

  it('every item, watch and control method is asked about', async () => {
    const session = await open({ token: tokens.app });
    session.requests('0', [
      session.put(1, 'app/k', 'v'),
      session.put(2, 'other', 'v'),
      session.get(3, 'app/k'),
      session.get(4, 'other'),
      [5, OP.request, 0, false, { op: 'range', key: Buffer.from('other') }],
      [
        6,
        OP.request,
        0,
        false,
        txnOf({ op: 'put', key: Buffer.from('other'), value: Buffer.from('') }),
      ],
      [7, OP.request, 0, false, { op: 'compact', revision: 1 }],
    ]);
    const { items } = await session.answers(7);
    const isRefused = new Map(items.map(([id, kind]) => [id, kind === 2]));
    expect([1, 2, 3, 4, 5, 6, 7].map((id) => isRefused.get(id))).toEqual([
      ...[false, true, false, true],
      ...[true, true, true],
    ]);
    session.send([FRAME.watchCreate, 1, '0', { key: Buffer.from('other') }]);
    expect(JSON.stringify(await session.next(FRAME.watchCancelled))).toContain(
      'KV_PERMISSION_DENIED',
    );
    for (const method of ['log', 'transfer', 'changeMember', 'recover', 'reshard', 'hash']) {
      session.send([FRAME.control, 2, method, { shard: '0' }]);
      const [, , error] = await session.next(FRAME.controlResponse);
      expect(error).toEqual(expect.arrayContaining(['KV_PERMISSION_DENIED']));
    }
    session.close();
  });

  it('leases are guarded as in etcd’s services', async () => {
    const root = await open({ token: tokens.root });
    const app = await open({ token: tokens.app });
    const ask = async (session: RawSession, method: string, params: object): Promise<unknown> => {
      session.send([FRAME.control, 9, method, params]);
      const [, , error] = await session.next(FRAME.controlResponse);
      return error === null ? 'OK' : (error as readonly unknown[])[0];
    };
    const [own, foreign] = [4001n, 4002n];
    expect(await ask(app, 'leaseGrant', { id: own, ttlSeconds: 60 })).toBe('OK');
    expect(await ask(root, 'leaseGrant', { id: foreign, ttlSeconds: 60 })).toBe('OK');
    for (const [key, id] of [
      ['app/leased', own],
      ['other/leased', foreign],
    ] as const) {
      const put = { op: 'put', key: Buffer.from(key), value: Buffer.from(''), lease: id };
      for (const shard of ['0', '1']) {
        root.requests(shard, [[shard === '0' ? 1 : 2, OP.request, 0, false, put]]);
      }
      await root.answers(2);
    }
    const doors: readonly (readonly [string, object, string])[] = [
      ['leaseKeepAlive', { id: foreign }, 'OK'],
      ['leaseTimeToLive', { id: foreign }, 'OK'],
      ['leaseTimeToLive', { id: foreign, keys: true }, 'KV_PERMISSION_DENIED'],
      ['leaseTimeToLive', { id: own, keys: true }, 'OK'],
      ['leaseRevoke', { id: foreign }, 'KV_PERMISSION_DENIED'],
      ['leases', {}, 'KV_PERMISSION_DENIED'],
      ['leaseRevoke', { id: 'all' }, 'KV_MALFORMED'],
      ['leaseRevoke', { id: own }, 'OK'],
    ];
    for (const [method, params, outcome] of doors) {
      expect([method, await ask(app, method, params)]).toEqual([method, outcome]);
    }
    expect(await ask(root, 'leases', {})).toBe('OK');
    expect(await ask(root, 'leaseRevoke', { id: foreign })).toBe('OK');
    app.close();
    root.close();
  });

  it('administration is root’s, but for what everybody may know of themselves', async () => {
    const session = await open({ token: tokens.app });
    const ask = async (params: object): Promise<unknown> => {
      session.send([FRAME.control, 9, 'auth', params]);
      const [, , error, answer] = await session.next(FRAME.controlResponse);
      return error === null ? answer : (error as readonly unknown[])[0];
    };
    const key = Buffer.from('other');
    const refused = [
      ...['enable', 'disable', 'listUsers', 'listRoles'].map((action) => ({ action })),
      { action: 'addUser', user: 'mallory', password: 'm' },
      { action: 'getUser', user: 'root' },
      { action: 'deleteUser', user: 'root' },
      { action: 'changePassword', user: 'root', password: 'm' },
      { action: 'grantRole', user: 'app', role: 'root' },
      { action: 'revokeRole', user: 'app', role: 'app' },
      { action: 'addRole', role: 'mallory' },
      { action: 'getRole', role: 'root' },
      { action: 'deleteRole', role: 'app' },
      { action: 'grantPermission', role: 'app', kind: 'readwrite', key },
      { action: 'revokePermission', role: 'app', key },
    ];
    for (const params of refused) {
      expect([params.action, await ask(params)]).toEqual([params.action, 'KV_PERMISSION_DENIED']);
    }
    expect(await ask({ action: 'status' })).toMatchObject({ enabled: true });
    expect(await ask({ action: 'getUser', user: 'app' })).toEqual({ roles: ['app'] });
    expect(await ask({ action: 'getRole', role: 'app' })).toMatchObject({
      permissions: expect.arrayContaining([
        expect.objectContaining({ kind: 'readwrite' }),
      ]) as unknown,
    });
    expect(await ask({ action: 'logIn', user: 'app', password: 'pw-app' })).toMatchObject({
      token: expect.any(String) as unknown,
    });
    expect(await ask({ action: 'logIn', user: 'root', password: 'x' })).toBe('KV_AUTH_FAILED');
    expect(await ask({ action: 'sudo' })).toBe('KV_MALFORMED');
    session.close();
  });

  it('a watch and a connection end with the right to them', async () => {
    await member.calls.call('Auth/UserAdd', { name: 'guest', password: 'pw-guest' }, tokens.root);
    await member.calls.call('Auth/UserGrantRole', { user: 'guest', role: 'app' }, tokens.root);
    const session = await open({ user: 'guest', password: 'pw-guest' });
    session.send([FRAME.watchCreate, 1, '0', { key: Buffer.from('app/k') }]);
    await session.next(FRAME.watchCreated);
    await member.calls.call('Auth/UserRevokeRole', { name: 'guest', role: 'app' }, tokens.root);
    await session.next(FRAME.watchCancelled);
    await member.calls.call('Auth/UserDelete', { name: 'guest' }, tokens.root);
    expect((await session.closed).reason).toContain('KV_UNAUTHENTICATED');
  });
});

function txnOf(...success: readonly object[]): object {
  return { op: 'txn', compare: [], success, failure: [] };
}

describe('the SDK', () => {
  const connected = (auth?: Credentials): KvorumClient =>
    new KvorumClient({ endpoints: [member.url], timeoutMs: 1000, ...(auth && { auth }) });

  it('shows who it is', async () => {
    const client = connected({ user: 'app', password: 'pw-app' });
    await client.put('app/sdk', 'v');
    await expect(client.get('other')).rejects.toMatchObject({ code: 'KV_PERMISSION_DENIED' });
    await client.close();
  });

  it.each<readonly [Credentials | undefined, string]>([
    [undefined, 'KV_USER_EMPTY'],
    [{ user: 'app', password: 'no' }, 'KV_AUTH_FAILED'],
    [{ token: 'x' }, 'KV_UNAUTHENTICATED'],
  ])('with %j it is told why it is not let in', async (auth, code) => {
    const client = connected(auth);
    await expect(client.ready()).rejects.toMatchObject({ code });
    await client.close();
  });
});
