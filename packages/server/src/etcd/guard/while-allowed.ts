import type { KvError } from '@kvorum/base';
import type { AuthStateSource } from '../../auth/auth-state-source.ts';

/**
 * Runs a call for as long as nothing speaks against it: `refusal` is asked after every change of who may do what, but while everybody
 * may do everything. The signal given to `run` aborts then too. Errors: that refusal; those of the run.
 */
export async function whileAllowed<Answer>(
  source: AuthStateSource,
  caller: AbortSignal,
  refusal: () => KvError | undefined,
  run: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const over = new AbortController();
  let end: (refused: KvError) => void = () => undefined;
  const ended = new Promise<never>((_, reject) => {
    end = reject;
  });
  ended.catch(() => undefined); // heard by the race below, unless that is over
  const stop = source.onChange(() => {
    const refused = source.isOpen ? undefined : refusal();
    if (refused === undefined) return;
    end(refused);
    over.abort();
  });
  try {
    return await Promise.race([run(AbortSignal.any([caller, over.signal])), ended]);
  } finally {
    stop();
  }
}
