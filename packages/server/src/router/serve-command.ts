import { KvError } from '@kvorum/base';
import { plainError } from '@kvorum/wire';
import type { Host } from '../host.ts';
import { encodeForwardAnswer, type ForwardedRequest } from './forward.ts';

/** Answers a client's command that another member's router sent here. Never rejects on a refusal. */
export async function serveCommand(
  host: Pick<Host, 'clock' | 'refusal' | 'router'>,
  forwarded: ForwardedRequest,
): Promise<unknown> {
  const { shard, request, timeoutMs, session, origin, mapVersion, authVersion } = forwarded;
  const refusal = host.refusal();
  if (refusal !== undefined)
    return { error: plainError(new KvError('KV_NO_LEADER', refusal.message)) };
  const result = await host.router.serveForwarded(shard, request, {
    deadlineMs: host.clock.nowMs() + timeoutMs,
    origin,
    authVersion,
    ...(session === undefined ? {} : { session }),
    ...(mapVersion === undefined ? {} : { mapVersion }),
  });
  return encodeForwardAnswer(result);
}
