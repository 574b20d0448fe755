import { fromUtf8, utf8 } from './bytes.ts';

/** Who asked for a write, as far as known; empty = unknown. At least one of the two is known. */
export interface Origin {
  /** Name of the authenticated user. */
  readonly user: string;
  /** What the client calls itself. Nobody checks it. */
  readonly client: string;
}

/** A longer name is cut: it is repeated in every record of the log. */
export const ORIGIN_NAME_BYTES_MAX = 64;

/** Control characters, which would reach the terminal of whoever reads the names. */
const CONTROL = /\p{Cc}+/gu;
/** Bytes of a character after its first are 10xxxxxx. */
const CONTINUATION_MASK = 0xc0;
const CONTINUATION = 0x80;

/** The origin of one client's writes; undefined when nothing is known of it. Keep the object: equal ones cost a look-up each. */
export function originOf(user: string, client: string): Origin | undefined {
  const origin = { user: cleanName(user), client: cleanName(client) };
  return origin.user === '' && origin.client === '' ? undefined : origin;
}

function cleanName(name: string): string {
  // Cut before anything is searched: nobody has checked the length yet.
  const bytes = utf8(name.slice(0, ORIGIN_NAME_BYTES_MAX).replace(CONTROL, ' ').trim());
  let end = Math.min(bytes.length, ORIGIN_NAME_BYTES_MAX);
  while (((bytes[end] ?? 0) & CONTINUATION_MASK) === CONTINUATION) end -= 1;
  return fromUtf8(bytes.subarray(0, end)).trim();
}
