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

/**
 * Who calls: by a token, else by the common name of the client's certificate; undefined when the call does not say. As etcd with
 * --client-cert-auth. Errors: KV_UNAUTHENTICATED, KV_AUTH_OLD_REVISION.
 */
export function callerOf(
  gate: AuthGate,
  call: Pick<Call, 'metadata' | 'commonName'>,
): Identity | undefined {
  const token = call.metadata.get('token') ?? call.metadata.get('authorization');
  if (token !== undefined) return gate.identify(token.replace(BEARER, ''));
  return call.commonName === undefined
    ? undefined
    : { user: call.commonName, isByCertificate: true };
}
