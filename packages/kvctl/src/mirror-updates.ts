import { isKvError, type TxnOp } from '@kvorum/base';
import { type KvorumClient, op } from '@kvorum/client';
import type { Call } from './context.ts';

/** A change of the source, with the key that it has at the destination. */
export interface Change {
  /** Of the source. */
  readonly shard: string;
  readonly revision: number;
  readonly key: Uint8Array;
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined;
}

export interface UpdateOptions {
  /** Of one transaction. */
  readonly opsMax: number;
  readonly call: () => Call;
  /** So many more are there. */
  readonly done: (changes: number) => void;
}

/** Changes that wait for a shard; beyond this the source has to wait. */
const WAITING_MAX = 4096;
/** Of one transaction: well below what a request may have. */
const TXN_BYTES_MAX = 512 * 1024;
const MARK_MS = 1000;
/** When there was something to do at the time of a mark, it is tried again soon. */
const RETRY_MARK_MS = 20;

type Target = Pick<KvorumClient, 'txn' | 'put' | 'delete' | 'shardOf'>;

/** Brings changes to the destination: those of one shard of the source in their order, shards beside each other. */
export class MirrorUpdates {
  readonly #to: Target;
  readonly #options: UpdateOptions;
  readonly #shards = new Map<string, ShardUpdates>();
  #marking: Promise<void> = Promise.resolve();
  #isMarking = false;
  #nextMarkMs = 0;
  /** Of what a mark did. */
  #failure: Error | undefined;

  constructor(to: Target, options: UpdateOptions) {
    this.#to = to;
    this.#options = options;
  }

  /**
   * Until the changes end.
   *
   * @param mark - asked when everything that has come is on its way: what it answers is called once all that is there.
   * Errors: the first of the destination, and those of the source.
   */
  async follow(changes: AsyncIterable<Change>, mark: () => () => void): Promise<void> {
    const iterator = changes[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#nextOf(iterator, mark);
        if (this.#failure !== undefined) throw this.#failure;
        if (next.done === true) break;
        await this.#shardOf(next.value.shard).add(next.value);
      }
    } finally {
      // A source that is cut off has delivered what it has delivered.
      await Promise.all([...this.#shards.values()].map((shard) => shard.drained()));
      await this.#marking;
    }
  }

  /** The next change. A second after the last mark, when none is there yet, the next mark is set. */
  async #nextOf(
    iterator: AsyncIterator<Change>,
    mark: () => () => void,
  ): Promise<IteratorResult<Change>> {
    const next = iterator.next();
    if (this.#isMarking || performance.now() < this.#nextMarkMs) return next;
    let hasCome = false;
    const come = (): void => {
      hasCome = true;
    };
    next.then(come, come);
    await new Promise((resolve) => setImmediate(resolve));
    this.#nextMarkMs = performance.now() + (hasCome ? RETRY_MARK_MS : MARK_MS);
    if (!hasCome) this.#mark(mark());
    return next;
  }

  /** Every shard has got everything up to the mark once those that have something now are done with it. */
  #mark(reached: () => void): void {
    this.#isMarking = true;
    this.#marking = Promise.all([...this.#shards.values()].map((shard) => shard.drained()))
      .then(() => {
        this.#isMarking = false;
        reached();
      })
      .catch((error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error(String(error));
      });
  }

  #shardOf(shard: string): ShardUpdates {
    const known = this.#shards.get(shard) ?? new ShardUpdates(this.#to, this.#options);
    this.#shards.set(shard, known);
    return known;
  }
}

/** Of one shard of the source, one transaction after the other. */
class ShardUpdates {
  readonly #to: Target;
  readonly #options: UpdateOptions;
  #waiting: Change[] = [];
  #isWorking = false;
  #failure: Error | undefined;
  /** How many were added, and how many are there. */
  #added = 0;
  #done = 0;
  #drains: { readonly upTo: number; readonly resolve: () => void }[] = [];

  constructor(to: Target, options: UpdateOptions) {
    this.#to = to;
    this.#options = options;
  }

  /** Waits for room. Errors: that of a change before it. */
  async add(change: Change): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#waiting.push(change);
    this.#added += 1;
    if (!this.#isWorking) void this.#work();
    if (this.#waiting.length >= WAITING_MAX) await this.drained();
  }

  /** Waits until all that were added are there. Errors: as of `add`. */
  async drained(): Promise<void> {
    const upTo = this.#added;
    if (this.#done < upTo && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#drains.push({ upTo, resolve }));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    // What came at once is looked at together: the changes of a revision.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.#waiting.length > 0) {
        const taken = await this.#nextTxn();
        await this.#put(taken);
        this.#waiting = this.#waiting.slice(taken.length);
        this.#done += taken.length;
        this.#options.done(taken.length);
        this.#tell();
      }
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#tell();
    }
    this.#isWorking = false;
  }

  #tell(): void {
    const isOver = ({ upTo }: { upTo: number }): boolean =>
      upTo <= this.#done || this.#failure !== undefined;
    for (const drain of this.#drains) if (isOver(drain)) drain.resolve();
    this.#drains = this.#drains.filter((drain) => !isOver(drain));
  }

  /** Whole revisions whose keys are different and in one shard there, as many as fit; at least one, or what fits of it. */
  async #nextTxn(): Promise<readonly Change[]> {
    const { opsMax } = this.#options;
    const keys = new Set<string>();
    let whole = 0;
    let bytes = 0;
    let place: string | undefined;
    for (const [at, change] of this.#waiting.entries()) {
      if (at > 0 && change.revision !== this.#waiting[at - 1]?.revision) whole = at;
      const name = Buffer.from(change.key).toString('latin1');
      const there = await this.#to.shardOf(change.key, this.#options.call());
      place ??= there;
      bytes += change.key.length + (change.value?.length ?? 0);
      const fits = at < opsMax && !keys.has(name) && place === there;
      if (at > 0 && (!fits || bytes > TXN_BYTES_MAX)) {
        return this.#waiting.slice(0, whole === 0 ? at : whole);
      }
      keys.add(name);
    }
    return [...this.#waiting];
  }

  async #put(changes: readonly Change[]): Promise<void> {
    const [only, ...others] = changes;
    if (only === undefined) return;
    if (others.length === 0) return this.#putOne(only);
    try {
      await this.#to.txn({ success: changes.map(opOf) }, this.#options.call());
    } catch (error) {
      // Slots moved there since they were asked for.
      if (!isKvError(error) || error.code !== 'KV_CROSS_SHARD') throw error;
      for (const change of changes) await this.#putOne(change);
    }
  }

  async #putOne({ key, value }: Change): Promise<void> {
    if (value === undefined) await this.#to.delete(key, this.#options.call());
    else await this.#to.put(key, value, this.#options.call());
  }
}

const opOf = ({ key, value }: Change): TxnOp =>
  value === undefined ? op.delete(key) : op.put(key, value);
