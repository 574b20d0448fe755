import type { AuthGate } from '../../auth/auth-gate.ts';
import type { AuthStateSource } from '../../auth/auth-state-source.ts';
import type { Identity } from '../../auth/identity.ts';
import type { HeaderMaker } from '../header.ts';
import type { Call } from '../service.ts';

/** What guards need of the member. */
export interface GuardParts {
  readonly gate: AuthGate;
  readonly source: AuthStateSource;
  readonly headers: HeaderMaker;
}

const BEARER = /^Bearer /i;

/** Who calls; undefined when the call does not say. Errors: KV_UNAUTHENTICATED, KV_AUTH_OLD_REVISION. */
export function callerOf(gate: AuthGate, call: Pick<Call, 'metadata'>): Identity | undefined {
  const token = call.metadata.get('token') ?? call.metadata.get('authorization');
  return token === undefined ? undefined : gate.identify(token.replace(BEARER, ''));
}
