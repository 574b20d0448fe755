import {
  AUTH_STATE_KEY,
  type AuthChange,
  type AuthState,
  applyAuthChange,
  decodeAuthState,
  encodeAuthState,
  NO_AUTH,
} from '@kvorum/auth';
import { formatId, isPlain, KvError, type MemberId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import { askMembers } from '../member/ask-members.ts';
import { MetaEditor, type MetaEditorParts, type MetaKey } from '../member/meta-editor.ts';
import { pause } from '../member/system.ts';
import { encodeAuthQuestion } from '../router/forward.ts';
import type { AuthStateSource } from './auth-state-source.ts';

/** All users and roles; they are written anew with each change. */
export const STATE_BYTES_MAX: number = 1024 * 1024;
const ASK_MS = 1000;
const RETRY_MS = 100;
/** Clocks of members run at slightly different speeds. */
export const MARGIN = 1.1;

export interface AuthAdminParts extends MetaEditorParts {
  readonly source: AuthStateSource;
  readonly peers: Pick<PeerTransport, 'request'>;
  /** All members but this one. */
  readonly others: () => readonly MemberId[];
  readonly nameOf: (member: MemberId) => string;
  readonly freshMs: number;
  /** Those of the members that serve nobody, as far as anybody can tell. */
  readonly silentAmong: (members: readonly MemberId[]) => Promise<readonly MemberId[]>;
}

const STATE: MetaKey<AuthState> = {
  key: AUTH_STATE_KEY,
  name: 'the state of authorization',
  decode(bytes) {
    const state = bytes === undefined ? NO_AUTH : decodeAuthState(bytes);
    if (state === undefined) throw new KvError('KV_CORRUPT', 'the state of authorization');
    return state;
  },
  encode: encodeAuthState,
};

/** Changes who may do what, for the whole cluster. */
export class AuthAdmin {
  readonly #parts: AuthAdminParts;
  readonly #editor: MetaEditor<AuthState>;

  constructor(parts: AuthAdminParts) {
    this.#parts = parts;
    this.#editor = new MetaEditor(parts, STATE);
  }

  /**
   * Resolves when every member goes by the new state, or has stopped serving because it could not be told; authorization counts as
   * enabled only when every member has said so.
   *
   * Errors: those of {@link applyAuthChange}; KV_TIMEOUT; to enable, KV_UNAVAILABLE while a member does not answer.
   */
  async change(change: AuthChange): Promise<AuthState> {
    const enables = change.kind === 'enable' || (change.kind === 'restore' && change.from.enabled);
    if (enables) await this.#checkAllAnswer();
    const { value, isChanged } = await this.#editor.update((state) => {
      const next = applyAuthChange(state, change);
      return next === state ? undefined : checkedSize(next);
    });
    await this.#parts.source.confirm();
    if (isChanged || enables) await this.#spread(value, enables);
    return value;
  }

  /** A member that serves without knowing would serve everybody. */
  async #checkAllAnswer(): Promise<void> {
    const { others, source } = this.#parts;
    const silent = await this.#silent(others(), source.state.version);
    if (silent.length === 0) return;
    throw new KvError('KV_UNAVAILABLE', `${this.#names(silent)} cannot be told of it`, {
      details: { hint: 'start every member, or remove those that are gone, then enable it' },
    });
  }

  /** Those of the members that do not say that they go by the version. */
  async #silent(members: readonly MemberId[], version: number): Promise<readonly MemberId[]> {
    if (members.length === 0) return [];
    const question = { members, payload: encodeAuthQuestion(version), timeoutMs: ASK_MS };
    const answers = await askMembers(this.#parts.peers, question);
    return members.filter((member) => {
      const answer = answers.get(member);
      return !isPlain(answer) || answer['holds'] !== true;
    });
  }

  async #spread({ version, enabled }: AuthState, enables: boolean): Promise<void> {
    const { clock, freshMs, others } = this.#parts;
    const endMs = clock.nowMs() + freshMs * MARGIN;
    let silent = await this.#silent(others(), version);
    // While everybody may do everything nobody has to know who may do what.
    while (enabled && silent.length > 0 && clock.nowMs() < endMs) {
      if (!enables) silent = await this.#mayServe(silent);
      if (silent.length === 0) return;
      await pause(RETRY_MS);
      silent = await this.#silent(silent, version);
    }
    // Whoever did not hear of it has not been confirmed for so long, and serves nobody.
    if (silent.length === 0 || !enables) return;
    const text = `authorization is enabled, but ${this.#names(silent)} may not know: stop them, or enable it again`;
    throw new KvError('KV_TIMEOUT', text);
  }

  async #mayServe(members: readonly MemberId[]): Promise<readonly MemberId[]> {
    const silent = await this.#parts.silentAmong(members);
    return members.filter((member) => !silent.includes(member));
  }

  #names(members: readonly MemberId[]): string {
    return members.map((id) => `${this.#parts.nameOf(id)} (${formatId(id)})`).join(', ');
  }
}

function checkedSize(state: AuthState): AuthState {
  const actual = encodeAuthState(state).length;
  if (actual <= STATE_BYTES_MAX) return state;
  const details = { limit: STATE_BYTES_MAX, actual };
  throw new KvError('KV_INVALID_ARGUMENT', 'too many users and roles', { details });
}
