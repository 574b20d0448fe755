import { type AuthState, type Needs, noNeeds } from '@kvorum/auth';

/** Who calls, and what holds now. */
export interface Caller {
  readonly user: string;
  readonly state: AuthState;
}

/** The role root. */
export function rootNeeds(): Needs {
  return { ...noNeeds(), root: true };
}

/** To see the roles of a user: one's own everybody may. */
export function needsToSeeUser(name: string, { user }: Caller): Needs {
  return name === user ? noNeeds() : rootNeeds();
}

/** To see the permissions of a role: those of one's own everybody may. */
export function needsToSeeRole(role: string, { user, state }: Caller): Needs {
  return state.users.get(user)?.roles.includes(role) === true ? noNeeds() : rootNeeds();
}
