import type { Message } from '@bufbuild/protobuf';
import { utf8 } from '@kvorum/base';
import type { Member } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { etcdServices } from '../src/etcd/etcd-services.ts';
import { ServiceCalls } from './support/auth-calls.ts';
import { TestCluster } from './support/test-cluster.ts';

const cluster = new TestCluster();
const NAMES = ['m1', 'm2', 'm3'] as const;
const VALUES = { 'auth.bcryptCost': 4 };

const at = (name: string): ServiceCalls =>
  new ServiceCalls(etcdServices(cluster.member(name).host));
const stateOf = (member: Member) => member.host.auth.source.state;
const key = utf8('a/k');
const root = { name: 'root', password: 'secret' };

async function logIn(name: string, user: string, password: string): Promise<string> {
  const answer = await at(name).call('Auth/Authenticate', { name: user, password });
  return (answer as Message & { readonly token: string }).token;
}

beforeAll(() => cluster.found(NAMES, VALUES));
afterAll(() => cluster.dispose());

it('is not enabled while a member cannot be told of it', async () => {
  await at('m1').call('Auth/UserAdd', root);
  await at('m2').call('Auth/UserGrantRole', { user: 'root', role: 'root' });
  await cluster.stop('m3');
  expect(await at('m1').outcome('Auth/AuthEnable')).toBe('KV_UNAVAILABLE');
  expect(await at('m1').outcome('KV/Put', { key })).toBe('OK');
  await cluster.start('m3', VALUES);
  await cluster.until(() => cluster.member('m3').host.refusal() === undefined);
});

it('once it is, no member serves anybody who does not say who they are', async () => {
  await at('m1').call('Auth/AuthEnable');
  for (const name of NAMES) {
    expect(await at(name).outcome('KV/Range', { key })).toBe('KV_USER_EMPTY');
  }
});

it('a token counts at every member, and a change at all of them when it is acknowledged', async () => {
  const admin = await logIn('m2', 'root', 'secret');
  await at('m3').call('Auth/UserAdd', { name: 'u', password: 'pw' }, admin);
  await at('m1').call('Auth/RoleAdd', { name: 'r' }, admin);
  await at('m1').call('Auth/UserGrantRole', { user: 'u', role: 'r' }, admin);
  const token = await logIn('m1', 'u', 'pw');
  const perm = { permType: 2, key, rangeEnd: new Uint8Array(0) };
  for (let round = 0; round < 3; round += 1) {
    await at('m1').call('Auth/RoleGrantPermission', { name: 'r', perm }, admin);
    for (const name of NAMES) expect(await at(name).outcome('KV/Put', { key }, token)).toBe('OK');
    await at('m2').call('Auth/RoleRevokePermission', { role: 'r', key }, admin);
    for (const name of NAMES) {
      expect(await at(name).outcome('KV/Put', { key }, token)).toBe('KV_PERMISSION_DENIED');
    }
  }
});

it('a request that was let through by an older state is refused where the newer one is known', async () => {
  const { router, clock, auth } = cluster.member('m1').host;
  const authVersion = stateOf(cluster.member('m1')).version - 1;
  const deadlineMs = clock.nowMs() + 20_000;
  for (const k of ['a/k', 'b/k', 'c/k', 'd/k']) {
    const put = { op: 'put', key: utf8(k), value: key } as const;
    await expect(router.execute(put, { deadlineMs, authVersion })).rejects.toMatchObject({
      code: 'KV_AUTH_OLD_REVISION',
      outcome: 'not-applied',
    });
  }
  expect(auth.version).toBe(authVersion + 1);
});

it('a member that restarts still asks', async () => {
  await cluster.stop('m2');
  const started = await cluster.start('m2', VALUES);
  expect(await at('m2').outcome('KV/Range', { key })).toBe('KV_USER_EMPTY');
  expect(stateOf(started).enabled).toBe(true);
});

it('a member that is cut off serves nobody after a while, and says why', async () => {
  await cluster.stop('m1');
  await cluster.stop('m2');
  const { source } = cluster.member('m3').host.auth;
  await cluster.until(() => source.refusal() !== undefined);
  const refusal = await at('m3').outcome('KV/Range', { key, serializable: true }, 'any');
  expect(refusal).toBe('KV_UNAVAILABLE');
  for (const name of ['m1', 'm2']) await cluster.start(name, VALUES);
  await cluster.until(() => source.refusal() === undefined);
});

it('disabled, everybody may do everything again', async () => {
  const admin = await logIn('m3', 'root', 'secret');
  await at('m3').call('Auth/AuthDisable', {}, admin);
  for (const name of NAMES) expect(await at(name).outcome('KV/Put', { key })).toBe('OK');
  expect(await at('m1').outcome('Auth/Authenticate', root)).toBe('KV_AUTH_NOT_ENABLED');
});
