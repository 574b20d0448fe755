import { type KvorumClient, KvError, type Watch } from '@kvorum/client';

/** One write attempt of a session client, as the client saw it. */
export interface WriteRecord {
  readonly key: string;
  readonly value: string;
  readonly startMs: number;
  endMs: number;
  outcome: 'acknowledged' | 'failed' | 'unknown';
  revision: number | undefined;
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

/**
 * Load whose history can be judged: every writer owns its keys and writes the values 1, 2, 3, … to them, one at a time, through a
 * session; watchers record every event; readers read what the writers wrote.
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

  async start(writers = 16, readers = 4): Promise<void> {
    this.#watch = await this.#watchClient.watch({ prefix: this.#prefix });
    await this.#watch.ready;
    this.#loops.push(this.#collect(this.#watch));
    for (let i = 0; i < writers; i += 1) this.#loops.push(this.#write(`${this.#prefix}${i}/k`));
    for (let i = 0; i < readers; i += 1) this.#loops.push(this.#read(`${this.#prefix}${i}/k`));
  }

  /** How many writes have been acknowledged so far. */
  get acknowledgedCount(): number {
    return this.writes.filter((write) => write.outcome === 'acknowledged').length;
  }

  /** Longest time without any acknowledged write to keys of `keys` between two moments, milliseconds. */
  longestGapMs(fromMs: number, toMs: number): number {
    const times = this.writes
      .filter((write) => write.outcome === 'acknowledged' && write.endMs >= fromMs && write.endMs <= toMs)
      .map((write) => write.endMs)
      .sort((a, b) => a - b);
    let longest = 0;
    let last = fromMs;
    for (const time of [...times, toMs]) {
      longest = Math.max(longest, time - last);
      last = time;
    }
    return longest;
  }

  /** Stops writing, waits until the watcher has seen `untilSeen`, ends everything. */
  async stop(untilSeen: (events: readonly SeenEvent[]) => boolean, timeoutMs: number): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops.slice(1));
    const untilMs = Date.now() + timeoutMs;
    while (!untilSeen(this.events) && Date.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await this.#watch?.close();
    await this.#loops[0];
  }

  async #write(key: string): Promise<void> {
    for (let n = 1; this.#running; n += 1) {
      const write: WriteRecord = {
        key,
        value: String(n),
        startMs: Date.now(),
        endMs: 0,
        outcome: 'unknown',
        revision: undefined,
        code: undefined,
      };
      this.writes.push(write);
      try {
        const { revision } = await this.#client.put(key, write.value);
        write.outcome = 'acknowledged';
        write.revision = revision;
        this.#acknowledged.set(key, n);
      } catch (error) {
        const known = error instanceof Error && error.name === 'KvError' ? (error as KvError) : undefined;
        write.outcome = known?.outcome === 'not-applied' ? 'failed' : 'unknown';
        write.code = known?.code ?? String(error);
      }
      write.endMs = Date.now();
    }
  }

  async #read(key: string): Promise<void> {
    while (this.#running) {
      const startMs = Date.now();
      const atLeast = this.#acknowledged.get(key) ?? 0;
      try {
        const entry = await this.#client.get(key);
        const found = Number(entry?.text() ?? 0);
        if (found < atLeast) this.staleReads.push(`${key}: read ${found} after ${atLeast} was acknowledged`);
        this.reads.push({ startMs, endMs: Date.now(), ok: true, code: undefined });
      } catch (error) {
        const code = error instanceof KvError ? error.code : String(error);
        this.reads.push({ startMs, endMs: Date.now(), ok: false, code });
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
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
