import { AUTH_STATE_KEY } from '@kvorum/auth';
import { formatId, isPlain, KvError, type Limits, META_SHARD, type MemberId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { systemRng } from '../member/system.ts';
import { encodeAuthQuestion } from '../router/forward.ts';
import type { Router } from '../router/router.ts';
import { readSecretBytes } from '../setting-file.ts';
import { AuthAdmin, MARGIN } from './auth-admin.ts';
import { AuthGate } from './auth-gate.ts';
import { AuthStateSource } from './auth-state-source.ts';
import { enabledMark } from './enabled-mark.ts';
import { JwtTokens } from './jwt.ts';
import { Passwords } from './passwords.ts';
import { SilentMembers } from './silent-members.ts';
import { SimpleTokens } from './simple-tokens.ts';
import type { Tokens } from './tokens.ts';

/** A shorter time would take a slow heartbeat for being cut off. */
const FRESH_MS_MIN = 3000;
/** Beyond the longest election timeout: an election of the meta group stops nobody. */
const ELECTION_MARGIN_MS = 1000;
/** Beyond the time that a confirmation counts: who was silent for so long is not confirmed. */
const SILENCE_MARGIN_MS = 1000;
const ASK_MS = 1000;
/** A new member waits so long for the meta group to say who may do what; then it refuses requests until it does. */
const FIRST_MS = 5000;

/** What the configuration says about authorization at this member. */
export interface AuthSetup {
  readonly config: Pick<KvdConfig, 'auth' | 'clusterToken'>;
  /** The member's data directory. */
  readonly directory: string;
  /** This member was none before. */
  readonly isFresh: boolean;
}

export interface MemberAuthParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: Pick<Limits, 'electionMsMax' | 'requestTimeoutMs'>;
  readonly router: Pick<Router, 'onMeta'>;
  readonly replica: (shard: string) => Replica | undefined;
  readonly peers: Pick<PeerTransport, 'request'>;
  readonly others: () => readonly MemberId[];
  readonly nameOf: (member: MemberId) => string;
}

/** Authorization of one member: the state, who gets through, and changes of it. Errors: KV_CONFIG for a key that cannot be used. */
export class MemberAuth {
  readonly source: AuthStateSource;
  readonly gate: AuthGate;
  readonly admin: AuthAdmin;
  readonly silent: SilentMembers;
  readonly #clock: Clock;
  readonly #isFresh: boolean;
  readonly #parts: MemberAuthParts;

  constructor(setup: AuthSetup, parts: MemberAuthParts) {
    const { clock, limits } = parts;
    const { config, directory, isFresh } = setup;
    const freshMs = Math.max(FRESH_MS_MIN, limits.electionMsMax + ELECTION_MARGIN_MS);
    const mark = enabledMark(directory);
    this.#clock = clock;
    this.#parts = parts;
    this.#isFresh = isFresh;
    const meta = (): Replica => {
      const replica = parts.replica(META_SHARD);
      if (replica === undefined) throw new KvError('KV_UNAVAILABLE', 'the meta group is not open');
      return replica;
    };
    this.source = new AuthStateSource({ ...parts, meta, mark, isFresh, freshMs });
    const passwords = new Passwords(config.auth.bcryptCost);
    const tokens = tokensOf(setup, clock);
    this.gate = new AuthGate({ clock, limits, source: this.source, tokens, passwords });
    const silenceMs = freshMs * MARGIN + SILENCE_MARGIN_MS;
    const confirmed = (): Promise<unknown> => {
      const deadlineMs = clock.nowMs() + freshMs;
      return parts.router.onMeta({ op: 'range', key: AUTH_STATE_KEY }, { deadlineMs });
    };
    this.silent = new SilentMembers({ clock, replica: parts.replica, confirmed, silenceMs });
    const silentAmong = (members: readonly MemberId[]): Promise<readonly MemberId[]> =>
      this.#silentAmong(members);
    this.admin = new AuthAdmin({ ...parts, source: this.source, freshMs, silentAmong });
  }

  /** Version of the state that requests are let through by; undefined while authorization is not enabled. */
  get version(): number | undefined {
    return this.source.isEnabled ? this.source.state.version : undefined;
  }

  async start(): Promise<void> {
    await this.source.start();
    if (!this.#isFresh) return;
    try {
      await this.source.ready(this.#clock.nowMs() + FIRST_MS);
    } catch {
      // Requests are refused with the reason until it is ready.
    }
  }

  /** Answers another member: whether this one goes by that version, and which of the members named serve nobody. */
  async serve(version: number, members: readonly string[]): Promise<unknown> {
    const holds = await this.source.holds(version);
    if (members.length === 0) return { holds };
    const asked = this.#parts.others().filter((member) => members.includes(formatId(member)));
    return { holds, silent: (await this.silent.among(asked)).map(formatId) };
  }

  /** As the leader of the meta group knows it; nobody when that cannot be asked. */
  async #silentAmong(members: readonly MemberId[]): Promise<readonly MemberId[]> {
    const { peers, replica } = this.#parts;
    try {
      const raft = replica(META_SHARD)?.status().raft;
      if (raft?.role === 'leader') return await this.silent.among(members);
      if (raft?.leader === undefined) return [];
      const payload = encodeAuthQuestion(this.source.state.version, members.map(formatId));
      const signal = AbortSignal.timeout(ASK_MS);
      const answer = await peers.request(raft.leader, payload, { signal });
      const named = isPlain(answer) ? answer['silent'] : undefined;
      return Array.isArray(named) ? members.filter((one) => named.includes(formatId(one))) : [];
    } catch {
      return []; // then their time is waited for
    }
  }
}

function tokensOf({ config }: AuthSetup, clock: Clock): Tokens {
  const { token, tokenTtlMs: ttlMs, jwt } = config.auth;
  if (token === 'simple' || jwt === undefined) {
    const secret = config.clusterToken ?? '';
    return new SimpleTokens({ clock, rng: systemRng, secret, ttlMs });
  }
  const key = readSecretBytes('auth.jwt.keyFile', jwt.keyFile);
  return new JwtTokens({ clock, method: jwt.signMethod, key, ttlMs });
}
