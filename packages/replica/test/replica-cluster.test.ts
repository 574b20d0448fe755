import { isKvError, logOffset, utf8 } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import {
  cluster,
  errorOf,
  expectEqualHashes,
  outcome,
  put,
  query,
  read,
  replicaOf,
  responseOf,
  revisionOf,
  SHARD,
  settled,
  startQuery,
  submit,
  Watcher,
  write,
} from './support.ts';

const CLIENT = '0123456789abcdef0123456789abcdef';

describe('a healthy shard', () => {
  it('elects the preferred leader', async () => {
    const { world, leader } = await cluster();
    expect(leader.name).toBe('m1');
    for (const member of world.members) {
      expect(replicaOf(world, member).status().raft.leader).toBe(leader.id);
    }
    expect(world.alarms).toEqual([]);
  });

  it('puts at the leader and gets at every member', async () => {
    const { world, leader } = await cluster();
    expect(await write(world, leader, put('a', '1'))).toBe(2);
    for (const member of world.members) expect(await read(world, member, 'a')).toBe('1');
    expect(await read(world, leader, 'b')).toBeUndefined();
    const follower = world.members.find((member) => member !== leader);
    if (follower === undefined) throw new Error('no follower');
    const refused = errorOf(await settled(world, submit(world, follower, put('a', '2'))));
    expect(refused.code).toBe('KV_NOT_LEADER');
    expect(refused.details.leader).toBe('0000000000000001');
    await expectEqualHashes(world);
  });

  it('decides a txn once, and answers a failed compare only with proof of leadership', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    const swap = {
      op: 'txn',
      compare: [{ key: utf8('a'), target: 'value', result: 'equal', value: utf8('1') }],
      success: [{ op: 'put', key: utf8('a'), value: utf8('2') }],
      failure: [{ op: 'range', key: utf8('a') }],
    } as const;
    const first = responseOf(await settled(world, submit(world, leader, swap)));
    expect(first).toMatchObject({ op: 'txn', succeeded: true, revision: 3 });
    const rounds = replicaOf(world, leader).status().raft.readRoundCount;
    const again = responseOf(await settled(world, submit(world, leader, swap)));
    expect(again).toMatchObject({ op: 'txn', succeeded: false, revision: 3 });
    expect(replicaOf(world, leader).status().raft.readRoundCount).toBe(rounds + 1);
  });

  it('feeds watches on leader and follower alike, history first', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    const watches = world.members.map(
      (member) => new Watcher(world, member, { key: utf8('a'), startRevision: 2 }),
    );
    await write(world, leader, put('a', '2'));
    await write(world, leader, put('b', 'x'));
    await write(world, leader, { op: 'delete-range', key: utf8('a') });
    await world.run(100);
    for (const watch of watches) {
      expect(watch.texts).toEqual(['put a=1@2', 'put a=2@3', 'delete a=@5']);
    }
  });

  it('tells a quiet watcher that asked how far it has come', async () => {
    const { world, leader } = await cluster();
    const [asked, silent] = [true, false].map(
      (progressNotify) => new Watcher(world, leader, { key: utf8('quiet'), progressNotify }),
    );
    await write(world, leader, put('a', '1'));
    await world.run(25_000);
    expect(asked?.progress.at(-1)).toBe(2);
    expect(silent?.progress).toEqual([]);
  });

  it('answers many commands of one moment with one record', async () => {
    const { world, leader } = await cluster();
    const before = world.history(SHARD).entries.length;
    const all = Array.from({ length: 100 }, (_, i) => submit(world, leader, put(`k${i}`, 'v')));
    for (const [i, one] of all.entries()) {
      expect(revisionOf(await settled(world, one))).toBe(2 + i);
    }
    expect(world.history(SHARD).entries.length).toBe(before + 1);
  });

  it('compacts in the background while it serves', async () => {
    const { world, leader } = await cluster({ storeMsMax: 3 });
    for (let i = 0; i < 20; i += 1) await write(world, leader, put('a', String(i)));
    await write(world, leader, { op: 'compact', revision: 15 });
    await world.run(1000);
    expect(await read(world, leader, 'a')).toBe('19');
    const old = await query(world, leader, { op: 'range', key: utf8('a'), revision: 10 });
    expect(errorOf(old).code).toBe('KV_COMPACTED');
    const watch = new Watcher(world, leader, { key: utf8('a'), startRevision: 5 });
    await world.run(100);
    expect(watch.cancelled?.code).toBe('KV_COMPACTED');
    for (const member of world.members) {
      expect(replicaOf(world, member).status().compactRevision).toBe(15);
    }
    await expectEqualHashes(world);
  });

  it('transfers leadership, and the new leader goes on', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    const target = world.members[2];
    if (target === undefined) throw new Error('three members');
    const moved = await outcome(world, replicaOf(world, leader).transferLeadership(target.id));
    expect(moved.ok).toBe(true);
    expect(await world.awaitLeader(SHARD, leader)).toBe(target);
    expect(await write(world, target, put('a', '2'))).toBe(3);
    const back = await outcome(world, replicaOf(world, leader).transferLeadership(target.id));
    expect(back.ok ? undefined : isKvError(back.error) && back.error.code).toBe('KV_NOT_LEADER');
  });

  it('turns writes away when its queue is full', async () => {
    const { world, leader } = await cluster({ limits: { shardQueueCommandsMax: 8 } });
    const all = Array.from({ length: 12 }, (_, i) => submit(world, leader, put(`k${i}`, 'v')));
    const results = [];
    for (const one of all) results.push(await settled(world, one));
    expect(results.filter((result) => result.ok)).toHaveLength(8);
    for (const result of results.slice(8)) {
      expect(errorOf(result).code).toBe('KV_TOO_MANY_REQUESTS');
    }
  });
});

describe('failover', () => {
  it('keeps acknowledged writes when the leader crashes', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 5; i += 1) await write(world, leader, put(`k${i}`, `v${i}`));
    leader.crash(() => 0);
    const next = await world.awaitLeader(SHARD, leader);
    for (let i = 0; i < 5; i += 1) expect(await read(world, next, `k${i}`)).toBe(`v${i}`);
    expect(await write(world, next, put('after', '1'))).toBe(7);
  });

  it('replays from the log after a crash that lost the whole store', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 5; i += 1) await write(world, leader, put(`k${i}`, `v${i}`));
    for (const member of world.members) member.crash(() => 0);
    world.start();
    const next = await world.awaitLeader(SHARD);
    expect(replicaOf(world, next).status().revision).toBe(6);
    for (let i = 0; i < 5; i += 1) expect(await read(world, next, `k${i}`)).toBe(`v${i}`);
    await expectEqualHashes(world);
    expect(world.alarms).toEqual([]);
  });

  it('applies a write once when its session sends it again to the next leader', async () => {
    const { world, leader } = await cluster();
    const session = { clientId: CLIENT, seq: 1, ackedThrough: 0, retry: false };
    const first = revisionOf(
      await settled(world, submit(world, leader, put('a', '1'), { session })),
    );
    await write(world, leader, put('a', 'later'));
    leader.crash();
    const next = await world.awaitLeader(SHARD, leader);
    const again = await settled(
      world,
      submit(world, next, put('a', '1'), { session: { ...session, retry: true } }),
    );
    expect(revisionOf(again)).toBe(first);
    expect(await read(world, next, 'a')).toBe('later');
  });

  it('keeps sessions through failovers between members whose wall clocks are days apart', async () => {
    const { world, leader } = await cluster({ wallSkewDays: [0, 9, 9] });
    const session = { clientId: CLIENT, seq: 1, ackedThrough: 0, retry: false };
    const request = put('a', '1');
    const first = await settled(world, submit(world, leader, request, { session }));
    leader.crash();
    const next = await world.awaitLeader(SHARD, leader);
    const other = { ...session, clientId: CLIENT.replaceAll('0', 'f') };
    await settled(world, submit(world, next, put('b', '1'), { session: other }));
    const again = submit(world, next, request, { session: { ...session, retry: true } });
    expect(await settled(world, again)).toEqual(first);
  });

  it('fences the late record of a deposed leader', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    world.broker.failNextAppend(world.logName(SHARD), { kind: 'late', delayMs: 60_000 });
    const open = submit(world, leader, put('a', 'zombie'), { timeoutMs: 3000 });
    await world.run(20);
    leader.pause();
    const next = await world.awaitLeader(SHARD, leader);
    // The next leader's barrier pushed the late record behind itself: it is dead.
    await write(world, next, put('b', '1'));
    leader.resume();
    expect((await settled(world, open)).ok).toBe(false);
    expect(await read(world, next, 'a')).toBe('1');
    expect(await read(world, leader, 'a')).toBe('1');
    await expectEqualHashes(world);
    expect(replicaOf(world, next).status().raft.fencedCount).toBeGreaterThan(0);
    expect(world.alarms).toEqual([]);
  });

  it('gives a definite no for a write whose record died behind the next barrier', async () => {
    const { world, leader } = await cluster();
    world.broker.failNextAppend(world.logName(SHARD), { kind: 'late', delayMs: 60_000 });
    const open = submit(world, leader, put('a', 'zombie'), { timeoutMs: 60_000 });
    await world.run(20);
    leader.pause();
    await world.awaitLeader(SHARD, leader);
    leader.resume();
    const error = errorOf(await settled(world, open));
    expect([error.code, error.outcome]).toEqual(['KV_DEPOSED', 'not-applied']);
  });
});

describe('slow disks', () => {
  it('survives losing leadership while a batch is being executed', async () => {
    let slow = false;
    const storeMs = (member: { name: string }, call: 'read' | 'write'): number =>
      slow && member.name === 'm1' && call === 'read' ? 4000 : 0;
    const { world, leader } = await cluster({ storeMs });
    await write(world, leader, put('a', '1'));
    slow = true;
    const open = submit(world, leader, put('never read before', '1'), { timeoutMs: 60_000 });
    await world.run(10);
    for (const member of world.members) {
      if (member !== leader) world.network.cut(leader.id, member.id);
    }
    const next = await world.awaitLeader(SHARD, leader);
    for (let i = 0; i < 3; i += 1) await write(world, next, put('a', `next ${i}`));
    expect(errorOf(await settled(world, open)).code).toBe('KV_DEPOSED');
    slow = false;
    world.network.heal();
    await world.run(3000);
    expect(world.alarms).toEqual([]);
    await expectEqualHashes(world);
  });

  it('goes on with queued writes after a transfer that failed', async () => {
    const { world, leader } = await cluster();
    const target = world.members[1];
    if (target === undefined) throw new Error('three members');
    target.crash();
    const replica = replicaOf(world, leader);
    const transfers = [
      outcome(world, replica.transferLeadership(target.id)),
      replica.transferLeadership(target.id).then(
        () => 'moved',
        () => 'failed',
      ),
    ] as const;
    const queued = submit(world, leader, put('a', '1'), { timeoutMs: 60_000 });
    expect((await transfers[0]).ok).toBe(false);
    expect(await transfers[1]).toBe('failed');
    expect((await settled(world, queued)).ok).toBe(true);
  });
});

describe('the log misbehaves', () => {
  it('finds out by reading back whether an append of unknown outcome landed', async () => {
    const { world, leader } = await cluster();
    for (const kind of ['answer-lost', 'lost', 'refused', 'duplicate'] as const) {
      const before = replicaOf(world, leader).status().revision;
      world.broker.failNextAppend(world.logName(SHARD), { kind });
      const result = await settled(world, submit(world, leader, put('a', kind)));
      if (kind === 'refused') expect(errorOf(result).outcome).toBe('not-applied');
      else expect(revisionOf(result)).toBe(before + 1);
      const value = await read(world, leader, 'a');
      expect(value).toBe(kind === 'refused' ? 'lost' : kind);
    }
    await write(world, leader, put('b', '1'));
    await expectEqualHashes(world);
    expect(world.alarms).toEqual([]);
  });

  it('serves reads through an outage of the log, with the same leader after it', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    // A follower that had not read the record yet would have to wait for the log.
    await world.run(100);
    world.broker.setUnavailable(true);
    const refused = submit(world, leader, put('a', 'refused'));
    for (let i = 0; i < 20; i += 1) {
      for (const member of world.members) expect(await read(world, member, 'a')).toBe('1');
      await world.run(1000);
    }
    expect(errorOf(refused.result).outcome).toBe('not-applied');
    world.broker.setUnavailable(false);
    await world.run(2000);
    expect(world.leader(SHARD)).toBe(leader);
    expect(await write(world, leader, put('a', '2'))).toBe(3);
    await expectEqualHashes(world);
  });

  it('ends queued writes with the right outcome when the log goes away under an append', async () => {
    const { world, leader } = await cluster({ appendMs: [50, 50] });
    const open = submit(world, leader, put('a', 'open'));
    await world.run(10);
    const queued = submit(world, leader, put('b', 'queued'));
    world.broker.setUnavailable(true);
    const [first, second] = [await settled(world, open), await settled(world, queued)];
    expect([errorOf(first).code, errorOf(first).outcome]).toEqual(['KV_TIMEOUT', 'unknown']);
    expect([errorOf(second).code, errorOf(second).outcome]).toEqual(['KV_DEADLINE', 'not-applied']);
    await world.run(10_000);
    world.broker.setUnavailable(false);
    await world.run(5000);
    const next = await world.awaitLeader(SHARD);
    // The record was sent again until it was read back.
    expect(await read(world, next, 'a')).toBe('open');
    expect(await read(world, next, 'b')).toBeUndefined();
  });

  it('moves leadership when the leader alone is cut off from the log', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    world.broker.setUnavailable(true, leader.name);
    const deadline = world.clock.nowMs() + 20_000;
    while (world.leader(SHARD) === leader && world.clock.nowMs() < deadline) {
      await settled(world, submit(world, leader, put('a', 'x')));
      await world.run(500);
    }
    const next = await world.awaitLeader(SHARD, leader);
    expect(await write(world, next, put('a', '2'))).toBe(3);
  });
});

describe('the log contradicts the replica', () => {
  it('halts everybody when the tail was rewritten while they were down', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 3; i += 1) await write(world, leader, put('a', String(i)));
    await world.run(100);
    const records = world.history(SHARD).entries;
    const last = records.at(-1);
    if (last === undefined) throw new Error('a record');
    for (const member of world.members) member.crash();
    world.broker.rewriteTail(world.logName(SHARD), last.offset, [records[0]?.bytes ?? last.bytes]);
    world.start();
    await world.run(3000);
    for (const member of world.members) {
      const { halted } = replicaOf(world, member).status().raft;
      expect(halted?.reason).toBe('log-rewritten');
      const error = errorOf(await settled(world, submit(world, member, put('a', 'x'))));
      expect(error.code).toBe('KV_HALTED');
      const stale = await query(world, member, {
        op: 'range',
        key: utf8('a'),
        serializable: true,
      });
      expect(responseOf(stale)).toMatchObject({ count: 1 });
    }
    expect(world.leader(SHARD)).toBeUndefined();
  });

  it('halts everybody when the log lost just its last record while they were down', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    await write(world, leader, put('a', '2'));
    await world.run(500);
    for (const member of world.members) member.crash();
    const { end } = world.history(SHARD);
    world.broker.rewriteTail(world.logName(SHARD), logOffset(end - 1));
    for (const member of world.members) member.start();
    await world.run(3000);
    for (const member of world.members) {
      const { halted } = replicaOf(world, member).status().raft;
      expect(halted?.reason).toBe('log-end-moved-back');
    }
  });

  it('halts a live follower when acknowledged records vanish', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 3; i += 1) await write(world, leader, put('a', String(i)));
    await world.run(100);
    const last = world.history(SHARD).entries.at(-1);
    if (last === undefined) throw new Error('a record');
    world.broker.rewriteTail(world.logName(SHARD), logOffset(last.offset - 1));
    await world.run(3000);
    const followers = world.members.filter((member) => member !== leader);
    for (const member of followers) {
      expect(replicaOf(world, member).status().raft.halted?.reason).toBe('log-end-moved-back');
    }
    const failed = await settled(world, submit(world, leader, put('a', 'x')));
    expect(failed.ok).toBe(false);
  });

  it('halts on a record of another shard', async () => {
    const { world, leader } = await cluster({ shards: 2 });
    await write(world, leader, put('a', '1'));
    const foreign = world.broker.records('raft-log-1')[0];
    if (foreign === undefined) throw new Error('shard 1 has a barrier');
    const end = logOffset(world.history(SHARD).entries.length);
    world.broker.rewriteTail(world.logName(SHARD), end, [foreign.bytes]);
    await world.run(1000);
    const halted = world.members.filter(
      (member) => replicaOf(world, member).status().raft.halted?.reason === 'wrong-shard',
    );
    expect(halted.length).toBeGreaterThanOrEqual(2);
  });

  it('ends watches and refuses transfers once it is halted', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('a', '1'));
    const follower = world.members.find((member) => member !== leader);
    if (follower === undefined) throw new Error('a follower');
    const watch = new Watcher(world, follower, { key: utf8('a') });
    await world.run(100);
    world.broker.rewriteTail(world.logName(SHARD), logOffset(1));
    await world.run(2000);
    expect(watch.cancelled?.code).toBe('KV_HALTED');
    await settled(world, submit(world, leader, put('a', 'x')));
    await world.run(2000);
    const transfer = await outcome(world, replicaOf(world, leader).transferLeadership(follower.id));
    expect(transfer.ok).toBe(false);
  });
});

describe('stop', () => {
  it('settles everything that was asked', async () => {
    const { world, leader } = await cluster({ storeMsMax: 20, appendMs: [50, 50] });
    const replica = replicaOf(world, leader);
    const open = submit(world, leader, put('a', '1'));
    await world.run(100);
    const queued = submit(world, leader, put('b', '1'));
    const reading = startQuery(world, leader, { op: 'range', key: utf8('a') });
    const watch = new Watcher(world, leader, { key: utf8('a') });
    await world.run(1);
    const stopped = await outcome(world, leader.stop());
    expect(stopped.ok).toBe(true);
    await world.run(100);
    for (const one of [open, queued]) expect(one.result).toBeDefined();
    expect(errorOf(reading.result).code).toBe('KV_STOPPED');
    expect(watch.cancelled?.code).toBe('KV_STOPPED');
    const late = { result: false };
    replica.get(utf8('a'), Number.MAX_SAFE_INTEGER, (result) => {
      late.result = !result.ok;
    });
    expect(late.result).toBe(true);
    await world.awaitLeader(SHARD, leader);
  });

  it('settles commands and reads at every moment of their way', async () => {
    for (let afterMs = 0; afterMs <= 60; afterMs += 3) {
      const { world, leader } = await cluster({ storeMsMax: 10, appendMs: [5, 20], seed: 7 });
      const replica = replicaOf(world, leader);
      const writes = [submit(world, leader, put('a', '1')), submit(world, leader, put('b', '1'))];
      const failing = submit(world, leader, {
        op: 'txn',
        compare: [{ key: utf8('z'), target: 'version', result: 'greater', value: 5 }],
        success: [],
        failure: [{ op: 'range', key: utf8('a') }],
      });
      let got = 0;
      replica.get(utf8('a'), leader.nowMs() + 5000, () => {
        got += 1;
      });
      replica.read({ op: 'range', key: utf8('a'), serializable: true }, 0, () => {
        got += 1;
      });
      await world.run(afterMs);
      expect((await outcome(world, leader.stop())).ok).toBe(true);
      await world.run(1000);
      expect({ afterMs, got }).toEqual({ afterMs, got: 2 });
      for (const one of [...writes, failing]) {
        expect({ afterMs, answered: one.result !== undefined }).toEqual({
          afterMs,
          answered: true,
        });
      }
    }
  });
});
