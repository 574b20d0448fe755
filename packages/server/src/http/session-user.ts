import { type Needs, needsOf, noNeeds } from '@kvorum/auth';
import { KvError, type KvRequest, type Result } from '@kvorum/base';
import {
  type AuthParams,
  CONTROL_METHODS,
  type ControlMethod,
  type Credentials,
  OP,
  parseAuthParams,
  parseLeaseParams,
  parseLeaseTimeParams,
  type RequestItem,
} from '@kvorum/wire';
import { type Caller, needsToSeeRole, needsToSeeUser, rootNeeds } from '../auth/admin-needs.ts';
import { hasLeases } from '../auth/auth-gate.ts';
import type { Identity } from '../auth/identity.ts';
import { needsOfLease, needsOfLeaseList, needsOfLeaseTime } from '../auth/lease-needs.ts';
import type { MemberAuth } from '../auth/member-auth.ts';

/** Who may use a control method: whoever has logged in, root alone, or whoever has what the function says of its parameters. */
type ControlRule = 'user' | 'root' | ((params: unknown, caller: Caller) => Needs);

/** What is malformed is refused when it is run, and does nothing. */
function needs<T>(
  parse: (params: unknown) => Result<T, KvError>,
  of: (params: T, caller: Caller) => Needs,
): ControlRule {
  return (given, caller) => {
    const parsed = parse(given);
    return parsed.ok ? of(parsed.value, caller) : noNeeds();
  };
}

/** As the table of etcd's Auth service in etcd/guard/rules.ts. */
function needsOfAuth(params: AuthParams, caller: Caller): Needs {
  switch (params.action) {
    case 'status':
    case 'logIn':
      return noNeeds();
    case 'getUser':
      return needsToSeeUser(params.user, caller);
    case 'getRole':
      return needsToSeeRole(params.role, caller);
    default:
      return rootNeeds();
  }
}

const CONTROL_RULES: Readonly<Record<ControlMethod, ControlRule>> = {
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
  leaseGrant: 'user',
  leaseRevoke: needs(parseLeaseParams, ({ id }) => needsOfLease(id)),
  leaseKeepAlive: 'user',
  leaseTimeToLive: needs(parseLeaseTimeParams, ({ id, keys = false }) =>
    needsOfLeaseTime(id, { keys }),
  ),
  leases: needsOfLeaseList,
  auth: needs(parseAuthParams, needsOfAuth),
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
    return this.#refusal(needsOf(requestOf(item)));
  }

  /** The same for a control method; one that does not exist is nobody's secret. */
  refusalOfControl(
    method: string,
    params: unknown,
  ): KvError | undefined | Promise<KvError | undefined> {
    const known = CONTROL_METHODS.find((name) => name === method);
    const rule = known === undefined ? 'user' : CONTROL_RULES[known];
    if (rule === 'user') return this.forbidden(noNeeds());
    if (rule === 'root') return this.forbidden(rootNeeds());
    return this.#refusal(rule(params, { user: this.name, state: this.#auth.source.state }));
  }

  #refusal(wanted: Needs): KvError | undefined | Promise<KvError | undefined> {
    const refusal = this.forbidden(wanted);
    if (this.isOpen || refusal !== undefined || !hasLeases(wanted)) return refusal;
    return this.#auth.gate.authorize(this.#who, wanted).then(
      () => undefined,
      (error: KvError) => error,
    );
  }
}
