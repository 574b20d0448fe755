import { connect, isKvError, type KvorumClient } from '@kvorum/client';
import { afterAll, expect, it } from 'vitest';
import { useMember } from './support/member.ts';

const { kv, client, url } = useMember({ 'auth.bcryptCost': 4 });
const ROOT = { user: 'root', password: 'pw-root' };

let nobody: KvorumClient | undefined;
afterAll(async () => {
  await nobody?.close();
});

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'OK',
    (error: unknown) => (isKvError(error) ? error.code : String(error)),
  );

it('authorization is administered from nothing to enabled and back', async () => {
  const { auth } = kv();
  expect(await auth.status()).toMatchObject({ enabled: false });
  expect(await codeOf(auth.enable())).toBe('KV_ROOT_USER_MISSING');
  expect(await codeOf(auth.logIn('root', 'x'))).toBe('KV_AUTH_NOT_ENABLED');
  await auth.addUser('root', ROOT.password);
  await auth.grantRole('root', 'root');
  await auth.addRole('app');
  await auth.grantPermission('app', 'readwrite', { prefix: 'app/' });
  await auth.grantPermission('app', 'read', 'shared');
  await auth.addUser('ann', 'pw-ann');
  await auth.addUser('token-only', undefined);
  await auth.grantRole('ann', 'app');
  expect([await auth.users(), await auth.roles()]).toEqual([
    ['ann', 'root', 'token-only'],
    ['app'],
  ]);
  expect(await auth.rolesOf('ann')).toEqual(['app']);
  const permissions = await auth.permissionsOf('app');
  expect(permissions.map(({ kind, key }) => [kind, Buffer.from(key).toString()])).toEqual([
    ['readwrite', 'app/'],
    ['read', 'shared'],
  ]);
  expect(await codeOf(auth.addUser('ann', 'x'))).toBe('KV_USER_EXISTS');
  expect(await codeOf(auth.rolesOf('bob'))).toBe('KV_USER_NOT_FOUND');
  expect(await codeOf(auth.revokePermission('app', 'nothing'))).toBe('KV_PERMISSION_NOT_GRANTED');

  // Whoever enables it hears so, and goes on with the credentials that it was given.
  const root = await client({ auth: ROOT });
  const watch = await root.watch('app/k');
  await watch.ready;
  await root.auth.enable();
  expect(await root.auth.status()).toMatchObject({ enabled: true });
  expect(await codeOf(kv().get('app/k', { timeoutMs: 1500 }))).toBe('KV_USER_EMPTY');
  nobody = await connect({ endpoints: [url()] }).catch(() => undefined);
  expect(nobody).toBeUndefined();

  const token = await root.auth.logIn('ann', 'pw-ann');
  const ann = await client({ auth: { token } });
  await ann.put('app/k', '1');
  expect((await watch.next()).value).toMatchObject({ type: 'put' });
  expect(await codeOf(ann.put('shared', '1'))).toBe('KV_PERMISSION_DENIED');
  expect(await codeOf(ann.auth.users())).toBe('KV_PERMISSION_DENIED');
  expect(await ann.auth.rolesOf('ann')).toEqual(['app']);

  // What needs a lease and keys of one's own needs no more than the right to the keys.
  const lock = await ann.lock('app/lock');
  expect(await codeOf(ann.lock('other', { timeoutMs: 500 }))).toBe('KV_PERMISSION_DENIED');
  await root.auth.revokeRole('ann', 'app');
  expect(await codeOf(ann.put('app/k', '2'))).toBe('KV_PERMISSION_DENIED');
  await root.auth.grantRole('ann', 'app');
  await lock.release();

  await root.auth.changePassword('ann', 'pw-2');
  expect(await codeOf(root.auth.logIn('ann', 'pw-ann'))).toBe('KV_AUTH_FAILED');
  await root.auth.deleteRole('app');
  await root.auth.deleteUser('ann');
  await root.auth.disable();
  expect(await kv().auth.status()).toMatchObject({ enabled: false });
}, 90_000);
