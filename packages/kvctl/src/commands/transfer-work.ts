import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { compareBytes, concatBytes, isKvError, leaseId, utf8 } from '@kvorum/base';
import { compare, type Entry, type KvorumClient, op } from '@kvorum/client';
import { type Context, parseCount } from '../context.ts';
import { InputError, IoError, Unfinished } from '../exit.ts';
import { type Exported, exportedLine, parseExported } from '../exported.ts';
import { type Io, linesOf } from '../io.ts';
import { jsonLine, leaseHex } from '../output.ts';
import { entriesOf } from '../pages.ts';
import { showProgress } from '../progress.ts';
import { PutWindow } from '../put-window.ts';
import { bytesText } from './rows.ts';
import type { ExportFlags, ImportFlags } from './transfer.ts';

const keysText = (keys: number): string => (keys === 1 ? '1 key' : `${keys} keys`);

interface Output {
  readonly write: (text: string) => Promise<void>;
  /** It is all there, or it is not wanted any more. */
  readonly end: (isWhole: boolean) => Promise<void>;
}

/** A file appears under its name once it is whole. */
async function openOutput(io: Io, path: string | undefined): Promise<Output> {
  if (path === undefined) {
    return { write: async (text) => io.out(text), end: async () => undefined };
  }
  const aside = `${path}.${process.pid}.part`;
  const failed = (error: unknown): never => {
    throw new IoError(`cannot write ${path}: ${(error as Error).message}`);
  };
  const file = await open(aside, 'wx', 0o600).catch(failed);
  return {
    write: async (text) => {
      await file.writeFile(text).catch(failed);
    },
    end: async (isWhole) => {
      if (isWhole) await file.sync().catch(failed);
      await file.close();
      if (isWhole) await rename(aside, path).catch(failed);
      else await rm(aside, { force: true });
    },
  };
}

const CHUNK_CHARS = 64 * 1024;

/** The time of each lease, asked for once. */
class LeaseTimes {
  readonly #known = new Map<bigint, number | undefined>();
  readonly #client: KvorumClient;
  readonly #context: Context;

  constructor(client: KvorumClient, context: Context) {
    this.#client = client;
    this.#context = context;
  }

  /** Undefined for a lease that has ended meanwhile. */
  async of(lease: bigint): Promise<number | undefined> {
    if (lease === 0n) return undefined;
    if (!this.#known.has(lease)) {
      const found = await this.#client.leases.timeToLive(lease, this.#context.call());
      this.#known.set(lease, found?.ttlSeconds);
    }
    return this.#known.get(lease);
  }
}

export async function exportKeys(
  context: Context,
  prefix: string,
  { output, rev, shard, leases }: ExportFlags,
): Promise<void> {
  const { io } = context;
  let keys = 0;
  let bytes = 0;
  await context.withClient(async (client) => {
    const revision = rev === undefined ? undefined : parseCount(rev);
    const times = leases === true ? new LeaseTimes(client, context) : undefined;
    const to = await openOutput(io, output);
    const stop = showProgress(io, () => `${keysText(keys)}, ${bytesText(bytes)}`);
    let isWhole = false;
    let chunk = '';
    try {
      for await (const entry of entriesOf(client, { prefix }, { shard, revision }, context.call)) {
        const text = exportedLine(entry, await times?.of(entry.lease));
        keys += 1;
        bytes += text.length;
        chunk += text;
        if (chunk.length < CHUNK_CHARS) continue;
        await to.write(chunk);
        chunk = '';
      }
      await to.write(chunk);
      isWhole = true;
    } finally {
      stop();
      await to.end(isWhole);
    }
  });
  const where = output === undefined ? '' : ` to ${output}`;
  if (output !== undefined && context.globals().format === 'json') {
    io.out(jsonLine({ keys, bytes, file: output }));
  } else {
    io.err(`exported ${keysText(keys)}, ${bytesText(bytes)}${where}\n`);
  }
}

interface Counts {
  written: number;
  /** Of another prefix. */
  left: number;
  /** With --skip-existing. */
  existing: number;
  /** Of these the keys had a lease and get none. */
  leased: number;
  /** With --dry-run: what is not there yet, and what is there in the same way. */
  fresh: number;
  same: number;
}

/** The key as it is to be; undefined when it is not meant. */
function keyFor(key: Uint8Array, flags: ImportFlags): Uint8Array | undefined {
  const begins = (prefix: Uint8Array): boolean =>
    compareBytes(key.subarray(0, prefix.length), prefix) === 0;
  if (flags.prefix !== undefined && !begins(utf8(flags.prefix))) return undefined;
  const strip = utf8(flags.stripPrefix ?? '');
  const rest = begins(strip) ? key.subarray(strip.length) : key;
  return concatBytes(utf8(flags.addPrefix ?? ''), rest);
}

/** Puts lines into one cluster. */
class Importer {
  readonly counts: Counts = { written: 0, left: 0, existing: 0, leased: 0, fresh: 0, same: 0 };
  readonly #client: KvorumClient;
  readonly #context: Context;
  readonly #flags: ImportFlags;
  readonly #granted = new Map<bigint, Promise<void>>();

  constructor(client: KvorumClient, context: Context, flags: ImportFlags) {
    this.#client = client;
    this.#context = context;
    this.#flags = flags;
  }

  async put(key: Uint8Array, line: Exported): Promise<void> {
    const { counts } = this;
    const { dryRun, skipExisting } = this.#flags;
    if (line.lease !== 0n && this.#flags.leases !== true) counts.leased += 1;
    if (dryRun === true) {
      this.#look(await this.#client.get(key, this.#context.call()), line);
      return;
    }
    const lease = await this.#leaseOf(line);
    if (skipExisting !== true) {
      await this.#client.put(key, line.value, { ...this.#context.call(), lease });
      counts.written += 1;
      return;
    }
    const { succeeded } = await this.#client.txn(
      { compare: [compare(key, 'version', '=', 0)], success: [op.put(key, line.value, { lease })] },
      this.#context.call(),
    );
    counts[succeeded ? 'written' : 'existing'] += 1;
  }

  #look(found: Entry | undefined, { value }: Exported): void {
    const { counts } = this;
    if (found === undefined) counts.fresh += 1;
    else if (this.#flags.skipExisting === true) counts.existing += 1;
    else if (compareBytes(found.value, value) === 0) counts.same += 1;
    if (found !== undefined && this.#flags.skipExisting === true) return;
    counts.written += 1;
  }

  async #leaseOf({ lease, ttl }: Exported): Promise<ReturnType<typeof leaseId> | undefined> {
    if (lease === 0n || this.#flags.leases !== true) return undefined;
    const known = this.#granted.get(lease) ?? this.#grant(lease, ttl);
    this.#granted.set(lease, known);
    await known;
    return leaseId(lease);
  }

  /** One that is there is taken as it is. */
  async #grant(id: bigint, ttl: number | undefined): Promise<void> {
    if (ttl === undefined) {
      if ((await this.#client.leases.timeToLive(id, this.#context.call())) !== undefined) return;
      throw new InputError(
        `nobody knows the time of lease ${leaseHex(id)}`,
        'kvctl export --leases writes it; or import without --leases',
      );
    }
    try {
      const granting = { ...this.#context.call(), id, ttlSeconds: ttl, keepAlive: false };
      await this.#client.leases.grant(granting);
    } catch (error) {
      if (!isKvError(error) || error.code !== 'KV_LEASE_EXISTS') throw error;
    }
  }
}

async function* piecesOf(io: Io, file: string): AsyncGenerator<Uint8Array> {
  if (file === '-') {
    yield* io.stdinPieces();
    return;
  }
  try {
    for await (const piece of createReadStream(file, { highWaterMark: CHUNK_CHARS })) {
      yield piece as Uint8Array;
    }
  } catch (error) {
    throw new IoError(`cannot read ${file}: ${(error as Error).message}`);
  }
}

/** What ended an import, with where it goes on. */
function brokenOff(file: string, line: number, error: unknown): Error {
  const again = `kvctl import ${file === '-' ? 'FILE' : file} --from-line ${line}`;
  const next = `${again}   # the lines before it are stored`;
  if (error instanceof InputError) return new InputError(error.message, next);
  const why = error instanceof Error ? error.message : String(error);
  return new Unfinished(`the import broke off: ${why}`, next);
}

/** The place in the file, for whoever wants to go on there. */
interface Place {
  line: number;
}

/** The lines that are meant, with the keys that they are to have. */
async function* meantLines(
  texts: AsyncIterable<string>,
  { flags, counts, at }: { flags: ImportFlags; counts: Counts; at: Place },
): AsyncGenerator<{ readonly key: Uint8Array; readonly line: Exported }> {
  const fromLine = fromLineOf(flags);
  for await (const text of texts) {
    at.line += 1;
    if (at.line < fromLine || text.trim() === '') continue;
    const line = parseExported(text, at.line);
    const key = keyFor(line.key, flags);
    if (key?.length === 0) throw new InputError(`line ${at.line}: nothing is left of the key`);
    if (key === undefined) counts.left += 1;
    else yield { key, line };
  }
}

const fromLineOf = ({ fromLine }: ImportFlags): number =>
  fromLine === undefined ? 1 : Math.max(1, parseCount(fromLine));

export async function importKeys(
  context: Context,
  file: string,
  flags: ImportFlags,
): Promise<void> {
  const { io } = context;
  const at: Place = { line: 0 };
  const counts = await context.withClient(async (client) => {
    const importer = new Importer(client, context, flags);
    const what = { flags, counts: importer.counts, at };
    const window = new PutWindow();
    const stop = showProgress(io, () => `line ${at.line}, ${keysText(importer.counts.written)}`);
    try {
      for await (const { key, line } of meantLines(linesOf(piecesOf(io, file)), what)) {
        const bytes = key.length + line.value.length;
        await window.add(at.line, { key, bytes, run: () => importer.put(key, line) });
      }
      await window.end();
    } catch (error) {
      const open = (await window.lowestOpen()) ?? at.line;
      if (io.signal.aborted) io.err(`interrupted: go on with --from-line ${open}\n`);
      // What is wrong with the first line needs no way to go on.
      if (io.signal.aborted || open <= fromLineOf(flags)) throw error;
      throw brokenOff(file, open, error);
    } finally {
      stop();
    }
    return importer.counts;
  });
  io.out(context.globals().format === 'json' ? jsonLine(counts) : summaryOf(counts, flags));
}

function summaryOf(counts: Counts, flags: ImportFlags): string {
  const { written, fresh, same, left, existing, leased } = counts;
  const what =
    flags.dryRun === true
      ? `would put ${keysText(written)}: ${fresh} new, ${written - fresh - same} changed, ${same} as they are`
      : `imported ${keysText(written)}`;
  const notes = [
    existing === 0 ? '' : `; ${existing} were there and were left alone`,
    left === 0 ? '' : `; ${left} of another prefix`,
    leased === 0 ? '' : `; ${leased} had a lease and get none (--leases)`,
  ];
  return `${what}${notes.join('')}\n`;
}
