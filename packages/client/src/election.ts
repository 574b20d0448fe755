import { isKvError, KvError } from '@kvorum/base';
import type { Entry } from './entry.ts';
import type { LineParts } from './holding.ts';
import { type Bytes, toBytes } from './key-range.ts';
import { LINE_OPTIONS } from './lock.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';
import { isPassing, persistently } from './persistently.ts';
import { pauseFor } from './question.ts';
import { Tenure } from './tenure.ts';
import { type LineOptions, type Standing, WaitingLine } from './waiting-line.ts';

export type CampaignOptions = LineOptions;

const OBSERVE_OPTIONS = ['signal'];
const PAUSE_MS = 100;

/** A leadership that this program has, until {@link Leadership.resign}, the end of an `await using` block or of its lease. */
export class Leadership extends Tenure {
  get isLeading(): boolean {
    return this.holding.isHeld;
  }

  /** Tells those who observe another value. Errors: KV_NOT_HELD, KV_LEASE_LOST. */
  async proclaim(value: Bytes, options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    await this.holding.put(toBytes(value), options);
  }

  /** Lets the next one lead; that it does not lead any more is as well. */
  async resign(options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    await this.holding.leave(options);
  }
}

/** An election: one of those who campaign in it leads, and the others wait. Made by `kv.election(name)`. */
export class Election {
  readonly #parts: LineParts;
  readonly #line: WaitingLine;

  /** @internal */
  constructor(parts: LineParts, name: Bytes) {
    this.#parts = parts;
    this.#line = new WaitingLine(parts, name);
  }

  /**
   * Resolves when this program leads, for as long as that takes unless `timeoutMs` says otherwise. `value` is what the others see of
   * the leader: an address, a name.
   *
   * Errors: KV_DEADLINE, KV_CANCELLED, KV_LEASE_LOST, KV_NOT_HELD when somebody deletes its key.
   */
  async campaign(value: Bytes, options: CampaignOptions = {}): Promise<Leadership> {
    checkOptions(options, LINE_OPTIONS);
    const holding = await this.#line.enter(toBytes(value), options, { isImpatient: false });
    if (holding === undefined) throw new KvError('KV_NOT_HELD');
    return new Leadership(holding);
  }

  /** The leader's key with its value; `createRevision` is its token. Undefined when nobody leads. */
  async leader(options: CallOptions = {}): Promise<Entry | undefined> {
    checkOptions(options, CALL_OPTIONS);
    return (await this.#line.first(options)).entry;
  }

  /**
   * Every leader from the present one on, and what each proclaims: `for await (const leader of election.observe())`. Leaders that were
   * followed by another one before this looked are left out. Ends with KV_CANCELLED by its signal.
   */
  observe(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Entry, void> {
    checkOptions(options, OBSERVE_OPTIONS);
    return this.#observe(options.signal ?? new AbortController().signal);
  }

  async *#observe(signal: AbortSignal): AsyncGenerator<Entry, void> {
    const { nowMs, timeoutMs: attemptMs } = this.#parts;
    const until = { deadlineMs: Number.POSITIVE_INFINITY, signal, nowMs, attemptMs };
    for (;;) {
      const standing = await persistently(
        (timeoutMs) => this.#line.first({ signal, timeoutMs }),
        until,
      );
      try {
        if (standing.entry === undefined) await this.#someone(standing, signal);
        else yield* this.#reign(standing.entry, standing.revision, signal);
      } catch (error) {
        const isAgain = isPassing(error) || (isKvError(error) && error.code === 'KV_COMPACTED');
        if (!isAgain) throw error;
        await pauseFor(PAUSE_MS, signal);
      }
    }
  }

  /** A leader, and what it proclaims until it is gone. */
  async *#reign(leader: Entry, revision: number, signal: AbortSignal): AsyncGenerator<Entry, void> {
    yield leader;
    const options = { startRevision: revision + 1, signal };
    for await (const event of await this.#parts.watch(leader.key, options)) {
      if (event.type === 'delete') return;
      yield event.kv;
    }
  }

  /** Until somebody enters: whoever that is, the first is read anew. */
  async #someone({ revision }: Standing, signal: AbortSignal): Promise<void> {
    const { directory } = this.#line;
    // What lies in directories below may be in other shards, and is nobody that campaigns.
    const revisions = { [this.#parts.placeOf(directory)]: revision + 1 };
    const watch = await this.#parts.watch({ prefix: directory }, { revisions, signal });
    for await (const { type } of watch) if (type === 'put') return;
  }
}
