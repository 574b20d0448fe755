import { assert } from '@kvorum/base';

/**
 * Tries candidates one after the other, the next already when one has not answered within `hedgeMs`: a hung broker must
 * not hold up what another can answer. Resolves with the first success; rejects with the last failure when none succeeds.
 */
export function firstAnswer<Candidate, Answer>(
  candidates: readonly Candidate[],
  hedgeMs: number,
  attempt: (candidate: Candidate) => Promise<Answer>,
): Promise<Answer> {
  assert(candidates.length > 0, 'nobody to ask');
  return new Promise((resolve, reject) => {
    const waiting = [...candidates];
    let openCount = 0;
    let isDone = false;
    let timer: NodeJS.Timeout | undefined;
    const fail = (error: Error): void => {
      openCount -= 1;
      if (isDone) return;
      if (waiting.length > 0) launch();
      else if (openCount === 0) reject(error);
    };
    const succeed = (answer: Answer): void => {
      isDone = true;
      clearTimeout(timer);
      resolve(answer);
    };
    const launch = (): void => {
      clearTimeout(timer);
      const candidate = waiting.shift();
      if (candidate === undefined || isDone) return;
      openCount += 1;
      timer = setTimeout(launch, hedgeMs);
      attempt(candidate).then(succeed, fail);
    };
    launch();
  });
}
