import { err, type KvError, type Result } from '@kvorum/base';
import { CONTROL_METHODS, FRAME, packFrame, plainError } from '@kvorum/wire';
import type { Host } from '../host.ts';
import { handleControl } from './control.ts';
import type { SessionUser } from './session-user.ts';

/** Runs a control method for the user of a connection, if it is allowed. Never rejects. */
export async function controlFor(
  host: Host,
  user: SessionUser,
  [method, params]: readonly [method: string, params: unknown],
): Promise<Result<unknown, KvError>> {
  const forbidden = await user.refusalOfControl(method, params);
  return forbidden === undefined ? handleControl(host, method, params) : err(forbidden);
}

/** The frame that answers a control method; it is counted. */
export function controlAnswer(
  host: Host,
  [id, method]: readonly [id: number, method: string],
  answer: Result<unknown, KvError>,
): Uint8Array {
  const name = CONTROL_METHODS.find((known) => known === method) ?? 'other';
  host.metrics.requests.count('session', name, answer.ok ? 'OK' : answer.error.code);
  const error = answer.ok ? null : plainError(answer.error);
  return packFrame([FRAME.controlResponse, id, error, answer.ok ? answer.value : null]);
}
