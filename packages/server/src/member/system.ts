import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Clock, Rng } from '@kvorum/ports';

/** The machine's clocks and timers. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** The operating system's randomness. */
export const systemRng: Rng = {
  integer: (fromInclusive, toExclusive) => randomInt(fromInclusive, toExclusive),
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/** SHA-256 over the parts, one after the other; 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** Resolves after `delayMs`, or as soon as `signal` aborts. */
export function pause(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const timer = setTimeout(finish, delayMs);
    function finish(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    }
    signal?.addEventListener('abort', finish);
  });
}
