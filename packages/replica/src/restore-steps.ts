import type { KvError } from '@kvorum/base';
import type { RestoreStep } from './api.ts';
import type { StateMachine } from './state-machine.ts';
import type { WritePath } from './write-path.ts';

/** Logs one step of a restore and waits until it is applied; a large rise of the revision takes several records. */
export async function logRestoreStep(
  step: RestoreStep,
  deadlineMs: number,
  host: {
    readonly refusal: KvError | undefined;
    readonly writes: WritePath;
    readonly machine: StateMachine;
  },
): Promise<void> {
  const { refusal, writes, machine } = host;
  if (refusal !== undefined) throw refusal;
  do {
    await new Promise<void>((resolve, reject) => {
      writes.submitPrepared({
        deadlineMs,
        make: () => machine.restorePayload(step),
        done: (result) => (result.ok ? resolve() : reject(result.error)),
      });
    });
  } while (step.kind === 'finish' && machine.revision < step.revision);
}
