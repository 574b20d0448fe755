import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import { progress, type Started, type Workspace } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';
import { type RowId, type RowResult, rowOf, sampleOf } from './rows.ts';
import type { PeerAnswer, PeerRequest, Spent } from './snapshot-peer-messages.ts';

const PEER = join(REPO_ROOT, 'bench/snapshot-peer.ts');
const NODE_ARGS: readonly string[] = ['--conditions=@kvorum/source', '--import', 'tsx'];
const SOURCE = 1;
const RECEIVER = 2;
const MEGA = 1e6;

/** A process that gives or takes snapshots. */
class PeerProcess {
  readonly #child: ReturnType<typeof fork>;
  readonly #workspace: Workspace;
  readonly #started: Started;

  constructor(workspace: Workspace, name: string) {
    workspace.mustBeOpen(name);
    this.#child = fork(PEER, [], { cwd: REPO_ROOT, execArgv: [...NODE_ARGS] });
    this.#workspace = workspace;
    this.#started = workspace.track(name, this.#child, '');
  }

  async ask(request: PeerRequest): Promise<PeerAnswer> {
    const answered = new Promise<PeerAnswer>((resolve, reject) => {
      const onExit = (): void => reject(new Error(`${this.#started.name} ended unexpectedly`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (answer: PeerAnswer) => {
        this.#child.off('exit', onExit);
        if (answer.kind === 'failed') reject(new Error(answer.message));
        else resolve(answer);
      });
    });
    this.#child.send(request);
    return answered;
  }

  async spent(request: PeerRequest): Promise<Spent> {
    const answer = await this.ask(request);
    if (answer.kind !== 'spent') throw new Error(`unexpected answer ${answer.kind}`);
    return answer.spent;
  }

  async cpuSeconds(): Promise<number> {
    const answer = await this.ask({ kind: 'cpu' });
    return answer.kind === 'cpu' ? answer.seconds : Number.NaN;
  }

  async stop(): Promise<void> {
    await this.ask({ kind: 'close' });
    await this.#workspace.stop(this.#started);
  }
}

/** One pass over the whole copy. */
interface Pass extends Spent {
  /** CPU of the source while the receiver worked. */
  readonly sourceCpuSeconds: number;
}

interface Rates {
  readonly keys: number;
  /** The source alone: the copy is read, encoded, summed up and thrown away. */
  readonly drains: readonly Pass[];
  /** Two processes over TCP on this machine, from nothing to an adopted, synced, opened store. */
  readonly installs: readonly Pass[];
}

/** Measured once for both rows. */
const measured = new WeakMap<Bench, Promise<Rates>>();

async function measureRates({ workspace, sizes, systems }: Bench): Promise<Rates> {
  await systems.none();
  const { keys, repeats, valueBytes } = sizes;
  const source = new PeerProcess(workspace, 'snapshot-source');
  const receiver = new PeerProcess(workspace, 'snapshot-receiver');
  const directory = (name: string): string => join(workspace.dir, name);
  const opened = await source.ask({ kind: 'open', member: SOURCE, directory: directory('source') });
  if (opened.kind !== 'opened') throw new Error(`unexpected answer ${opened.kind}`);
  await receiver.ask({ kind: 'open', member: RECEIVER, directory: directory('receiver') });
  progress(`snapshot: a store of ${keys} keys`);
  await source.ask({ kind: 'fill', keys, valueBytes });
  const drains: Pass[] = [];
  const installs: Pass[] = [];
  // One pass more than counts: the first one meets cold code.
  for (let turn = 0; turn <= repeats; turn += 1) {
    const drain = await source.spent({ kind: 'drain' });
    const before = await source.cpuSeconds();
    const install = await receiver.spent({ kind: 'install', from: SOURCE, port: opened.port });
    const sourceCpuSeconds = (await source.cpuSeconds()) - before;
    if (turn === 0) continue;
    drains.push({ ...drain, sourceCpuSeconds: drain.cpuSeconds });
    installs.push({ ...install, sourceCpuSeconds });
  }
  await receiver.stop();
  await source.stop();
  return { keys, drains, installs };
}

function ratesOf(bench: Bench): Promise<Rates> {
  const found = measured.get(bench) ?? measureRates(bench);
  measured.set(bench, found);
  return found;
}

function rateRow(row: RowId, keys: number, passes: readonly Pass[], note: string): RowResult {
  const median = (of: (pass: Pass) => number): number => sampleOf(passes.map(of)).median;
  const rate = sampleOf(passes.map(({ seconds }) => keys / seconds));
  const megabytes = median(({ bytes, seconds }) => bytes / seconds / MEGA);
  const usPerKey = (seconds: number): number => Math.round((seconds * 1e8) / keys) / 100;
  const cpuUsPerKey = {
    source: usPerKey(median((pass) => pass.sourceCpuSeconds)),
    ...(row === 'install' ? { receiver: usPerKey(median((pass) => pass.cpuSeconds)) } : {}),
  };
  const cpu = Object.entries(cpuUsPerKey).map(([who, us]) => `${who} ${us}`);
  return rowOf(row, rate.median, {
    measured: rate,
    note: `${keys} keys, ${Math.round(megabytes)} MB/s; ${note}; CPU µs a key: ${cpu.join(', ')}`,
    detail: { keys, passes, megabytesPerSecond: megabytes, cpuUsPerKey },
  });
}

/** What a source can give: the copy is taken chunk by chunk and thrown away. */
export async function snapshotRow(bench: Bench): Promise<RowResult> {
  const { keys, drains } = await ratesOf(bench);
  return rateRow('snapshot', keys, drains, 'the source alone');
}

/** From nothing to a synced store that a replica can follow from, source and receiver on this machine. */
export async function installRow(bench: Bench): Promise<RowResult> {
  const { keys, installs } = await ratesOf(bench);
  return rateRow('install', keys, installs, 'source and receiver share the cores');
}
