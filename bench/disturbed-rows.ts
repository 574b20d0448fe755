import { join } from 'node:path';
import { connect, type KvorumClient } from '@kvorum/client';
import type { Bench } from './bench.ts';
import type { Side } from './comparison.ts';
import { type Disturbance, type Disturbed, disturb, disturbedRow, IN_FLIGHT } from './disturbed.ts';
import { metricsOf } from './member-metrics.ts';
import { MovedSlots } from './moved-slots.ts';
import { progress, type Started, sleep, waitUntil } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';
import { type RowResult, rowOf, type Sample, sampleOf } from './rows.ts';
import type { Filled } from './systems.ts';

const KVCTL = join(REPO_ROOT, 'packages/kvctl/dist/main.js');
/** The member that is away; the others are a majority. */
const AWAY = 2;
const WAIT_MS = 120_000;
const POLL_MS = 100;
const AWAY_PUTS_MS = 1500;
const CALL_MS = 30_000;
const RESHARD_MS = 900_000;
const FIRST_SHARDS = 4;
const TARGET_SHARDS = 8;
/** Of the load beside those who look for gaps: so much that moves meet writes, and no queue is all that shows. */
const GAP_IN_FLIGHT = 64;
/** Looks, one after each window, in which nothing went on any more. */
const STILLS_MAX = 2;
const MEGA = 1e6;
/** A store that has shrunk by more is being merged. */
const SHRUNK = 0.995;

interface Place {
  readonly bench: Bench;
  readonly filled: Filled;
  readonly side: Side;
  readonly client: KvorumClient;
}

async function withPlace(
  bench: Bench,
  use: (place: Place) => Promise<RowResult>,
): Promise<RowResult> {
  await bench.systems.onlyAged();
  const filled = await bench.systems.aged();
  const { brokers = [] } = await bench.kvorumGroups(filled);
  const side: Side = {
    load: filled.load,
    op: 'put',
    inFlight: IN_FLIGHT,
    // A member that was started again has another id.
    get groups() {
      return { members: filled.cluster.pids, brokers };
    },
  };
  const client = await connect({ endpoints: filled.cluster.endpoints, timeoutMs: CALL_MS });
  try {
    return await use({ bench, filled, side, client });
  } finally {
    await client.close();
  }
}

/** Highest of a metric over the members that run, by data shard. */
async function highest({ filled }: Place, name: string): Promise<Map<string, number>> {
  const all = await Promise.all(
    filled.cluster.endpoints.map((endpoint) => metricsOf(endpoint, name).catch(() => new Map())),
  );
  const out = new Map<string, number>();
  for (const [shard, value] of all.flatMap((one: Map<string, number>) => [...one])) {
    if (shard !== 'meta') out.set(shard, Math.max(value, out.get(shard) ?? value));
  }
  return out;
}

/** Sum of a metric over all members and data shards. */
async function total({ filled }: Place, name: string): Promise<number> {
  const all = await Promise.all(
    filled.cluster.endpoints.map((endpoint) => metricsOf(endpoint, name)),
  );
  const values = all.flatMap((one) => [...one].filter(([shard]) => shard !== 'meta'));
  return values.reduce((sum, [, value]) => sum + value, 0);
}

/** What became of the snapshots of one return, by shard, as of the last look while each was installed. */
class Installs {
  readonly #terms = new Map<string, { readonly first: number; last: number }>();
  readonly #bytes = new Map<string, number>();

  see(shard: string, term: number, bytes: number): void {
    const seen = this.#terms.get(shard) ?? { first: term, last: term };
    this.#terms.set(shard, { ...seen, last: term });
    this.#bytes.set(shard, bytes);
  }

  /** Terms that began: nothing but an election begins one while the member that would take a shard back installs it. */
  get elections(): number {
    return [...this.#terms.values()].reduce((sum, { first, last }) => sum + last - first, 0);
  }

  /** At least; each shard may have received more since. */
  get bytes(): number {
    return [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

/** A member comes back after the log was cut behind it, and installs a snapshot of every shard. */
function memberReturns(place: Place, installs: Installs): Disturbance {
  const { filled, client, bench } = place;
  const { cluster, load } = filled;
  const endpoint = cluster.endpoints[AWAY] ?? '';
  const member = `m${AWAY + 1}`;
  const isInstalling = async (): Promise<boolean> => {
    const states = await metricsOf(endpoint, 'kv_snapshot_installing');
    const installing = Array.from(states).filter(([, state]) => state === 1);
    const received = await metricsOf(endpoint, 'kv_snapshot_received_bytes');
    const terms = await highest(place, 'kv_raft_term');
    for (const [shard] of installing) {
      const term = terms.get(shard);
      if (term !== undefined) installs.see(shard, term, received.get(shard) ?? 0);
    }
    return installing.length > 0;
  };
  return {
    prepare: async () => {
      const reached = await highest(place, 'kv_log_offset');
      await cluster.kill(AWAY);
      await client.changeMember({ kind: 'exclude', member });
      const { keys, valueBytes } = bench.sizes;
      const spec = { op: 'put', inFlight: IN_FLIGHT, warmUpMs: 0, groups: {} } as const;
      await load.run({ ...spec, measureMs: AWAY_PUTS_MS, keyCount: keys, valueBytes, seed: 1 });
      await waitUntil('the log to be cut', WAIT_MS, async () => {
        const cut = await highest(place, 'kv_log_truncated_offset');
        return Array.from(reached).every(([shard, offset]) => (cut.get(shard) ?? -1) > offset + 1);
      });
    },
    begin: async () => {
      cluster.launch();
      await waitUntil('the member to install', WAIT_MS, isInstalling, POLL_MS);
    },
    isUnderWay: isInstalling,
    finish: async () => {
      await client.changeMember({ kind: 'exclude', member, cancel: true });
      await cluster.untilSpread();
    },
  };
}

export function duringSnapshotRow(bench: Bench): Promise<RowResult> {
  return withPlace(bench, async (place) => {
    const runs: Disturbed = { quiet: [], during: [], seconds: [] };
    const installs = Array.from({ length: bench.sizes.restarts }, () => new Installs());
    for (const one of installs) await disturb(bench, place.side, memberReturns(place, one), runs);
    const elections = installs.reduce((sum, one) => sum + one.elections, 0);
    const megabytes = Math.round(Math.max(...installs.map(({ bytes }) => bytes)) / MEGA);
    const note =
      `${installs.length} × one of 3 members installs 4 shards of ${bench.sizes.keys} keys in all, ` +
      `${megabytes} MB and more, at the default rate limit; elections meanwhile: ${elections}`;
    return disturbedRow(bench, { row: 'during-snapshot', side: place.side, note }, runs);
  });
}

/** Overwrites until there is so much history. */
async function growHistory({ bench, filled }: Place): Promise<void> {
  const { historyRevisions, keys, fillInFlight, valueBytes } = bench.sizes;
  progress(`${filled.cluster.name}: putting a history of ${historyRevisions} revisions`);
  for (let left = historyRevisions; left > 0; left -= keys) {
    const to = Math.min(keys, left);
    const spec = { from: 0, to, inFlight: fillInFlight, stepKeys: keys, valueBytes, seed: left };
    await filled.load.fill(spec);
  }
}

const REMOVED = 'etcd_debugging_mvcc_db_compaction_keys_total';
const STORE_BYTES = 'etcd_mvcc_db_total_size_in_bytes';

/** All history is compacted at once; it lasts while rows are removed or the stores shrink. */
function compaction(place: Place): Disturbance {
  let removed = 0;
  let bytes = 0;
  let stills = 0;
  const look = async (): Promise<boolean> => {
    const [rows, now] = [await total(place, REMOVED), await total(place, STORE_BYTES)];
    stills = rows > removed || now < bytes * SHRUNK ? 0 : stills + 1;
    [removed, bytes] = [rows, now];
    return stills < STILLS_MAX;
  };
  return {
    begin: async () => {
      await look();
      const revisions = await highest(place, 'etcd_debugging_mvcc_current_revision');
      const { client } = place;
      await Promise.all(
        Array.from(revisions, ([shard, revision]) => client.compact(revision, { shard })),
      );
    },
    isUnderWay: look,
  };
}

export function duringCompactionRow(bench: Bench): Promise<RowResult> {
  return withPlace(bench, async (place) => {
    await growHistory(place);
    const before = await total(place, REMOVED);
    const runs: Disturbed = { quiet: [], during: [], seconds: [] };
    await disturb(bench, place.side, compaction(place), runs);
    const members = place.filled.cluster.endpoints.length;
    const removed = Math.round(((await total(place, REMOVED)) - before) / members);
    const note = `${removed} revisions removed by each member in ${Math.round(runs.seconds[0] ?? 0)} s`;
    return disturbedRow(bench, { row: 'during-compaction', side: place.side, note }, runs);
  });
}

function reshard(
  { bench, filled }: Place,
  shards: number,
): Disturbance & { readonly log: () => string } {
  let started: Started | undefined;
  return {
    begin: async () => {
      const args = [
        '--endpoints',
        filled.cluster.endpoints.join(','),
        '--timeout',
        `${RESHARD_MS}ms`,
      ];
      const command = [KVCTL, ...args, 'shard', 'scale', String(shards), '--wait'];
      started = bench.workspace.spawn(`kvctl-scale-${shards}`, process.execPath, command);
      await sleep(POLL_MS);
    },
    isUnderWay: async () => started !== undefined && bench.workspace.isRunning(started),
    finish: async () => {
      await started?.exited;
    },
    log: () => started?.logFile ?? '',
  };
}

/** Keys whose slots move are asked for all the time, by clients of their own beside a moderate load. */
export function handOverRow(bench: Bench): Promise<RowResult> {
  return withPlace(bench, async (place) => {
    const { load, op } = place.side;
    const side = { load, op, inFlight: GAP_IN_FLIGHT, groups: place.side.groups };
    const runs: Disturbed = { quiet: [], during: [], seconds: [] };
    const probes = new MovedSlots(place.client);
    probes.start();
    for (const shards of [TARGET_SHARDS, FIRST_SHARDS]) {
      await disturb(bench, side, reshard(place, shards), runs);
    }
    const { longestMs, readsMs, writesMs } = await probes.stop();
    if (writesMs.length === 0 || readsMs.length === 0) throw new Error('no key moved');
    const [writes, reads] = [sampleOf(writesMs), sampleOf(readsMs)];
    const told = (await place.client.status()).map(({ status }) => status?.handOvers);
    const drivenMs = Math.max(0, ...told.map((one) => one?.longestMs ?? 0));
    const putOff = told.reduce((sum, one) => sum + (one?.void ?? 0), 0);
    const text = ({ median, max, n }: Sample): string =>
      `${n} × ${median.toFixed(0)} ms, longest ${max.toFixed(0)}`;
    const note = `4 -> 8 -> 4 shards; writes of moved keys ${text(writes)}; reads ${text(reads)}; longest of any key ${longestMs.toFixed(0)} ms; longest hand-over as its driver saw it ${drivenMs} ms, ${putOff} put off`;
    return rowOf('hand-over', Math.max(writes.max, reads.max) / 1000, {
      measured: writes,
      against: reads,
      note,
      detail: {
        inFlight: GAP_IN_FLIGHT,
        seconds: runs.seconds,
        writesMs,
        readsMs,
        longestMs,
        drivenMs,
        putOff,
      },
    });
  });
}

export function duringReshardRow(bench: Bench): Promise<RowResult> {
  return withPlace(bench, async (place) => {
    const runs: Disturbed = { quiet: [], during: [], seconds: [] };
    await disturb(bench, place.side, reshard(place, TARGET_SHARDS), runs);
    const shards = await highest(place, 'etcd_debugging_mvcc_current_revision');
    if (shards.size < TARGET_SHARDS)
      throw new Error(`only ${shards.size} shards after the command`);
    const note = `4 shards became ${TARGET_SHARDS} in ${Math.round(runs.seconds[0] ?? 0)} s`;
    return disturbedRow(bench, { row: 'during-reshard', side: place.side, note }, runs);
  });
}
