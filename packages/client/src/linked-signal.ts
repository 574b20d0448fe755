/** A signal of others, until it is released. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** Stops to listen to the others; they may live for long. */
  readonly release: () => void;
}

/**
 * A signal that is aborted with the first of others, with its reason. (`AbortSignal.any` keeps what it made for as long as its sources
 * live in versions of Node that are supported.)
 */
export function linkSignals(sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const linked = new AbortController();
  const listening: (() => void)[] = [];
  const release = (): void => {
    for (const stop of listening.splice(0)) stop();
  };
  for (const source of sources) {
    if (source === undefined) continue;
    if (source.aborted) {
      linked.abort(source.reason);
      break;
    }
    const onAbort = (): void => {
      release();
      linked.abort(source.reason);
    };
    source.addEventListener('abort', onAbort, { once: true });
    listening.push(() => source.removeEventListener('abort', onAbort));
  }
  if (linked.signal.aborted) release();
  return { signal: linked.signal, release };
}
