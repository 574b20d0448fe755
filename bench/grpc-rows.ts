import type { Bench } from './bench.ts';
import { type Cell, cellOf, othersOf, troubleOf } from './cells.ts';
import { inTurn, type Side } from './comparison.ts';
import { Load } from './load.ts';
import type { Workspace } from './processes.ts';
import { notMeasured, type RowId, type RowResult, rowOf } from './rows.ts';

const SHARDS = 4;
export const STREAM_COUNTS: readonly number[] = [1, 64, 1000];
export const WATCHERS = 1000;
/** To each of the three members, whatever the number of streams; operations go to all of them in turn. */
const CONNECTIONS_PER_MEMBER = 4;

/** A load process with its connections to all members. */
export function openGrpcLoad(
  workspace: Workspace,
  endpoints: readonly string[],
  nodeArgs: readonly string[] = [],
): Promise<Load> {
  const connectionsPerMember = CONNECTIONS_PER_MEMBER;
  return Load.open(workspace, { system: 'grpc', endpoints, connectionsPerMember }, nodeArgs);
}

interface Pair {
  readonly ours: Cell;
  readonly theirs: Cell;
}

/**
 * kvd and etcd over gRPC, driven by the same code with the same number of streams, in turn. The row's value is the worst of the
 * ratios, so that no number of streams makes up for another.
 */
export async function grpcRow(
  bench: Bench,
  row: RowId,
  op: Side['op'],
  streamCounts: readonly number[],
): Promise<RowResult> {
  const { cluster } = await bench.systems.kvorum(SHARDS);
  const etcd = await bench.systems.etcd();
  if (etcd === undefined)
    return notMeasured(row, 'SKIPPED', 'no etcd on the PATH, and none could be fetched');
  const { workspace } = bench;
  const brokers = await bench.systems.brokers();
  const ours: Omit<Side, 'inFlight'> = {
    load: await openGrpcLoad(workspace, cluster.endpoints),
    op,
    groups: { members: cluster.pids, brokers: brokers.pids },
  };
  const theirs: Omit<Side, 'inFlight'> = {
    load: await openGrpcLoad(workspace, etcd.cluster.endpoints),
    op,
    groups: { members: etcd.cluster.pids },
  };
  const { warmUpMs, measureMs, turns } = bench.sizes.grpc;
  const sizes = { ...bench.sizes, warmUpMs, measureMs, repeats: turns };
  const pairs: Pair[] = [];
  for (const inFlight of streamCounts) {
    const [our, their] = await inTurn({ ...ours, inFlight }, { ...theirs, inFlight }, sizes);
    const pair = {
      ours: cellOf(`kvorum over gRPC, ${SHARDS} shards`, op, inFlight, our),
      theirs: cellOf(`etcd ${etcd.cluster.version} over gRPC`, op, inFlight, their),
    };
    bench.addCell(pair.ours);
    bench.addCell(pair.theirs);
    pairs.push(pair);
  }
  await ours.load.close();
  await theirs.load.close();
  return worstOf(row, pairs);
}

const ratioOf = ({ ours, theirs }: Pair): number =>
  ours.opsPerSecond.median / theirs.opsPerSecond.median;

function worstOf(row: RowId, pairs: readonly Pair[]): RowResult {
  const worst = pairs.reduce((a, b) => (ratioOf(b) < ratioOf(a) ? b : a));
  const each = pairs.map((pair) => {
    const { inFlight, p99Us } = pair.ours;
    const p99 = `p99 ${(p99Us / 1000).toFixed(1)} : ${(pair.theirs.p99Us / 1000).toFixed(1)} ms`;
    return `${inFlight}: ${ratioOf(pair).toFixed(2)} ×, ${p99}`;
  });
  const cells = pairs.flatMap(({ ours, theirs }) => [ours, theirs]);
  const notes = [...each, othersOf(...cells), ...cells.map(troubleOf)];
  return rowOf(row, ratioOf(worst), {
    measured: worst.ours.opsPerSecond,
    against: worst.theirs.opsPerSecond,
    note: notes.filter((text) => text !== '').join('; '),
    detail: {
      streams: worst.ours.inFlight,
      ratios: pairs.map((pair) => ({ streams: pair.ours.inFlight, ratio: ratioOf(pair) })),
    },
  });
}
