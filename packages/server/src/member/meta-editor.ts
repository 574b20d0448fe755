import { equalBytes, KvError } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { Router } from '../router/router.ts';
import { pause } from './system.ts';

const ATTEMPT_MS = 5000;
const RETRY_MS = 20;
const RETRY_MS_MAX = 500;
/** Somebody else was faster, or the meta group has no leader: tried again until then. */
const GIVE_UP_MS = 15_000;

export interface MetaEditorParts {
  readonly clock: Clock;
  readonly router: Pick<Router, 'onMeta'>;
}

/** One key of the meta group and what it holds. */
export interface MetaKey<Value> {
  readonly key: Uint8Array;
  /** For messages: `the shard map`. */
  readonly name: string;
  /** Undefined: the key does not exist. May throw a KvError. */
  decode(bytes: Uint8Array | undefined): Value;
  encode(value: Value): Uint8Array;
}

/** An edit as it came about. */
export interface Edited<Value> {
  readonly value: Value;
  /** False: it was as wanted already. */
  readonly isChanged: boolean;
}

interface Found<Value> {
  readonly value: Value;
  readonly bytes: Uint8Array | undefined;
  /** 0 = the key does not exist. */
  readonly modRevision: number;
}

/** Changes one value of the meta group by compare-and-set, from any member. */
export class MetaEditor<Value> {
  readonly #parts: MetaEditorParts;
  readonly #what: MetaKey<Value>;
  /** One edit of this member at a time: they would only push each other back. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(parts: MetaEditorParts, what: MetaKey<Value>) {
    this.#parts = parts;
    this.#what = what;
  }

  /**
   * `change` says what the value should be, from what it is: called again when somebody else was faster. Undefined: it is as wanted.
   * It may throw a KvError, which refuses the edit.
   *
   * Errors: what `change` throws; KV_TIMEOUT when the meta group took no edit for 15 seconds, or when it is not known whether the
   * value that `change` refused is one that this edit has made: it may have come about, or come about yet.
   */
  update(change: (value: Value) => Value | undefined): Promise<Edited<Value>> {
    const done = this.#busy.then(() => this.#update(change));
    this.#busy = done.catch(() => undefined);
    return done;
  }

  async #update(change: (value: Value) => Value | undefined): Promise<Edited<Value>> {
    const { clock } = this.#parts;
    const untilMs = clock.nowMs() + GIVE_UP_MS;
    let delayMs = RETRY_MS;
    let written: Uint8Array | undefined;
    let isUnknown = false;
    for (;;) {
      const found = await this.#read(untilMs);
      // An attempt whose outcome was unknown came about after all.
      if (written !== undefined && found.bytes !== undefined && equalBytes(found.bytes, written)) {
        return { value: found.value, isChanged: true };
      }
      const wanted = isUnknown ? this.#again(change, found.value) : change(found.value);
      if (wanted === undefined) return { value: found.value, isChanged: isUnknown };
      written = this.#what.encode(wanted);
      const outcome = await this.#write(written, found.modRevision);
      if (outcome === 'written') return { value: wanted, isChanged: true };
      isUnknown ||= outcome === 'unknown';
      if (clock.nowMs() >= untilMs) throw this.#gaveUp('was not changed');
      await pause(delayMs);
      delayMs = Math.min(delayMs * 2, RETRY_MS_MAX);
    }
  }

  /** After an attempt of unknown outcome: that the change is refused now may be its own doing. */
  #again(change: (value: Value) => Value | undefined, value: Value): Value | undefined {
    try {
      return change(value);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      throw this.#gaveUp(`may have been changed (now: ${error.message})`, error);
    }
  }

  #gaveUp(what: string, cause?: KvError): KvError {
    const text = `${this.#what.name} ${what}`;
    return new KvError('KV_TIMEOUT', text, cause === undefined ? {} : { cause });
  }

  async #read(untilMs: number): Promise<Found<Value>> {
    const response = await this.#parts.router.onMeta(
      { op: 'range', key: this.#what.key },
      { deadlineMs: untilMs },
    );
    const [kv] = response.op === 'range' ? response.kvs : [];
    const value = this.#what.decode(kv?.value);
    return { value, bytes: kv?.value, modRevision: kv?.modRevision ?? 0 };
  }

  /** `lost`: it was another value by then. */
  async #write(bytes: Uint8Array, modRevision: number): Promise<'written' | 'lost' | 'unknown'> {
    const { clock, router } = this.#parts;
    const { key } = this.#what;
    try {
      const response = await router.onMeta(
        {
          op: 'txn',
          compare: [{ key, target: 'mod', result: 'equal', value: modRevision }],
          success: [{ op: 'put', key, value: bytes }],
          failure: [],
        },
        { deadlineMs: clock.nowMs() + ATTEMPT_MS },
      );
      return response.op === 'txn' && response.succeeded ? 'written' : 'lost';
    } catch (error) {
      // Whether it came about shows the next reading.
      if (error instanceof KvError) return error.outcome === 'unknown' ? 'unknown' : 'lost';
      throw error;
    }
  }
}
