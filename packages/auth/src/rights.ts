import { type AuthState, type PermissionKind, ROOT } from './auth-state.ts';
import { KeySpans, spanOf } from './key-spans.ts';
import type { Needs } from './needs.ts';

/** What a user may do, all roles together. */
export interface Rights {
  readonly isRoot: boolean;
  readonly reads: KeySpans;
  readonly writes: KeySpans;
}

/** Undefined when there is no such user. Keep the answer for as long as the state lasts. */
export function rightsOf(state: AuthState, name: string): Rights | undefined {
  const user = state.users.get(name);
  if (user === undefined) return undefined;
  const permissions = user.roles.flatMap((role) => state.roles.get(role)?.permissions ?? []);
  const spans = (without: PermissionKind): KeySpans =>
    new KeySpans(
      permissions
        .filter(({ kind }) => kind !== without)
        .map(({ key, rangeEnd }) => spanOf(key, rangeEnd)),
    );
  return {
    isRoot: user.roles.includes(ROOT),
    reads: spans('write'),
    writes: spans('read'),
  };
}

/** Whether everything a request needs is allowed; the keys of its leases are for the caller to ask about. */
export function allows(rights: Rights, needs: Needs): boolean {
  if (rights.isRoot) return true;
  return (
    !needs.root &&
    needs.reads.every((span) => rights.reads.covers(span)) &&
    needs.writes.every((span) => rights.writes.covers(span))
  );
}
