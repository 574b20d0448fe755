import type { AuthState } from '@kvorum/auth';
import { KvError } from '@kvorum/base';

/** Who somebody has shown to be. */
export interface Identity {
  readonly user: string;
  /** `since` of the user when it was shown; absent: `revision` says when. */
  readonly since?: number;
  /** etcd's authRevision when the token was issued. */
  readonly revision?: number;
  /** A certificate names the user, who may exist or not. */
  readonly isByCertificate?: true;
}

/** Why an identity counts nothing any more; undefined while it does. */
export function expiredIdentity(identity: Identity, state: AuthState): KvError | undefined {
  const user = state.users.get(identity.user);
  if (user === undefined) {
    return new KvError(identity.isByCertificate ? 'KV_PERMISSION_DENIED' : 'KV_UNAUTHENTICATED');
  }
  if (identity.since !== undefined && identity.since !== user.since) {
    return new KvError('KV_UNAUTHENTICATED');
  }
  if (identity.revision !== undefined && identity.revision < state.revision) {
    return new KvError('KV_AUTH_OLD_REVISION');
  }
  return undefined;
}
