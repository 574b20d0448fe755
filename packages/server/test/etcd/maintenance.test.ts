import { createHash } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { decodeSnapshot } from '@kvorum/backup';
import {
  AlarmRequestSchema,
  DefragmentRequestSchema,
  DowngradeRequestSchema,
  HashKVRequestSchema,
  HashRequestSchema,
  MemberAddRequestSchema,
  MemberListRequestSchema,
  MemberPromoteRequestSchema,
  MemberRemoveRequestSchema,
  MemberUpdateRequestSchema,
  MoveLeaderRequestSchema,
  SnapshotRequestSchema,
  type SnapshotResponse,
  StatusRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdServices } from '../../src/etcd/etcd-services.ts';
import { clusterHandlers } from '../../src/etcd/services/cluster.ts';
import { maintenanceHandlers } from '../../src/etcd/services/maintenance.ts';
import { but, Collected, callOf, refusal, withoutLeaders } from '../support/etcd-calls.ts';
import { TestCluster } from '../support/test-cluster.ts';

const call = callOf();
const NAMES = ['m1', 'm2', 'm3'];

describe('three members with one shard', () => {
  const cluster = new TestCluster();
  // Leaders stay where they are, however busy the machine is.
  const times = { 'limits.electionMsMin': 2000, 'limits.electionMsMax': 4000 };
  beforeAll(() => cluster.found(NAMES, { shards: 1, ...times }), 60_000);
  afterAll(() => cluster.dispose(), 30_000);
  const hostOf = (name: string) => cluster.member(name).host;
  const maintenanceOf = (name: string) => maintenanceHandlers(hostOf(name));
  const leader = async (): Promise<string> => {
    const leads = (name: string): boolean => hostOf(name).leads('0');
    await cluster.until(() => NAMES.some(leads));
    return NAMES.find(leads) ?? '';
  };
  const hashKv = (name: string, revision = 0n) =>
    maintenanceOf(name).hashKV(create(HashKVRequestSchema, { revision }), call);

  it('says of itself what clients of etcd look for', async () => {
    const status = await maintenanceOf('m1').status(create(StatusRequestSchema), call);
    expect(status.version).toMatch(/^3\.\d+\.\d+$/);
    expect(status.leader).toBe(hostOf(await leader()).self);
    expect(status.raftIndex).toBeGreaterThan(0n);
    expect(status.dbSizeQuota).toBeGreaterThan(0n);
    expect(status.errors).toEqual([]);
    expect(status.header?.memberId).toBe(hostOf('m1').self);
    const { header } = await maintenanceOf('m1').defragment(create(DefragmentRequestSchema), call);
    expect(header).toBeUndefined();
  });

  it('refuses at once what requires a leader while there is none, in every service', async () => {
    const services = etcdServices(withoutLeaders(hostOf('m1')));
    const required = callOf({ hasleader: 'true' });
    for (const name of ['Cluster', 'Maintenance', 'Auth']) {
      const service = services.find((one) => one.name === `etcdserverpb.${name}`);
      expect(service?.methods.length).toBeGreaterThan(0);
      for (const { kind, handle, descriptor } of service?.methods ?? []) {
        if (kind !== 'unary') continue;
        const answer = handle(create(descriptor.input), required);
        expect(await refusal(answer)).toBe('UNAVAILABLE etcdserver: no leader');
      }
    }
  });

  it('hashes the same history alike on every member, at any revision that can be read', async () => {
    for (const key of ['a', 'b', 'a', 'c']) await cluster.put(key);
    await cluster.until(() =>
      NAMES.every((name) => hostOf(name).replica('0')?.status().revision === 5),
    );
    const hashes = await Promise.all(NAMES.map((name) => hashKv(name)));
    expect(new Set(hashes.map(({ hash }) => hash)).size).toBe(1);
    expect(hashes[0]).toMatchObject({ hashRevision: 5n, compactRevision: -1n });
    const before = (await hashKv('m1', 4n)).hash;
    expect(before).not.toBe(hashes[0]?.hash);
    await cluster.put('a');
    expect((await hashKv('m2', 4n)).hash).toBe(before);
    expect(await refusal(hashKv('m1', 1000n))).toContain('future revision');
    await hostOf('m1').router.execute(
      { op: 'compact', revision: 4 },
      { deadlineMs: hostOf('m1').clock.nowMs() + 20_000 },
    );
    await cluster.until(() =>
      NAMES.every((name) => hostOf(name).replica('0')?.status().compactRevision === 4),
    );
    expect(await refusal(hashKv('m1', 3n))).toContain('has been compacted');
    const compacted = await Promise.all(NAMES.map((name) => hashKv(name, 5n)));
    expect(new Set(compacted.map(({ hash }) => hash)).size).toBe(1);
    const whole = NAMES.map((name) => maintenanceOf(name).hash(create(HashRequestSchema), call));
    expect(new Set((await Promise.all(whole)).map(({ hash }) => hash)).size).toBe(1);
  });

  it('streams a snapshot that etcdctl takes for whole and that our own tools read', async () => {
    const out = new Collected<SnapshotResponse>();
    await maintenanceOf(await leader()).snapshot(create(SnapshotRequestSchema), out, call);
    const blobs = out.messages.map(({ blob }) => blob);
    const file = Buffer.concat(blobs);
    expect(file.length % 512).toBe(32);
    const payload = file.subarray(0, -32);
    expect(createHash('sha256').update(payload).digest()).toEqual(file.subarray(-32));
    const remaining = out.messages.map(({ remainingBytes }) => Number(remainingBytes));
    expect(remaining[0]).toBe(payload.length - (blobs[0]?.length ?? 0));
    expect(remaining.slice(-2)).toEqual([0, 0]);
    // Our own files, whose frames say how long they are, one behind the other; then there are zeros.
    let rest = payload;
    const shards: string[] = [];
    while (rest.subarray(0, 4).toString() === 'KVSN') {
      let [at, size] = [5, 0];
      while (size === 0) {
        const end = at + 9 + rest.readUInt32BE(at + 1);
        if (rest[at] === 3) size = end;
        at = end;
      }
      const one = rest.subarray(0, size);
      async function* bytes(): AsyncGenerator<Uint8Array> {
        yield one;
      }
      for await (const part of decodeSnapshot(bytes())) {
        if (part.kind === 'header') shards.push(part.header.shard);
      }
      rest = rest.subarray(size);
    }
    expect(shards).toEqual(['0', 'meta']);
    expect(rest.every((byte) => byte === 0)).toBe(true);
  });

  it('moves the leader, from the leader alone', async () => {
    const from = await leader();
    const [target, third] = NAMES.filter((name) => name !== from);
    const move = (at: string, to: bigint) =>
      maintenanceOf(at).moveLeader(create(MoveLeaderRequestSchema, { targetID: to }), call);
    const self = hostOf(target ?? '').self;
    expect(await refusal(move(third ?? '', self))).toContain('etcdserver: not leader');
    for (const to of [0n, 77n]) {
      expect(await refusal(move(from, to))).toContain('etcdserver: bad leader transferee');
    }
    await move(from, self);
    await cluster.until(() => hostOf(target ?? '').leads('0'));
  });

  it('raises NOSPACE while the quota of a member is used up, and says whose', async () => {
    const host = hostOf('m1');
    const full = but(host, 'limits', { ...host.limits, quotaBytes: 1 });
    const { alarm, status } = maintenanceHandlers(full);
    for (const action of [0, 2]) {
      const { alarms } = await alarm(create(AlarmRequestSchema, { action }), call);
      expect(alarms).toMatchObject([{ memberID: host.self, alarm: 1 }]);
    }
    const { errors } = await status(create(StatusRequestSchema), call);
    expect(errors).toContain(`memberID:${host.self} alarm:NOSPACE `);
  });

  it('has no alarm while there is space, and refuses downgrades as etcd does', async () => {
    const { alarm, downgrade } = maintenanceOf('m1');
    const asked = await alarm(create(AlarmRequestSchema, { action: 0 }), call);
    expect(asked.alarms).toEqual([]);
    expect(await refusal(alarm(create(AlarmRequestSchema, { action: 1, alarm: 1 }), call))).toMatch(
      /^FAILED_PRECONDITION /,
    );
    const refused = (request: MessageInitShape<typeof DowngradeRequestSchema>) =>
      refusal(downgrade(create(DowngradeRequestSchema, request), call));
    expect(await refused({ action: 0, version: 'x' })).toContain('wrong downgrade target version');
    expect(await refused({ action: 1, version: '3.5.0' })).toContain('invalid downgrade target');
    const cancel = create(DowngradeRequestSchema, { action: 2 });
    expect((await downgrade(cancel, call)).version).toBe('3.6');
  });

  it('lists the members with addresses that reach them, and changes them where etcd’s words fit', async () => {
    const { memberList, memberAdd, memberRemove, memberUpdate, memberPromote } = clusterHandlers(
      hostOf('m1'),
    );
    for (const linearizable of [true, false]) {
      const { members, header } = await memberList(
        create(MemberListRequestSchema, { linearizable }),
        call,
      );
      expect(header?.revision).toBe(0n);
      expect(members.map((one) => [one.ID, one.name, one.peerURLs, one.clientURLs])).toEqual(
        NAMES.map((name) => {
          const own = cluster.addresses.find((one) => one.name === name);
          const urls = [[`http://${own?.peer}`], [`http://${own?.client}`]];
          return [hostOf(name).self, name, ...urls];
        }),
      );
    }
    const add = (url: string) =>
      refusal(memberAdd(create(MemberAddRequestSchema, { peerURLs: [url] }), call));
    expect(await add('nonsense')).toContain('given member URLs are invalid');
    expect(await add(`http://${cluster.addresses[0]?.peer}`)).toContain('Peer URLs already exists');
    expect(await add('http://127.0.0.1:1')).toMatch(/^FAILED_PRECONDITION .*not supported yet/);
    for (const work of [
      memberRemove(create(MemberRemoveRequestSchema, { ID: 5n }), call),
      memberPromote(create(MemberPromoteRequestSchema, { ID: 5n }), call),
    ]) {
      expect(await refusal(work)).toBe('NOT_FOUND etcdserver: member not found');
    }
    const { self } = hostOf('m3');
    const promoted = memberPromote(create(MemberPromoteRequestSchema, { ID: self }), call);
    expect(await refusal(promoted)).toContain('can only promote a learner member');
    const peerURLs = [`http://${cluster.addresses[2]?.peer}`];
    const updated = await memberUpdate(
      create(MemberUpdateRequestSchema, { ID: self, peerURLs }),
      call,
    );
    expect(updated.members).toHaveLength(3);
    await cluster.stop('m3');
    await cluster.until(() => hostOf('m1').leaders()['0'] !== undefined);
    const removed = await memberRemove(create(MemberRemoveRequestSchema, { ID: self }), call);
    expect(removed.members.map(({ name }) => name)).toEqual(['m1', 'm2']);
  });
});
