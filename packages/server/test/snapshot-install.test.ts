import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DEFAULT_LIMITS,
  formatId,
  leaderId,
  type MemberId,
  memberId,
  shardId,
  toHex,
  utf8,
} from '@kvorum/base';
import { type LocalLogs, openLocalLogs } from '@kvorum/log-local';
import type { PeerTransport, SharedLog, StateStores } from '@kvorum/ports';
import {
  createPaces,
  openReplica,
  type Replica,
  type ReplicaOptions,
  ReplicaStores,
} from '@kvorum/replica';
import { openLevelStores } from '@kvorum/store-level';
import { MemoryPeerNetwork } from '@kvorum/testkit';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openedShards } from '../src/member/opened-shards.ts';
import { sha256, systemClock, systemRng } from '../src/member/system.ts';
import { createMetrics } from '../src/metrics.ts';

const SHARD = shardId(0);
const UID = new Uint8Array(16).fill(7);
const MEMBERS = [1n, 2n, 3n].map((id) => memberId(id));
const LIMITS = {
  ...DEFAULT_LIMITS,
  electionMsMin: 300,
  electionMsMax: 600,
  durableMs: 30,
  truncateMs: 50,
  truncateSlackRecords: 5,
  truncateSlackBytes: 1,
  truncateSlackMs: 1,
  snapshotChunkBytes: 4096,
  snapshotIdleMs: 300,
};
const SILENT = (): void => undefined;
const WAIT = { timeout: 15_000, interval: 20 };

interface Running {
  readonly replica: Replica;
  readonly log: SharedLog;
  stop(): Promise<void>;
}

let directory: string;
let logs: LocalLogs;
let network: MemoryPeerNetwork;
let running: Map<MemberId, Running>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kvorum-install-'));
  logs = await openLocalLogs({ directory: join(directory, 'log') });
  network = new MemoryPeerNetwork({ clock: systemClock, rng: systemRng });
  running = new Map();
  for (const id of MEMBERS) await start(id);
});

afterEach(async () => {
  await Promise.all([...running.values()].map((one) => one.stop()));
  await logs.close();
  await rm(directory, { recursive: true, force: true });
});

function storesOf(id: MemberId): StateStores {
  return openLevelStores({ directory: join(directory, formatId(id)) });
}

function optionsOf(
  id: MemberId,
  parts: Pick<ReplicaOptions, 'log' | 'store' | 'place'> & { readonly peers: PeerTransport },
): ReplicaOptions {
  const { peers, ...ports } = parts;
  return {
    ...ports,
    shard: SHARD,
    shardUid: UID,
    generation: 0,
    self: id,
    leaderId: leaderId(`${formatId(id)}${toHex(systemRng.bytes(8))}`),
    voters: MEMBERS,
    preferenceRank: Number(id) - 1,
    transport: {
      send: (to, payload) => peers.send(to, { shard: SHARD, payload }),
      request: (to, payload, options) => peers.request(to, payload, options),
    },
    clock: systemClock,
    rng: systemRng,
    limits: LIMITS,
    metrics: createMetrics({ version: 'test', config: { name: 'm', limits: LIMITS }, memberId: id })
      .replica,
    logger: { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT },
    paces: createPaces(),
    sha256,
  };
}

async function start(id: MemberId): Promise<Replica> {
  const stores = storesOf(id);
  const own = new ReplicaStores(stores, openedShards(join(directory, formatId(id))));
  const peers = network.join(id);
  const memberLogs = logs.forMember();
  const log = await memberLogs.open({ shard: SHARD, generation: 0 }, { create: true });
  const store = await own.open(SHARD, UID);
  const replica = await openReplica(
    optionsOf(id, { log, store, place: own.placeOf(SHARD), peers }),
  );
  peers.onMessage((from, { payload }) => replica.deliver(from, payload));
  peers.onRequest((from, payload) => replica.answer(from, payload));
  const stop = async (): Promise<void> => {
    await replica.stop();
    await peers.close();
    await stores.close();
    await memberLogs.close();
  };
  running.set(id, { replica, log, stop });
  return replica;
}

async function stop(id: MemberId): Promise<void> {
  await running.get(id)?.stop();
  running.delete(id);
}

function leader(): Replica {
  const found = [...running.values()].find(
    ({ replica }) => replica.status().raft.role === 'leader',
  );
  if (found === undefined) throw new RangeError('no leader yet');
  return found.replica;
}

async function put(key: string, value: string): Promise<void> {
  const target = await vi.waitUntil(() => {
    try {
      return leader();
    } catch {
      return undefined;
    }
  }, WAIT);
  await new Promise<void>((resolve, reject) => {
    target.submit({
      request: { op: 'put', key: utf8(key), value: utf8(value) },
      session: undefined,
      deadlineMs: systemClock.nowMs() + 20_000,
      bytes: 64,
      done: (result) => (result.ok ? resolve() : reject(result.error)),
    });
  });
}

async function putMany(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await put(`k${i % 40}`, `value ${i} `.repeat(20));
}

async function logStart(): Promise<number> {
  const [one] = running.values();
  const bounds = await one?.log.bounds();
  return bounds !== undefined && 'start' in bounds ? bounds.start : 0;
}

async function expectSame(): Promise<void> {
  const replicas = [...running.values()].map(({ replica }) => replica);
  await vi.waitUntil(
    () => new Set(replicas.map((replica) => replica.status().appliedIndex)).size === 1,
    WAIT,
  );
  const hashes = await Promise.all(replicas.map((replica) => replica.stateHash()));
  expect(new Set(hashes.map(({ index, hash }) => `${index} ${hash}`)).size).toBe(1);
}

it('a member that was away while the log was truncated installs a snapshot, also with an empty disk', async () => {
  await putMany(30);
  await vi.waitUntil(async () => (await logStart()) > 10, WAIT);
  const away = [...running.keys()].find((id) => running.get(id)?.replica !== leader());
  if (away === undefined) throw new RangeError('no follower');
  for (const isWiped of [false, true]) {
    const { offset } = running.get(away)?.replica.status().raft.accepted ?? { offset: 0 };
    await stop(away);
    if (isWiped) await rm(join(directory, formatId(away)), { recursive: true });
    leader().excludeFromTruncation([away]);
    await putMany(60);
    await vi.waitUntil(async () => (await logStart()) > offset + 2, WAIT);
    const back = await start(away);
    const phases = new Set<string>();
    back.onChange(({ phase }) => phases.add(phase));
    await vi.waitUntil(() => phases.has('following'), WAIT);
    leader().excludeFromTruncation([]);
    await putMany(3);
    await expectSame();
  }
}, 60_000);
