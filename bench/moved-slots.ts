import { isKvError, type KvorumClient } from '@kvorum/client';

/** Keys of a directory each: slots of their own, spread over all shards. */
const PROBES = 64;
/** Of its own beside the calls: a probe is there to notice, not to load. */
const PAUSE_MS = 2;

interface Seen {
  readonly shard: string;
  readonly atMs: number;
}

/** For how long a key's slot answered nobody while it changed hands: from the last answer of the old shard to the first of the new one. */
export interface Gaps {
  readonly writesMs: number[];
  readonly readsMs: number[];
  /** Longest time between any two answers for one key, moved or not. */
  longestMs: number;
}

/** Clients that write and read one key of a slot each, one call after the other, and see which shard answers. */
export class MovedSlots {
  readonly gaps: Gaps = { writesMs: [], readsMs: [], longestMs: 0 };
  readonly #client: KvorumClient;
  readonly #loops: Promise<void>[] = [];
  #running = true;

  constructor(client: KvorumClient) {
    this.#client = client;
  }

  start(): void {
    const client = this.#client;
    for (let i = 0; i < PROBES; i += 1) {
      const key = `moved-${i}/k`;
      const { readsMs, writesMs } = this.gaps;
      const write = async (): Promise<string> => (await client.put(key, 'v')).shard;
      const read = async (): Promise<string> => (await client.range(key)).shards[0]?.shard ?? '';
      this.#loops.push(this.#probe(writesMs, write), this.#probe(readsMs, read));
    }
  }

  async stop(): Promise<Gaps> {
    this.#running = false;
    await Promise.all(this.#loops);
    return this.gaps;
  }

  async #probe(into: number[], ask: () => Promise<string>): Promise<void> {
    let last: Seen | undefined;
    while (this.#running) {
      try {
        const now = { shard: await ask(), atMs: performance.now() };
        if (last !== undefined) this.#note(into, last, now);
        last = now;
      } catch (error) {
        // The gap goes on.
        if (!isKvError(error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  #note(into: number[], last: Seen, now: Seen): void {
    const gapMs = now.atMs - last.atMs;
    if (now.shard !== last.shard) into.push(gapMs);
    this.gaps.longestMs = Math.max(this.gaps.longestMs, gapMs);
  }
}
