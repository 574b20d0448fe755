import { isKvError } from '@kvorum/base';
import type { KvorumClient } from '@kvorum/client';
import { Argument, type Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { EXIT, Exit, InputError } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { type LatencySummary, summarize } from '../percentiles.ts';
import { showProgress } from '../progress.ts';
import { drawColumns } from '../table.ts';

const KINDS = ['put', 'get', 'mixed'] as const;
type Kind = (typeof KINDS)[number];

export interface Plan {
  readonly kind: Kind;
  readonly operations: number;
  readonly concurrency: number;
  readonly valueBytes: number;
  readonly keys: number;
  readonly prefix: string;
}

interface BenchResult {
  readonly kind: Kind;
  readonly operations: number;
  readonly failed: number;
  readonly concurrency: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly latencyMs: LatencySummary;
  /** Error code → how often. */
  readonly errors: Readonly<Record<string, number>>;
}

const HELP = `
Keys are PREFIX and a number, so that they spread over all shards. get and mixed read keys that a
put run of the same size wrote. --timeout is the time for each operation, retries included.

Examples:
  kvctl bench put -n 100000 --concurrency 1000
  kvctl bench mixed -n 100000 -w json > result.json`;

export function addBench(program: Command, context: Context): void {
  const command = program
    .command('bench')
    .addArgument(new Argument('[kind]', 'what to measure').choices(KINDS).default('put'))
    .description('Measure throughput and latency through this client')
    .addHelpText('after', HELP);
  flag(command, '-n, --operations <n>', 'operations to do', (option) => option.default('10000'));
  flag(command, '--concurrency <n>', 'operations under way', (option) => option.default('100'));
  flag(command, '--size <bytes>', 'bytes of a value', (option) => option.default('256'));
  flag(command, '--keys <n>', 'distinct keys (default: as many as operations)');
  flag(command, '--key-prefix <text>', 'what every key starts with', (option) =>
    option.default('bench-'),
  );
  command.action(async (kind: Kind, flags: Readonly<Record<string, string | undefined>>) => {
    const operations = atLeastOne('--operations', flags['operations']);
    const plan: Plan = {
      kind,
      operations,
      concurrency: atLeastOne('--concurrency', flags['concurrency']),
      valueBytes: parseCount(flags['size'] ?? '256'),
      keys: flags['keys'] === undefined ? operations : atLeastOne('--keys', flags['keys']),
      prefix: flags['keyPrefix'] ?? 'bench-',
    };
    const result = await context.withClient((client) => run(client, plan, context));
    if (context.globals().format === 'json') context.io.out(jsonLine(result));
    else context.io.out(drawColumns(rowsOf(result)));
    if (result.failed > 0) throw new Exit(EXIT.server);
  });
}

function atLeastOne(name: string, text = ''): number {
  const value = parseCount(text);
  if (value < 1) throw new InputError(`${name} must be at least 1`);
  return value;
}

function rowsOf(result: BenchResult): string[][] {
  const { latencyMs: at } = result;
  const errors = Object.entries(result.errors).map(([code, count]) => `${code} ${count}`);
  return [
    ['operations', `${result.operations} ${result.kind}, ${result.valueBytes} B`],
    ['under way', String(result.concurrency)],
    ['throughput', `${result.perSecond}/s in ${result.seconds} s`],
    ['latency ms', `p50 ${at.p50}  p90 ${at.p90}  p99 ${at.p99}  p99.9 ${at.p999}  max ${at.max}`],
    ['failed', errors.length === 0 ? '0' : `${result.failed} (${errors.join(', ')})`],
  ];
}

/** The calls that are measured. */
export interface Measured {
  put(key: string, value: Uint8Array, options: { timeoutMs: number }): Promise<unknown>;
  get(key: string, options: { timeoutMs: number }): Promise<unknown>;
}

/** A put, or a get, of the n-th key; `mixed` is one put to nine gets. */
export function operate(
  client: Measured,
  plan: Pick<Plan, 'kind' | 'keys' | 'prefix'>,
  at: number,
  { value, timeoutMs }: { readonly value: Uint8Array; readonly timeoutMs: number },
): Promise<unknown> {
  const key = `${plan.prefix}${at % plan.keys}`;
  const puts = plan.kind === 'put' || (plan.kind === 'mixed' && at % 10 === 0);
  return puts ? client.put(key, value, { timeoutMs }) : client.get(key, { timeoutMs });
}

async function run(client: KvorumClient, plan: Plan, context: Context): Promise<BenchResult> {
  const { io } = context;
  const value = new Uint8Array(plan.valueBytes).fill(0x78);
  const { timeoutMs } = context.globals();
  const latencies: number[] = [];
  const errors: Record<string, number> = {};
  let next = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (next < plan.operations && !io.signal.aborted) {
      const at = next;
      next += 1;
      const from = performance.now();
      try {
        await operate(client, plan, at, { value, timeoutMs });
        latencies.push(performance.now() - from);
      } catch (error) {
        if (!isKvError(error)) throw error;
        errors[error.code] = (errors[error.code] ?? 0) + 1;
      }
    }
  };
  let before = 0;
  const stop = showProgress(io, () => {
    const rate = (latencies.length - before) * 2;
    before = latencies.length;
    return `${before} of ${plan.operations}, ${rate}/s`;
  });
  try {
    await Promise.all(Array.from({ length: Math.min(plan.concurrency, plan.operations) }, worker));
  } finally {
    stop();
  }
  const seconds = (performance.now() - started) / 1000;
  if (io.signal.aborted) io.err('interrupted: what follows is what was done until then\n');
  return {
    kind: plan.kind,
    operations: latencies.length,
    failed: Object.values(errors).reduce((sum, count) => sum + count, 0),
    concurrency: plan.concurrency,
    valueBytes: plan.valueBytes,
    seconds: Math.round(seconds * 1000) / 1000,
    perSecond: Math.round(latencies.length / seconds),
    latencyMs: summarize(latencies),
    errors,
  };
}
