import { parseArgs } from 'node:util';
import { ROW_IDS, type RowId } from './rows.ts';

/** Loads that can be profiled; the last three over gRPC alone. */
const PROFILE_OPS = ['put', 'get', 'mixed', 'txn', 'watch', 'keep-alive'] as const;
type ProfileOp = (typeof PROFILE_OPS)[number];

export interface BenchArgs {
  readonly quick: boolean;
  /** Instead of the keys of the plan. */
  readonly keys: number | undefined;
  readonly strict: boolean;
  /** Rows to measure; all when empty. */
  readonly rows: readonly RowId[];
  /** File that the JSON lines are appended to. */
  readonly json: string | undefined;
  /** Path of an etcd to use instead of the one on the PATH. */
  readonly etcd: string | undefined;
  /** Measure the loads that no row needs as well. */
  readonly sweep: boolean;
  /** Profile the members under this load instead of measuring rows. */
  readonly profile: ProfileOp | undefined;
  /** Profile over gRPC instead of the SDK. */
  readonly grpc: boolean;
  readonly inFlight: number;
}

export const USAGE: string = `npm run bench -- [--quick] [--keys N] [--strict] [--row NAME[,NAME]] [--json FILE] [--etcd PATH] [--no-sweep]

  --quick       fewer keys and shorter windows: under five minutes
  --keys N      another number of keys: a gigabyte of snapshots is --row during-snapshot --keys 2500000
  --strict      exit 1 when a row is SHORT or could not be measured
  --row NAME    only these rows: ${ROW_IDS.join(', ')}
  --json FILE   append the JSON lines here instead of bench/results.jsonl
  --etcd PATH   compare with this etcd
  --profile OP  instead of the rows: run put, get or mixed, members and load under V8's profiler,
                and print where the time goes
  --grpc        profile over gRPC: put, get, mixed, txn, watch or keep-alive
  --in-flight N operations in flight while profiling (5000)
  --no-sweep    skip the loads that belong to no row (mixed, embedded, 1 shard)`;

/** Reads the command line. Throws with a message for people. */
export function readArgs(argv: readonly string[]): BenchArgs | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      keys: { type: 'string' },
      strict: { type: 'boolean', default: false },
      row: { type: 'string', multiple: true, default: [] },
      json: { type: 'string' },
      etcd: { type: 'string' },
      profile: { type: 'string' },
      grpc: { type: 'boolean', default: false },
      'in-flight': { type: 'string', default: '5000' },
      'no-sweep': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const rows = values.row
    .flatMap((text) => text.split(','))
    .map((text) => {
      const row = ROW_IDS.find((id) => id === text);
      if (row === undefined) throw new Error(`unknown row "${text}"; one of ${ROW_IDS.join(', ')}`);
      return row;
    });
  const profile = PROFILE_OPS.find((op) => op === values.profile);
  const ops = values.grpc ? PROFILE_OPS : PROFILE_OPS.slice(0, 3);
  if (values.profile !== undefined && (profile === undefined || !ops.includes(profile))) {
    throw new Error(`--profile takes ${ops.join(', ')}, not "${values.profile}"`);
  }
  const keys = values.keys ?? '1';
  if (!/^[1-9]\d{0,8}$/.test(keys)) throw new Error(`--keys takes a number, not "${keys}"`);
  return {
    quick: values.quick,
    keys: values.keys === undefined ? undefined : Number(values.keys),
    strict: values.strict,
    rows,
    json: values.json,
    etcd: values.etcd,
    sweep: !values['no-sweep'] && rows.length === 0,
    profile,
    grpc: values.grpc,
    inFlight: Number(values['in-flight']),
  };
}
