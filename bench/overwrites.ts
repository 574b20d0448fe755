import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ReplicaPort } from '@kvorum/replica';
import { putMany, startOneMember } from './one-member.ts';

const SAMPLE_MS = 250;

export interface OverwriteOptions {
  /** An empty directory; the caller removes it. */
  readonly directory: string;
  readonly overwrites: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** Settings of the member, as in its file. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Most revisions of history that may be left in the end. */
  readonly historyMax: number;
  readonly progress?: (sample: Sample) => void;
}

export interface Sample {
  readonly atMs: number;
  readonly done: number;
  readonly storeBytes: number;
  readonly logBytes: number;
  readonly revision: number;
  readonly compactRevision: number;
}

export interface OverwriteReport {
  readonly putsPerSecond: number;
  /** What the newest versions alone take: keys, values and their rows' frames. */
  readonly liveBytes: number;
  readonly storeBytesMax: number;
  readonly logBytesMax: number;
  /** A while after the last write, when history has aged and the disk has followed. */
  readonly storeBytesEnd: number;
  readonly logBytesEnd: number;
  readonly compactRevision: number;
  readonly revision: number;
  readonly samples: readonly Sample[];
}

/** Of all files below a directory. */
function directoryBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    try {
      bytes += entry.isDirectory() ? directoryBytes(path) : statSync(path).size;
    } catch {
      // A level compaction removed it between the listing and here.
    }
  }
  return bytes;
}

/** About what a row takes beside its key (twice: head and row) and value. */
const ROW_BYTES = 120;

/** Overwrites a few keys many times on one member with the embedded log, watching what its directories take. */
export async function runOverwrites(options: OverwriteOptions): Promise<OverwriteReport> {
  const { directory, keys, valueBytes } = options;
  const member = await startOneMember(directory, options.settings);
  try {
    const run = new OverwriteRun(options, member.replica, () => ({
      storeBytes: directoryBytes(member.dataDir),
      logBytes: directoryBytes(member.logDirectory),
    }));
    await run.write();
    await run.settle();
    return run.report(keys * (valueBytes + ROW_BYTES));
  } finally {
    await member.stop();
  }
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

type Sizes = Pick<Sample, 'storeBytes' | 'logBytes'>;

class OverwriteRun {
  readonly #options: OverwriteOptions;
  readonly #replica: ReplicaPort;
  readonly #measure: () => Sizes;
  readonly #samples: Sample[] = [];
  readonly #startedMs = performance.now();
  #writtenMs = 0;
  #done = 0;

  constructor(options: OverwriteOptions, replica: ReplicaPort, measure: () => Sizes) {
    this.#options = options;
    this.#replica = replica;
    this.#measure = measure;
  }

  async write(): Promise<void> {
    const timer = setInterval(() => this.#sample(), SAMPLE_MS);
    const { overwrites, keys, valueBytes } = this.#options;
    const onDone = (done: number): void => {
      this.#done = done;
    };
    try {
      await putMany(this.#replica, { puts: overwrites, keys, valueBytes, onDone });
    } finally {
      clearInterval(timer);
    }
    this.#writtenMs = performance.now() - this.#startedMs;
    this.#sample();
  }

  /** Until the newest history has been compacted and the disk has stood still for a while. */
  async settle(): Promise<void> {
    const untilMs = performance.now() + 60_000;
    let still = 0;
    while (performance.now() < untilMs && still < 8) {
      await pause(SAMPLE_MS);
      const before = this.#samples.at(-1);
      const now = this.#sample();
      const aged = now.revision - now.compactRevision <= this.#options.historyMax;
      still = aged && before?.storeBytes === now.storeBytes ? still + 1 : 0;
    }
  }

  report(liveBytes: number): OverwriteReport {
    const last = this.#sample();
    const most = (of: (sample: Sample) => number): number => Math.max(...this.#samples.map(of));
    return {
      putsPerSecond: Math.round((this.#done / this.#writtenMs) * 1000),
      liveBytes,
      storeBytesMax: most(({ storeBytes }) => storeBytes),
      logBytesMax: most(({ logBytes }) => logBytes),
      storeBytesEnd: last.storeBytes,
      logBytesEnd: last.logBytes,
      compactRevision: last.compactRevision,
      revision: last.revision,
      samples: this.#samples,
    };
  }

  #sample(): Sample {
    const { revision, compactRevision } = this.#replica.status();
    const sample = {
      atMs: Math.round(performance.now() - this.#startedMs),
      done: this.#done,
      ...this.#measure(),
      revision,
      compactRevision,
    };
    this.#samples.push(sample);
    this.#options.progress?.(sample);
    return sample;
  }
}
