import { AUTH_STATE_KEY, type AuthState, decodeAuthState, NO_AUTH } from '@kvorum/auth';
import { KvError, type Revision } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';
import type { Logger } from '../logger.ts';
import { followMetaKey } from '../member/follow-meta-key.ts';
import { pause } from '../member/system.ts';
import type { Router } from '../router/router.ts';
import type { EnabledMark } from './enabled-mark.ts';

const CONFIRM_MS = 1000;
const RETRY_MS = 50;

export interface AuthStateSourceParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly router: Pick<Router, 'onMeta'>;
  /** This member's replica of the meta group, by then. */
  readonly meta: () => Replica;
  readonly mark: EnabledMark;
  /** This member has not been one before: what it has applied so far says nothing of what holds now. */
  readonly isFresh: boolean;
  /** How long the state counts as the newest one after it was confirmed, milliseconds. */
  readonly freshMs: number;
}

/**
 * Who may do what as this member knows it, and how sure that is. While authorization is enabled the meta group confirms the state
 * every third of `freshMs` (a linearizable read); a state that was not confirmed for so long counts nothing any more, and this member
 * serves nobody. Whoever changes it relies on that: a member that cannot be told of a change has stopped by then (ADR 0024).
 */
export class AuthStateSource {
  readonly #parts: AuthStateSourceParts;
  readonly #listeners = new Set<() => void>();
  #state: AuthState = NO_AUTH;
  /** Of the meta group, as of `#state`. */
  #revision = -1;
  /** The stored state cannot be read: it is of a newer version, or damaged. */
  #isUnreadable = false;
  /** Start of the last linearizable reading that came back. */
  #confirmedMs: number | undefined;
  #confirming: Promise<void> | undefined;
  #needsConfirmation: boolean;
  #isStarted = false;
  #isStopped = false;
  #stopFollowing = (): void => {};
  #cancelTimer = (): void => {};
  #cancelStale = (): void => {};

  constructor(parts: AuthStateSourceParts) {
    this.#parts = parts;
    this.#needsConfirmation = parts.isFresh || parts.mark.isSet;
  }

  get state(): AuthState {
    return this.#state;
  }

  /** What cannot be read may say anything: it counts as enabled. */
  get isEnabled(): boolean {
    return this.#state.enabled || this.#isUnreadable;
  }

  /** Nobody has to show who they are. */
  get isOpen(): boolean {
    return this.#isStarted && !this.#needsConfirmation && !this.isEnabled;
  }

  /** Called after every change, and when the state ceases to count; returns how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins to follow; resolves when the first state is known. */
  start(): Promise<void> {
    const { clock, logger, meta } = this.#parts;
    return new Promise((resolve) => {
      this.#stopFollowing = followMetaKey({
        key: AUTH_STATE_KEY,
        name: 'the state of authorization',
        meta,
        clock,
        logger,
        changed: (value, revision) => {
          this.#adopt(value, revision);
          this.#isStarted = true;
          resolve();
        },
      });
      this.#confirmLater(0);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#stopFollowing();
    this.#cancelTimer();
    this.#cancelStale();
  }

  /** Why nobody may be served now; undefined when the state counts. */
  refusal(): KvError | undefined {
    if (!this.#isStarted) return new KvError('KV_UNAVAILABLE', 'who may do what is not known yet');
    if (this.#isUnreadable) {
      return new KvError('KV_UNAVAILABLE', 'the state of authorization is of another version', {
        details: { hint: 'start this member with the version of the others' },
      });
    }
    if (!this.#needsConfirmation && !this.#state.enabled) return undefined;
    const { clock, freshMs } = this.#parts;
    const confirmedMs = this.#confirmedMs ?? Number.NEGATIVE_INFINITY;
    if (clock.nowMs() - confirmedMs <= freshMs) return undefined;
    return new KvError(
      'KV_UNAVAILABLE',
      'the meta group does not confirm who may do what: it has no leader, or this member is cut off',
    );
  }

  /** Resolves when somebody may be served. Errors: the refusal that holds at the deadline. */
  async ready(deadlineMs: number): Promise<void> {
    for (let refusal = this.refusal(); refusal !== undefined; refusal = this.refusal()) {
      if (this.#isUnreadable || this.#isStopped) throw refusal;
      const leftMs = deadlineMs - this.#parts.clock.nowMs();
      if (leftMs <= 0) throw refusal;
      if (this.#isStarted) await Promise.race([this.confirm(), pause(leftMs)]);
      await pause(RETRY_MS);
    }
  }

  /** Asks the meta group for the newest state. Never rejects: what was not confirmed is not. */
  confirm(): Promise<void> {
    this.#confirming ??= this.#confirm().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  async #confirm(): Promise<void> {
    const { clock, logger, router, freshMs } = this.#parts;
    const startedMs = clock.nowMs();
    try {
      const deadlineMs = startedMs + freshMs;
      const response = await router.onMeta({ op: 'range', key: AUTH_STATE_KEY }, { deadlineMs });
      const [kv] = response.op === 'range' ? response.kvs : [];
      this.#adopt(kv?.value, response.revision);
      this.#confirmedMs = startedMs;
      this.#needsConfirmation = false;
      this.#tellWhenStale();
    } catch (error) {
      logger.debug({ err: error }, 'the state of authorization was not confirmed');
    }
  }

  #tellWhenStale(): void {
    const { clock, freshMs } = this.#parts;
    this.#cancelStale();
    this.#cancelStale = clock.setTimer(freshMs + 1, () => {
      if (!this.#isStopped && this.refusal() !== undefined) this.#tell();
    });
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Whether this member goes by the state of that version or a later one, also after a restart. */
  async holds(version: number): Promise<boolean> {
    if (this.#state.version < version) await this.confirm();
    return this.#state.version >= version && this.#parts.mark.isSet === this.#state.enabled;
  }

  /** A member that restarts with a mark asks before it serves anybody. */
  #keepMark(): void {
    const { logger, mark } = this.#parts;
    const { enabled } = this.#state;
    if (enabled === mark.isSet) return;
    try {
      mark.set(enabled);
    } catch (error) {
      logger.error({ err: error }, 'it cannot be noted on disk whether authorization is enabled');
    }
  }

  #confirmLater(delayMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#parts.clock.setTimer(delayMs, () => {
      const isNeeded = this.isEnabled || this.#needsConfirmation;
      const done = isNeeded && this.#isStarted ? this.confirm() : Promise.resolve();
      void done.then(() => {
        if (this.#isStopped) return;
        const { freshMs } = this.#parts;
        this.#confirmLater(
          this.refusal() === undefined ? Math.min(CONFIRM_MS, freshMs / 3) : RETRY_MS,
        );
      });
    });
  }

  /** Two ways bring the state here; what is older than what is known comes too late. */
  #adopt(value: Uint8Array | undefined, revision: Revision): void {
    if (revision < this.#revision) return;
    this.#revision = revision;
    const state = value === undefined ? NO_AUTH : decodeAuthState(value);
    this.#isUnreadable = state === undefined;
    if (state === undefined) {
      this.#parts.logger.error('the state of authorization cannot be read: nobody is served');
    } else {
      const isSame =
        state.version === this.#state.version && state.tokenKey === this.#state.tokenKey;
      if (isSame && state.enabled === this.#state.enabled) return;
      this.#state = state;
      this.#keepMark();
    }
    this.#tell();
  }
}
