import { hash, randomBytes, randomInt } from 'node:crypto';
import { concatBytes } from '@kvorum/base';
import type { Clock, Rng } from '@kvorum/ports';

/** Node's timers run at once when they are set for longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The machine's clocks and timers; a timer beyond 24 days runs then. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, TIMER_MS_MAX));
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
  // One call for all: an object that is fed part by part costs twice the time for a small record.
  const [first] = parts;
  const bytes = parts.length === 1 && first !== undefined ? first : concatBytes(...parts);
  // By way of text: a buffer that Node allocates for the digest costs twice as much as the digest itself.
  const text = hash('sha256', bytes, 'binary');
  const digest = new Uint8Array(text.length);
  for (let i = 0; i < digest.length; i += 1) digest[i] = text.charCodeAt(i);
  return digest;
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
