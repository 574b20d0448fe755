import { randomBytes } from 'node:crypto';
import { isKvError, utf8 } from '@kvorum/base';
import type { KvorumClient } from '@kvorum/client';
import { type Context, parseCount, parseDuration } from '../context.ts';
import { EXIT, Exit, InputError } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { entriesOf } from '../pages.ts';
import { showProgress } from '../progress.ts';
import { PutWindow } from '../put-window.ts';
import type { CheckFlags, Load } from './check.ts';

interface Perf {
  readonly perSecond: number;
  readonly clients: number;
}

/** etcd's loads. */
const PERF: Readonly<Record<Load, Perf>> = {
  s: { perSecond: 150, clients: 50 },
  m: { perSecond: 1000, clients: 200 },
  l: { perSecond: 8000, clients: 500 },
  xl: { perSecond: 15_000, clients: 1000 },
};
const SCALE: Readonly<Record<Load, { readonly keys: number; readonly clients: number }>> = {
  s: { keys: 10_000, clients: 50 },
  m: { keys: 100_000, clients: 200 },
  l: { keys: 1_000_000, clients: 500 },
  xl: { keys: 3_000_000, clients: 1000 },
};
const SHORT: Readonly<Record<CheckFlags['load'], Load>> = {
  ...{ s: 's', m: 'm', l: 'l', xl: 'xl' },
  ...{ small: 's', medium: 'm', large: 'l', xLarge: 'xl' },
};

const PERF_MS = 60_000;
const PASS_RATIO = 0.9;
const SLOWEST_SECONDS_MAX = 0.5;
const STDDEV_SECONDS_MAX = 0.1;

/** Errors: InputError when keys are there that the check would delete. */
async function mustBeEmpty(client: KvorumClient, prefix: string, context: Context): Promise<void> {
  const { count } = await client.range({ prefix }, { ...context.call(), limit: 1, keysOnly: true });
  if (count === 0) return;
  const next = `kvctl del ${prefix} --prefix --each-shard`;
  throw new InputError(`prefix "${prefix}" has keys`, next);
}

/** A directory of its own, so that the keys spread over all shards. */
function keyOf(prefix: string, at: number, bytes: number): string {
  const name = `${prefix}${randomBytes(6).toString('hex')}${at}/`;
  return name.padEnd(bytes, 'k');
}

/** Removes its keys one by one, since a range of many would be more than one record, and their history if it shall. */
async function cleanUp(client: KvorumClient, context: Context, flags: CheckFlags): Promise<void> {
  const timeoutMs = 30_000;
  const call = (): { signal: AbortSignal; timeoutMs: number } => ({
    signal: new AbortController().signal,
    timeoutMs,
  });
  const window = new PutWindow();
  let at = 0;
  for await (const { key } of entriesOf(
    client,
    { prefix: flags.prefix },
    { keysOnly: true },
    call,
  )) {
    at += 1;
    const run = (): Promise<unknown> => client.delete(key, { timeoutMs });
    await window.add(at, { key, bytes: key.length, run });
  }
  await window.end();
  if (flags.autoCompact !== true) return;
  for (const { shard, slots, revision } of await client.shards({ timeoutMs })) {
    if (slots.length === 0 || revision === 0) continue;
    await client.compact(revision, { shard, physical: true, timeoutMs });
    if (context.globals().format !== 'json') {
      context.io.out(`Compacted shard ${shard} with revision ${revision}\n`);
    }
  }
}

/** What so many puts took. */
class Taken {
  readonly seconds: number[] = [];
  /** Error → how often. */
  readonly errors: Record<string, number> = {};

  async put(run: () => Promise<unknown>): Promise<void> {
    const startedMs = performance.now();
    try {
      await run();
      this.seconds.push((performance.now() - startedMs) / 1000);
    } catch (error) {
      if (!isKvError(error)) throw error;
      const text = `${error.message} (${error.code})`;
      this.errors[text] = (this.errors[text] ?? 0) + 1;
    }
  }

  get slowest(): number {
    return this.seconds.reduce((most, one) => Math.max(most, one), 0);
  }

  get stddev(): number {
    const count = Math.max(1, this.seconds.length);
    const mean = this.seconds.reduce((sum, one) => sum + one, 0) / count;
    const squares = this.seconds.reduce((sum, one) => sum + (one - mean) ** 2, 0);
    return Math.sqrt(squares / count);
  }
}

/** Puts at a pace for a while, with so many under way at most: a put that finds no client free waits, and counts from then on. */
async function atPace(
  client: KvorumClient,
  { perSecond, clients }: Perf,
  { prefix, durationMs, context }: { prefix: string; durationMs: number; context: Context },
): Promise<{ readonly taken: Taken; readonly elapsedSeconds: number }> {
  const taken = new Taken();
  const value = new Uint8Array(1024);
  const { timeoutMs } = context.globals();
  const startedMs = performance.now();
  const underWay = new Set<Promise<void>>();
  let begun = 0;
  const elapsedMs = (): number => performance.now() - startedMs;
  while (elapsedMs() < durationMs && !context.io.signal.aborted) {
    const due = Math.min(clients - underWay.size, (elapsedMs() / 1000) * perSecond - begun);
    for (let i = 0; i < due; i += 1) {
      const key = keyOf(prefix, begun, 256);
      const put = taken
        .put(() => client.put(key, value, { timeoutMs }))
        .then(() => {
          underWay.delete(put);
        });
      underWay.add(put);
      begun += 1;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(underWay);
  return { taken, elapsedSeconds: elapsedMs() / 1000 };
}

export async function checkPerf(context: Context, flags: CheckFlags): Promise<void> {
  const load = PERF[SHORT[flags.load]];
  const durationMs = flags.duration === undefined ? PERF_MS : parseDuration(flags.duration);
  const { prefix } = flags;
  const { taken, elapsedSeconds } = await context.withClient(async (client) => {
    await mustBeEmpty(client, prefix, context);
    const startedMs = performance.now();
    const stop = showProgress(context.io, () => {
      const seconds = Math.round((performance.now() - startedMs) / 1000);
      return `${seconds} of ${Math.round(durationMs / 1000)} s`;
    });
    try {
      return await atPace(client, load, { prefix, durationMs, context });
    } finally {
      stop();
      await cleanUp(client, context, flags);
    }
  });
  const perSecond = taken.seconds.length / elapsedSeconds;
  const { slowest, stddev, errors } = taken;
  const passed =
    Object.keys(errors).length === 0 &&
    perSecond / load.perSecond > PASS_RATIO &&
    slowest <= SLOWEST_SECONDS_MAX &&
    stddev <= STDDEV_SECONDS_MAX;
  if (context.globals().format === 'json') {
    context.io.out(jsonLine({ load: flags.load, passed, perSecond, slowest, stddev, errors }));
  } else {
    context.io.out(
      perfText({ perSecond, slowest, stddev, errors, wanted: load.perSecond, passed }),
    );
  }
  if (!passed) throw new Exit(EXIT.error);
}

/** As etcdctl prints it. */
function perfText(found: {
  readonly perSecond: number;
  readonly slowest: number;
  readonly stddev: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly wanted: number;
  readonly passed: boolean;
}): string {
  const { perSecond, slowest, stddev, errors, wanted, passed } = found;
  const failures = Object.entries(errors).map(
    ([text, count]) => `FAIL: ERROR(${text}) -> ${count}`,
  );
  const [rate, slow, spread] = [Math.floor(perSecond) + 1, slowest.toFixed(6), stddev.toFixed(6)];
  return [
    ...(failures.length === 0 ? [] : ['FAIL: too many errors', ...failures]),
    perSecond / wanted > PASS_RATIO
      ? `PASS: Throughput is ${rate} writes/s`
      : `FAIL: Throughput too low: ${rate} writes/s`,
    slowest > SLOWEST_SECONDS_MAX
      ? `Slowest request took too long: ${slow}s`
      : `PASS: Slowest request took ${slow}s`,
    stddev > STDDEV_SECONDS_MAX ? `Stddev too high: ${spread}s` : `PASS: Stddev is ${spread}s`,
    passed ? 'PASS' : 'FAIL',
    '',
  ].join('\n');
}

/** Resident bytes of the first endpoint's member. */
async function memoryOf(client: KvorumClient, context: Context): Promise<number> {
  const all = await client.status(context.call());
  const [first = ''] = context.globals().endpoints;
  const asked = all.find(({ endpoint }) => endpoint.endsWith(first.replace(/\/$/, ''))) ?? all[0];
  const bytes = asked?.status?.residentBytes;
  if (bytes !== undefined) return bytes;
  throw asked?.error ?? new InputError(`nobody tells of ${first}`, 'kvctl endpoint status');
}

export async function checkDatascale(context: Context, flags: CheckFlags): Promise<void> {
  const load = SCALE[SHORT[flags.load]];
  const keys = flags.keys === undefined ? load.keys : parseCount(flags.keys);
  const { prefix } = flags;
  const { io } = context;
  const isJson = context.globals().format === 'json';
  const value = utf8('v'.repeat(512));
  const { taken, bytes } = await context.withClient(async (client) => {
    await mustBeEmpty(client, prefix, context);
    const before = await memoryOf(client, context);
    if (!isJson) {
      io.out(
        `Start data scale check for work load [${keys} key-value pairs, 1024 bytes per key-value, ${load.clients} concurrent clients].\n`,
      );
    }
    const found = new Taken();
    let next = 0;
    const stop = showProgress(io, () => `${found.seconds.length} of ${keys}`);
    const worker = async (): Promise<void> => {
      while (next < keys && !io.signal.aborted) {
        next += 1;
        const key = keyOf(prefix, next, 512);
        await found.put(() => client.put(key, value, { timeoutMs: context.globals().timeoutMs }));
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(load.clients, keys) }, worker));
      return { taken: found, bytes: (await memoryOf(client, context)) - before };
    } finally {
      stop();
      await cleanUp(client, context, flags);
    }
  });
  const { errors } = taken;
  const megabytes = (bytes / 1024 / 1024).toFixed(2);
  const failures = Object.entries(errors).map(
    ([text, count]) => `FAIL: ERROR(${text}) -> ${count}\n`,
  );
  if (isJson) io.out(jsonLine({ load: flags.load, keys, bytes, errors }));
  else if (failures.length > 0) io.out(['FAIL: too many errors\n', ...failures].join(''));
  else io.out(`PASS: Approximate system memory used : ${megabytes} MB.\n`);
  if (failures.length > 0) throw new Exit(EXIT.error);
}
