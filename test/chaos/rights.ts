import { setTimeout as pause } from 'node:timers/promises';
import type { Door } from './at-member.ts';
import { base64, callGateway, GatewayError } from './gateway.ts';
import { PREFIX } from './key-space.ts';
import { LOCK_PREFIX } from './lock-users.ts';

const PASSWORD = 'chaos';
const ENABLE_MS = 30_000;
const ATTEMPT_MS = 7000;
const PAUSE_MS = 200;

/** Tokens of the users of a cluster that has authorization. */
export interface Access {
  /** May do everything. */
  readonly root: string;
  /** May do what the load does. */
  readonly load: string;
}

/** Configuration of members whose users log in again and again, and whose tokens outlive any run. */
export const AUTH_CONFIG: Readonly<Record<string, unknown>> = {
  auth: { bcryptCost: 4, tokenTtlMs: 2_147_483_647 },
};

/** Who must never be told that the right is missing: everybody but this one. */
export const GUEST = 'guest';

type Json = Readonly<Record<string, unknown>>;

/** A request of authorization, repeated until it has certainly been done. `done`: part of the text with which that is said instead. */
export async function insistOn(
  doors: () => Door,
  path: string,
  body: Json,
  done = 'already exists',
): Promise<{ readonly attempts: number }> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      await callGateway(doors(), path, body, ATTEMPT_MS);
      return { attempts };
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      if (error.message.includes(done)) return { attempts };
    }
    await pause(PAUSE_MS);
  }
}

export function spanOf(prefix: string): { readonly key: string; readonly range_end: string } {
  const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  return { key: base64(prefix), range_end: base64(end) };
}

/** Users `root`, `load` and `guest`, and authorization enabled: nothing else has happened in the cluster yet. */
export async function enableAccess(endpoints: readonly string[]): Promise<Access> {
  const [endpoint = ''] = endpoints;
  const door = (): Door => ({ endpoint });
  for (const name of ['root', 'load', GUEST]) {
    await insistOn(door, 'auth/user/add', { name, password: PASSWORD });
  }
  await insistOn(door, 'auth/role/add', { name: 'root' });
  await insistOn(door, 'auth/user/grant', { user: 'root', role: 'root' });
  await insistOn(door, 'auth/role/add', { name: 'load' });
  for (const prefix of [PREFIX, LOCK_PREFIX]) {
    const perm = { permType: 'READWRITE', ...spanOf(prefix) };
    await insistOn(door, 'auth/role/grant', { name: 'load', perm });
  }
  await insistOn(door, 'auth/user/grant', { user: 'load', role: 'load' });
  await callGateway(door(), 'auth/enable', {}, ENABLE_MS);
  return { root: await logIn(door(), 'root'), load: await logIn(door(), 'load') };
}

/** A token. Errors: GatewayError. */
export async function logIn({ endpoint }: Door, name: string): Promise<string> {
  const body = { name, password: PASSWORD };
  const { token } = await callGateway({ endpoint }, 'auth/authenticate', body, ATTEMPT_MS);
  return String(token);
}
