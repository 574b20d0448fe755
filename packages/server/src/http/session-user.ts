import { type Needs, needsOf, noNeeds } from '@kvorum/auth';
import { KvError, type KvRequest } from '@kvorum/base';
import {
  CONTROL_METHODS,
  type ControlMethod,
  type Credentials,
  OP,
  type RequestItem,
} from '@kvorum/wire';
import { hasLeases } from '../auth/auth-gate.ts';
import type { Identity } from '../auth/identity.ts';
import type { MemberAuth } from '../auth/member-auth.ts';

/** Who may use a control method: whoever has logged in, or root alone. */
const CONTROL_RULES: Readonly<Record<ControlMethod, 'user' | 'root'>> = {
  status: 'user',
  members: 'user',
  shards: 'user',
  health: 'user',
  moves: 'user',
  transfer: 'root',
  hash: 'root',
  changeMember: 'root',
  moveReplica: 'root',
  log: 'root',
  reshard: 'root',
  slots: 'root',
  recover: 'root',
};

function requestOf(item: RequestItem): KvRequest {
  if (item[1] === OP.put) return { op: 'put', key: item[4], value: item[5] };
  return item[1] === OP.get ? { op: 'range', key: item[2] } : item[4];
}

/** The user of one native connection, and what that user may do. */
export class SessionUser {
  readonly #auth: MemberAuth;
  #who: Identity | undefined;

  constructor(auth: MemberAuth) {
    this.#auth = auth;
  }

  /** Nobody is asked who they are. */
  get isOpen(): boolean {
    return this.#auth.source.isOpen;
  }

  get name(): string {
    return this.#who?.user ?? '';
  }

  /** Errors: KV_USER_EMPTY, KV_AUTH_FAILED, KV_UNAUTHENTICATED, KV_AUTH_OLD_REVISION, KV_TOO_MANY_REQUESTS, KV_UNAVAILABLE. */
  async logIn(shown: Credentials | undefined): Promise<void> {
    const { gate } = this.#auth;
    await gate.ready(undefined);
    if (!gate.isEnabled) return;
    if (shown === undefined) throw new KvError('KV_USER_EMPTY');
    this.#who =
      'token' in shown
        ? gate.identify(shown.token)
        : await gate.logInAgain(shown.user, shown.password);
  }

  /** Why the user may not do this; leases are not looked at. */
  forbidden(needs: Needs): KvError | undefined {
    return this.isOpen ? undefined : this.#auth.gate.refusal(this.#who, needs);
  }

  /** Why the connection cannot go on: its user is none any more, or it has shown none. */
  lost(): KvError | undefined {
    const refusal = this.forbidden(noNeeds());
    return refusal?.code === 'KV_UNAVAILABLE' ? undefined : refusal;
  }

  /** The same for a request; a promise when it takes a look at leases. */
  refusalOf(item: RequestItem): KvError | undefined | Promise<KvError | undefined> {
    const needs = needsOf(requestOf(item));
    const refusal = this.forbidden(needs);
    if (refusal !== undefined || !hasLeases(needs)) return refusal;
    return this.#auth.gate.authorize(this.#who, needs).then(
      () => undefined,
      (error: KvError) => error,
    );
  }

  /** The same for a control method; one that does not exist is nobody's secret. */
  refusalOfControl(method: string): KvError | undefined {
    const known = CONTROL_METHODS.find((name) => name === method);
    const isRoot = known !== undefined && CONTROL_RULES[known] === 'root';
    return this.forbidden({ ...noNeeds(), root: isRoot });
  }
}
