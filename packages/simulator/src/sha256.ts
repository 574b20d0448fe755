import { hash } from 'node:crypto';
import { concatBytes } from '@kvorum/base';

/** SHA-256 over the parts, one after the other; 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  const whole = parts.length === 1 && first !== undefined ? first : concatBytes(...parts);
  // By way of text: a buffer that Node allocates for the digest costs twice as much as the digest itself.
  const text = hash('sha256', whole, 'binary');
  const digest = new Uint8Array(text.length);
  for (let i = 0; i < digest.length; i += 1) digest[i] = text.charCodeAt(i);
  return digest;
}
