import { equalBytes, type LogOffset, type MemberId } from '@kvorum/base';
import { decodeMeta, HARD_STATE_KEY, META_KEY } from '@kvorum/mvcc';
import type { SideImage } from '@kvorum/ports';
import { decodeProgress, encodeProgress, type InstallProgress } from './install-progress.ts';
import type { ReplicaOptions } from './replica-options.ts';
import {
  parseSnapshotAnswer,
  SNAPSHOT_FORM,
  type SnapshotAnswer,
  type SnapshotRequest,
} from './snapshot-messages.ts';

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5000;
/** A source that fails so often in a row is given up for another one. */
const FAILURES_MAX = 5;
const DIGEST_BYTES = 32;
/** So often what has come is synced to the disk, and need not come again after a crash. */
const SAVE_CHUNKS = 32;

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
  /** How many bytes there are in all; 0 = not known. */
  readonly totalBytes: number;
  readonly attempts: number;
}

/** Something that another attempt may overcome; nothing of what was received is lost. */
class TransferFailure extends Error {
  override readonly name = 'TransferFailure';
}

interface Transfer {
  readonly image: SideImage;
  readonly progress: InstallProgress;
}

type Chunk = Extract<SnapshotAnswer, { kind: 'chunk' }>;

/**
 * Brings a peer's snapshot, the image of its store, into the side store: chunk by chunk, each checked, with how far it came saved beside it,
 * so that after a broken connection or a crash it goes on from there. When the source no longer holds the snapshot everything begins anew,
 * here or elsewhere.
 */
export class SnapshotInstall {
  readonly #host: InstallHost;
  readonly #options: InstallOptions;
  #stopped = false;
  #wake: () => void = () => undefined;
  #abort: AbortController | undefined;
  #failures = 0;
  /** Whose snapshot came to nothing: it is asked last. */
  #shunned: MemberId | undefined;
  #status: InstallStatus = {
    source: undefined,
    receivedBytes: 0,
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
    this.#status = { ...this.#status, attempts: this.#status.attempts + 1 };
    try {
      const transfer = (await this.#left()) ?? (await this.#begin());
      if (transfer === undefined) return false;
      await this.#finish(await this.#pull(transfer));
      return true;
    } catch (error) {
      if (this.#stopped) return false;
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn({ reason, ...this.#plainStatus() }, 'snapshot install interrupted');
      return false;
    }
  }

  /** What an earlier attempt left, unless it is of no more use. */
  async #left(): Promise<Transfer | undefined> {
    const image = await this.#options.place.resumeSide();
    if (image === undefined) return undefined;
    const progress = decodeProgress(image.note);
    const isWhole = progress?.bytes === image.received;
    if (progress !== undefined && isWhole && this.#isOfUse(progress)) return { image, progress };
    await image.close();
    return undefined;
  }

  #isOfUse({ done, offset, source }: InstallProgress): boolean {
    if (offset + 1 < this.#host.start() || this.#failures >= FAILURES_MAX) return false;
    return done || this.#host.candidates().includes(source);
  }

  /** Asks one candidate after the other; undefined when none gives a snapshot now. */
  async #begin(): Promise<Transfer | undefined> {
    this.#failures = 0;
    const { shardUid, generation, logger, place } = this.#options;
    const start = this.#host.start();
    const candidates = this.#host.candidates();
    const inOrder = [...candidates].sort((a, b) => Number(this.#shuns(a)) - Number(this.#shuns(b)));
    this.#status = { ...this.#status, source: undefined, receivedBytes: 0 };
    const request = { kind: 'snapshot-begin', form: SNAPSHOT_FORM, shardUid, generation } as const;
    let behind = 0;
    for (const source of inOrder) {
      if (this.#stopped) return undefined;
      const answer = await this.#ask(source, { ...request, start }).catch(() => undefined);
      if (answer?.kind === 'refused' && answer.why === 'behind') behind += 1;
      if (answer?.kind !== 'snapshot' || answer.offset + 1 < start) continue;
      const { id, offset, bytes: totalBytes, layout } = answer;
      this.#status = { ...this.#status, source, totalBytes };
      logger.info({ ...this.#plainStatus(), offset, id }, 'snapshot install begins');
      const whole = new Uint8Array(DIGEST_BYTES);
      const progress = { source, id, offset, seq: 0, bytes: 0, done: false, whole };
      this.#shunned = source;
      return { image: await place.receiveSide(layout, encodeProgress(progress)), progress };
    }
    if (behind === candidates.length && start === this.#host.start()) this.#host.lost();
    return undefined;
  }

  #shuns(member: MemberId): boolean {
    return member === this.#shunned;
  }

  /** Receives what is missing. Throws TransferFailure when going on later may help. */
  async #pull({ image, progress: from }: Transfer): Promise<InstallProgress> {
    let progress = from;
    let written = from;
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
        const received = this.#received(progress, chunk);
        // The next one travels and is checked while this one is written.
        if (!chunk.done) {
          next = this.#fetch(received);
          next.catch(() => undefined); // seen when it is awaited
        }
        await writing;
        writing = this.#store(image, received, chunk.bytes).then(() => {
          written = received;
        });
        writing.catch(() => undefined); // seen when it is awaited
        progress = received;
        this.#failures = 0;
        this.#show(progress);
        await this.#throttle(sinceMs, chunk.bytes.length);
      }
      await writing;
      return progress;
    } catch (error) {
      await writing.catch(() => undefined);
      await this.#save(image, written);
      throw error;
    } finally {
      await image.close();
    }
  }

  /** The next attempt goes on from there, be it in another process. */
  async #save(image: SideImage, written: InstallProgress): Promise<void> {
    if (written.done || image.received !== written.bytes) return;
    await image.save(encodeProgress(written)).catch(() => undefined); // then from an earlier one
  }

  /** The source gave the snapshot up: nothing of it can be used without its rest. */
  #expired(): never {
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

  /** How far it came with this chunk. Throws TransferFailure when it is not what was sent. */
  #received(
    progress: InstallProgress,
    { seq, bytes, digest, whole, done }: Chunk,
  ): InstallProgress {
    const { sha256 } = this.#options;
    const found = sha256(bytes);
    if (!equalBytes(found, digest) || !equalBytes(sha256(progress.whole, found), whole)) {
      this.#failures += 1;
      throw new TransferFailure(`chunk ${seq} does not match its checksum`);
    }
    const reached = progress.bytes + bytes.length;
    return { ...progress, seq: seq + 1, bytes: reached, done, whole };
  }

  async #store(image: SideImage, received: InstallProgress, bytes: Uint8Array): Promise<void> {
    await image.write(bytes);
    if (received.done) await image.complete(encodeProgress(received));
    else if (received.seq % SAVE_CHUNKS === 0) await image.save(encodeProgress(received));
  }

  /**
   * What arrived must be what was announced, of this generation: the shard may have been recovered meanwhile. The source's vote, which came
   * with its store, goes at once. Then the source need not keep the snapshot any longer.
   */
  async #finish({ id, offset, source }: InstallProgress): Promise<void> {
    if (!(await this.#isAsAnnounced(offset))) {
      this.#failures = FAILURES_MAX;
      throw new TransferFailure('the snapshot is not the one that was announced');
    }
    await this.#ask(source, { kind: 'snapshot-end', id }).catch(() => undefined);
    this.#options.logger.info(this.#plainStatus(), 'snapshot is complete');
  }

  async #isAsAnnounced(offset: LogOffset): Promise<boolean> {
    const { generation, place } = this.#options;
    this.#failures += 1; // unless it can be opened
    const side = await place.openSide();
    try {
      const [row] = await side.getMany([META_KEY]);
      const meta = row === undefined ? undefined : decodeMeta(row);
      if (meta?.ok !== true || meta.value.offset !== offset) return false;
      if (meta.value.generation !== generation) return false;
      await side.write((batch) => batch.delete(HARD_STATE_KEY), { sync: true });
      return true;
    } finally {
      await side.close();
    }
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

  #show({ bytes, source }: InstallProgress): void {
    this.#status = { ...this.#status, source, receivedBytes: bytes };
  }

  #plainStatus(): object {
    return { ...this.#status, source: this.#status.source?.toString(16) };
  }
}
