import { equalBytes, type LogOffset, type MemberId } from '@kvorum/base';
import { decodeMeta, INSTALL_KEY, META_KEY } from '@kvorum/mvcc';
import type { StateStore } from '@kvorum/ports';
import { decodeProgress, encodeProgress, type InstallProgress } from './install-progress.ts';
import type { ReplicaOptions } from './replica-options.ts';
import {
  parseSnapshotAnswer,
  type SnapshotAnswer,
  type SnapshotRequest,
} from './snapshot-messages.ts';
import { decodeRows } from './snapshot-rows.ts';

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;
/** A source that fails so often in a row is given up for another one. */
const FAILURES_MAX = 5;
const DIGEST_BYTES = 32;

/** What an install needs of its replica. */
export type InstallOptions = Pick<
  ReplicaOptions,
  | 'shardUid'
  | 'generation'
  | 'clock'
  | 'rng'
  | 'limits'
  | 'sha256'
  | 'logger'
  | 'place'
  | 'transport'
  | 'paces'
>;

export interface InstallHost {
  readonly options: InstallOptions;
  /** Whom to ask, the best source first. */
  readonly candidates: () => readonly MemberId[];
  /** Where the log starts: what lies below must be in the snapshot. */
  readonly start: () => LogOffset;
  /** Nobody holds what the log has lost: every candidate said so. */
  readonly lost: () => void;
}

/** The state of an install, for status and metrics. */
export interface InstallStatus {
  /** Undefined while a source is looked for. */
  readonly source: MemberId | undefined;
  readonly receivedBytes: number;
  readonly receivedRows: number;
  /** About how many bytes there are in all; 0 = not known. */
  readonly totalBytes: number;
  readonly attempts: number;
}

/** Something that another attempt may overcome; nothing of what was received is lost. */
class TransferFailure extends Error {
  override readonly name = 'TransferFailure';
}

type Chunk = Extract<SnapshotAnswer, { kind: 'chunk' }>;

/**
 * Brings a peer's snapshot into the side store: chunk by chunk, each checked, with how far it came in the same batch, so that a broken
 * connection or a crash goes on where it stood. When the source no longer holds the snapshot everything begins anew, here or elsewhere.
 */
export class SnapshotInstall {
  readonly #host: InstallHost;
  readonly #options: InstallOptions;
  #stopped = false;
  #wake: () => void = () => undefined;
  #abort: AbortController | undefined;
  #failures = 0;
  #status: InstallStatus = {
    source: undefined,
    receivedBytes: 0,
    receivedRows: 0,
    totalBytes: 0,
    attempts: 0,
  };

  constructor(host: InstallHost) {
    this.#host = host;
    this.#options = host.options;
  }

  get status(): InstallStatus {
    return this.#status;
  }

  /** Works until the side store holds a whole snapshot, and is closed; false when it was stopped before. */
  async run(): Promise<boolean> {
    let retryMs = RETRY_MS_MIN;
    while (!this.#stopped) {
      const before = this.#status.receivedBytes;
      if (await this.#attempt()) return true;
      if (this.#status.receivedBytes > before) retryMs = RETRY_MS_MIN;
      await this.#pause(this.#options.rng.integer(Math.ceil(retryMs / 2), retryMs + 1));
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    }
    return false;
  }

  /** `run` comes to its end soon; what was received stays for the next process. */
  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake();
  }

  /** Whether the side store holds a whole snapshot afterwards. */
  async #attempt(): Promise<boolean> {
    const { logger, place } = this.#options;
    this.#status = { ...this.#status, attempts: this.#status.attempts + 1 };
    try {
      const side = await place.openSide();
      try {
        const left = await this.#left(side);
        if (left !== undefined) return await this.#pull(side, left);
      } finally {
        await side.close();
      }
      await place.removeSide();
      return await this.#fresh();
    } catch (error) {
      if (this.#stopped) return false;
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ reason, ...this.#plainStatus() }, 'snapshot install interrupted');
      return false;
    }
  }

  /** What an earlier attempt left, unless it is of no more use. */
  async #left(side: StateStore): Promise<InstallProgress | undefined> {
    const [row, metaRow] = await side.getMany([INSTALL_KEY, META_KEY]);
    const progress = decodeProgress(row);
    if (progress === undefined || progress.offset + 1 < this.#host.start()) return undefined;
    if (progress.done) return this.#isOfThisGeneration(metaRow) ? progress : undefined;
    const wanted = this.#host.candidates().includes(progress.source);
    return wanted && this.#failures < FAILURES_MAX ? progress : undefined;
  }

  /** The shard may have been recovered while a whole snapshot waited to be adopted. */
  #isOfThisGeneration(metaRow: Uint8Array | undefined): boolean {
    const meta = metaRow === undefined ? undefined : decodeMeta(metaRow);
    return meta?.ok === true && meta.value.generation === this.#options.generation;
  }

  async #fresh(): Promise<boolean> {
    this.#failures = 0;
    const begun = await this.#begin();
    if (begun === undefined || this.#stopped) return false;
    const side = await this.#options.place.openSide();
    try {
      return await this.#pull(side, begun);
    } finally {
      await side.close();
    }
  }

  /** Asks one candidate after the other; undefined when none gives a snapshot now. */
  async #begin(): Promise<InstallProgress | undefined> {
    const { shardUid, generation, logger } = this.#options;
    const start = this.#host.start();
    const candidates = this.#host.candidates();
    this.#status = { ...this.#status, source: undefined, receivedBytes: 0, receivedRows: 0 };
    let behind = 0;
    for (const source of candidates) {
      if (this.#stopped) return undefined;
      const request = { kind: 'snapshot-begin', shardUid, generation, start } as const;
      const answer = await this.#ask(source, request).catch(() => undefined);
      if (answer?.kind === 'refused' && answer.why === 'behind') behind += 1;
      if (answer?.kind !== 'snapshot' || answer.offset + 1 < start) continue;
      const { id, offset, bytes: totalBytes } = answer;
      this.#status = { ...this.#status, source, totalBytes };
      logger.info({ ...this.#plainStatus(), offset, id }, 'snapshot install begins');
      const whole = new Uint8Array(DIGEST_BYTES);
      return { source, id, offset, seq: 0, bytes: 0, rows: 0, done: false, whole };
    }
    if (behind === candidates.length && start === this.#host.start()) this.#host.lost();
    return undefined;
  }

  /** Receives what is missing. Throws TransferFailure when going on later may help. */
  async #pull(side: StateStore, from: InstallProgress): Promise<boolean> {
    let progress = from;
    this.#show(progress);
    const { clock } = this.#options;
    let next = progress.done ? undefined : this.#fetch(progress);
    let writing: Promise<void> = Promise.resolve();
    try {
      while (next !== undefined) {
        const sinceMs = clock.nowMs();
        const chunk = await next;
        next = undefined;
        if (chunk === undefined) return this.#expired();
        const whole = this.#check(progress, chunk);
        const received = { ...progress, seq: progress.seq + 1, whole };
        // The next one travels and is taken apart while this one is written.
        if (!chunk.done) {
          next = this.#fetch(received);
          next.catch(() => undefined); // seen when it is awaited
        }
        const stored = this.#store(side, received, chunk);
        stored.written.catch(() => undefined); // seen when it is awaited; the one before it may fail first
        await writing;
        writing = stored.written;
        progress = stored.progress;
        this.#failures = 0;
        this.#show(progress);
        await this.#throttle(sinceMs, chunk.rows.length);
      }
    } finally {
      await writing;
    }
    return this.#finish(side, progress);
  }

  /** The source gave the snapshot up: nothing of it can be used without its rest. */
  #expired(): false {
    this.#failures = FAILURES_MAX;
    throw new TransferFailure('the source no longer holds the snapshot');
  }

  async #fetch(progress: InstallProgress): Promise<Chunk | undefined> {
    const { id, seq, source } = progress;
    try {
      const answer = await this.#ask(source, { kind: 'snapshot-chunk', id, seq });
      if (answer?.kind === 'chunk' && answer.seq === seq) return answer;
      if (answer?.kind === 'expired') return undefined;
      throw new TransferFailure(`the source answers ${answer?.kind ?? 'something unknown'}`);
    } catch (error) {
      this.#failures += 1;
      throw error;
    }
  }

  /** Returns the digest over everything up to this chunk. */
  #check(progress: InstallProgress, chunk: Chunk): Uint8Array {
    const { sha256 } = this.#options;
    const digest = sha256(chunk.rows);
    const whole = sha256(progress.whole, digest);
    if (equalBytes(digest, chunk.digest) && equalBytes(whole, chunk.whole)) return whole;
    this.#failures += 1;
    throw new TransferFailure(`chunk ${chunk.seq} does not match its checksum`);
  }

  /** Writes in their order; `written` settles when this one is. Throws TransferFailure when the chunk cannot be read. */
  #store(
    side: StateStore,
    received: InstallProgress,
    chunk: Chunk,
  ): { readonly progress: InstallProgress; readonly written: Promise<void> } {
    const rows = decodeRows(chunk.rows);
    if (rows === undefined) throw new TransferFailure(`chunk ${chunk.seq} does not decode`);
    const progress = {
      ...received,
      bytes: received.bytes + chunk.rows.length,
      rows: received.rows + rows.length,
      done: chunk.done,
    };
    const written = side.write(
      (batch) => {
        for (const [key, value] of rows) batch.put(key, value);
        batch.put(INSTALL_KEY, encodeProgress(progress));
      },
      { sync: false },
    );
    return { progress, written };
  }

  /** What arrived must be what was announced; then the source need not keep it any longer. */
  async #finish(side: StateStore, { id, offset, source }: InstallProgress): Promise<boolean> {
    const [row] = await side.getMany([META_KEY]);
    const meta = row === undefined ? undefined : decodeMeta(row);
    if (meta?.ok !== true || meta.value.offset !== offset) {
      this.#failures = FAILURES_MAX;
      throw new TransferFailure('the snapshot is not the one that was announced');
    }
    await this.#ask(source, { kind: 'snapshot-end', id }).catch(() => undefined);
    this.#options.logger.info(this.#plainStatus(), 'snapshot is complete');
    return true;
  }

  async #ask(source: MemberId, request: SnapshotRequest): Promise<SnapshotAnswer | undefined> {
    const { clock, limits, transport } = this.#options;
    const abort = new AbortController();
    this.#abort = abort;
    if (this.#stopped) abort.abort();
    const cancel = clock.setTimer(limits.requestTimeoutMs, () => abort.abort());
    try {
      return parseSnapshotAnswer(
        await transport.request(source, request, { signal: abort.signal }),
      );
    } finally {
      cancel();
    }
  }

  /** All installs of a member keep to one rate. */
  #throttle(sinceMs: number, bytes: number): Promise<void> {
    const { clock, limits, paces } = this.#options;
    paces.install.spent(sinceMs, (bytes * 1000) / limits.snapshotBytesPerSecond);
    const delayMs = Math.ceil(paces.install.delayMs(clock.nowMs()));
    return delayMs === 0 ? Promise.resolve() : this.#pause(delayMs);
  }

  #pause(delayMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.clock.setTimer(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #show({ bytes, rows, source }: InstallProgress): void {
    this.#status = { ...this.#status, source, receivedBytes: bytes, receivedRows: rows };
  }

  #plainStatus(): object {
    return { ...this.#status, source: this.#status.source?.toString(16) };
  }
}
