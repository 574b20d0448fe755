import type { KvError, SessionTag, WriteRequest } from '@kvorum/base';
import type { Executor } from './batch.ts';
import type { CommandResult } from './command.ts';
import type { Reading } from './reading.ts';
import type { SessionBatch } from './session-table.ts';

/** A command, and why the shard must not run it. */
interface Run {
  readonly request: WriteRequest;
  readonly refusal: KvError | undefined;
}

/** Runs a command once, whatever its client repeats. */
export function runCommand(
  executor: Executor,
  run: Run & {
    readonly sessions: SessionBatch | undefined;
    readonly session: SessionTag | undefined;
  },
): Reading<CommandResult> {
  const { sessions, session } = run;
  return session === undefined || sessions === undefined
    ? runOnce(executor, run)
    : executeTagged(executor, sessions, run, session);
}

function* runOnce(executor: Executor, { request, refusal }: Run): Reading<CommandResult> {
  if (refusal !== undefined) return { ok: false, error: refusal };
  return request.op === 'put' ? executor.put(request) : yield* executor.run(request);
}

/**
 * What the session says comes first: a write that was decided here before its slot left is answered here, as it was decided. And
 * a refusal that answers a repeated attempt is a decision too: an earlier attempt of it, still on its way, must not find the slot
 * back again.
 */
function* executeTagged(
  executor: Executor,
  sessions: SessionBatch,
  run: Run,
  tag: SessionTag,
): Reading<CommandResult> {
  const admission = sessions.admit(tag);
  if (admission.kind === 'answer') return admission.result;
  executor.sessionBytes = sessions.bytesMax;
  executor.ownSessionBytes = sessions.costOf(tag);
  if (executor.room < 0 && !executor.isFresh) return executor.recordFull();
  const isPut = run.refusal === undefined && run.request.op === 'put';
  const result = isPut ? executor.put(run.request) : yield* runOnce(executor, run);
  // Not decided but turned away: the client may send it again under the same seq, or elsewhere.
  const turnedAway =
    (!result.ok && result.error.code === 'KV_TOO_MANY_REQUESTS') ||
    (run.refusal !== undefined && !tag.retry);
  if (!turnedAway) sessions.record(tag, result, executor.room);
  executor.sessionBytes = sessions.bytesMax;
  executor.ownSessionBytes = 0;
  return result;
}
