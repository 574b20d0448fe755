import { KvError, type Limits, META_SHARD, type MemberId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { systemRng } from '../member/system.ts';
import type { Router } from '../router/router.ts';
import { readSecretBytes } from '../setting-file.ts';
import { AuthAdmin } from './auth-admin.ts';
import { AuthGate } from './auth-gate.ts';
import { AuthStateSource } from './auth-state-source.ts';
import { enabledMark } from './enabled-mark.ts';
import { JwtTokens } from './jwt.ts';
import { Passwords } from './passwords.ts';
import { SimpleTokens } from './simple-tokens.ts';
import type { Tokens } from './tokens.ts';

/** A shorter time would take a slow heartbeat for being cut off. */
const FRESH_MS_MIN = 3000;
/** Beyond the longest election timeout: an election of the meta group stops nobody. */
const ELECTION_MARGIN_MS = 1000;
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
  readonly #clock: Clock;
  readonly #isFresh: boolean;

  constructor(setup: AuthSetup, parts: MemberAuthParts) {
    const { clock, limits } = parts;
    const { config, directory, isFresh } = setup;
    const freshMs = Math.max(FRESH_MS_MIN, limits.electionMsMax + ELECTION_MARGIN_MS);
    const mark = enabledMark(directory);
    this.#clock = clock;
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
    this.admin = new AuthAdmin({ ...parts, source: this.source, freshMs });
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

  /** Answers another member. */
  async serve(version: number): Promise<unknown> {
    return { holds: await this.source.holds(version) };
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
