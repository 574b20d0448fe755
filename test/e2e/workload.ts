import { setTimeout as pause } from 'node:timers/promises';
import { KvError, type KvorumClient, type Watch } from '@kvorum/client';

/** One write attempt of a session client, as the client saw it. */
export interface WriteRecord {
  readonly key: string;
  readonly value: string;
  readonly startMs: number;
  endMs: number;
  outcome: 'acknowledged' | 'failed' | 'unknown';
  revision: number | undefined;
  shard: string | undefined;
  code: string | undefined;
}

/** A change as a watcher saw it. */
export interface SeenEvent {
  readonly shard: string;
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

export interface ReadRecord {
  readonly startMs: number;
  readonly endMs: number;
  readonly ok: boolean;
  readonly code: string | undefined;
}

/** Before a write is tried after one that failed. */
const REFUSED_MS = 5;

/** The deadline of an impatient write: shorter than the outages of the tests, so that many of them fail or stay unknown. */
export const IMPATIENT_MS = 2000;

/**
 * Load whose history can be judged: every writer owns its keys and writes the values 1, 2, 3, … to them, one at a time, through a
 * session; watchers record every event; readers read what the writers wrote. Most writers wait for as long as a fault lasts,
 * impatient ones give up.
 */
export class Workload {
  readonly writes: WriteRecord[] = [];
  readonly events: SeenEvent[] = [];
  readonly reads: ReadRecord[] = [];
  /** Reads that returned less than what was acknowledged before they began. */
  readonly staleReads: string[] = [];
  readonly #client: KvorumClient;
  readonly #watchClient: KvorumClient;
  readonly #prefix: string;
  readonly #acknowledged = new Map<string, number>();
  readonly #loops: Promise<void>[] = [];
  #watch: Watch | undefined;
  #running = true;

  constructor(options: { client: KvorumClient; watchClient: KvorumClient; prefix: string }) {
    this.#client = options.client;
    this.#watchClient = options.watchClient;
    this.#prefix = options.prefix;
  }

  get prefix(): string {
    return this.#prefix;
  }

  async start(writers = 16, readers = 4, impatient = 4): Promise<void> {
    this.#watch = await this.#watchClient.watch({ prefix: this.#prefix });
    await this.#watch.ready;
    this.#loops.push(this.#collect(this.#watch));
    for (let i = 0; i < writers; i += 1) this.#loops.push(this.#write(`${this.#prefix}${i}/k`));
    for (let i = 0; i < impatient; i += 1) {
      this.#loops.push(this.#write(`${this.#prefix}impatient${i}/k`, IMPATIENT_MS));
    }
    for (let i = 0; i < readers; i += 1) this.#loops.push(this.#read(`${this.#prefix}${i}/k`));
  }

  /** How many writes have been acknowledged so far. */
  get acknowledgedCount(): number {
    return this.writes.filter((write) => write.outcome === 'acknowledged').length;
  }

  /** Per shard, the longest time without an acknowledged write of a patient writer between two moments, milliseconds. */
  longestGapsMs(fromMs: number, toMs: number): ReadonlyMap<string, number> {
    const last = new Map<string, number>();
    const gaps = new Map<string, number>();
    const done = this.writes
      .filter(({ outcome, endMs }) => outcome === 'acknowledged' && endMs <= toMs)
      .sort((a, b) => a.endMs - b.endMs);
    for (const { shard = '', endMs } of done) {
      if (endMs >= fromMs) {
        const gap = endMs - (last.get(shard) ?? fromMs);
        gaps.set(shard, Math.max(gaps.get(shard) ?? 0, gap));
      }
      last.set(shard, Math.max(endMs, fromMs));
    }
    for (const [shard, at] of last) {
      gaps.set(shard, Math.max(gaps.get(shard) ?? 0, toMs - Math.max(at, fromMs)));
    }
    return gaps;
  }

  /** How the writes that were not acknowledged ended: code and outcome → number. */
  get unacknowledged(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { outcome, code } of this.writes) {
      if (outcome === 'acknowledged') continue;
      const name = `${code} ${outcome}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  }

  /** Stops writing, waits until the watcher has seen `untilSeen`, ends everything. */
  async stop(
    untilSeen: (events: readonly SeenEvent[]) => boolean,
    timeoutMs: number,
  ): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops.slice(1));
    const untilMs = Date.now() + timeoutMs;
    while (!untilSeen(this.events) && Date.now() < untilMs) {
      await pause(50);
    }
    this.#watch?.close();
    await this.#loops[0];
  }

  async #write(key: string, timeoutMs?: number): Promise<void> {
    for (let n = 1; this.#running; n += 1) {
      const write: WriteRecord = {
        key,
        value: String(n),
        startMs: Date.now(),
        endMs: 0,
        outcome: 'unknown',
        revision: undefined,
        shard: undefined,
        code: undefined,
      };
      this.writes.push(write);
      try {
        const { revision, shard } = await this.#client.put(key, write.value, { timeoutMs });
        write.outcome = 'acknowledged';
        write.revision = revision;
        write.shard = shard;
        this.#acknowledged.set(key, n);
      } catch (error) {
        const known = error instanceof KvError ? error : undefined;
        write.outcome = known?.outcome === 'not-applied' ? 'failed' : 'unknown';
        write.code = known?.code ?? String(error);
      }
      write.endMs = Date.now();
      // The client of a test that failed is closed and refuses at once: this loop must leave room for the process to end.
      if (write.outcome !== 'acknowledged') await pause(REFUSED_MS);
    }
  }

  async #read(key: string): Promise<void> {
    while (this.#running) {
      const startMs = Date.now();
      const atLeast = this.#acknowledged.get(key) ?? 0;
      try {
        const entry = await this.#client.get(key);
        const found = Number(entry?.text() ?? 0);
        if (found < atLeast)
          this.staleReads.push(`${key}: read ${found} after ${atLeast} was acknowledged`);
        this.reads.push({ startMs, endMs: Date.now(), ok: true, code: undefined });
      } catch (error) {
        const code = error instanceof KvError ? error.code : String(error);
        this.reads.push({ startMs, endMs: Date.now(), ok: false, code });
      }
      await pause(5);
    }
  }

  async #collect(watch: Watch): Promise<void> {
    for await (const event of watch) {
      this.events.push({
        shard: event.shard,
        key: event.kv.keyText(),
        value: event.kv.text(),
        revision: event.kv.modRevision,
      });
    }
  }
}
