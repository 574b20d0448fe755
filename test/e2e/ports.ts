import { isFree } from '../../scripts/free-ports.ts';

/** Below the ports of scripts/free-ports.ts, which other test files take meanwhile. */
const FIRST_DIGITS = 120;
const LAST_DIGITS = 139;

/** First digits of ports for `members` members: member i listens at `<digits>i1` and `<digits>i2`. */
export async function freePortDigits(members: number): Promise<string> {
  for (;;) {
    const digits = FIRST_DIGITS + Math.floor(Math.random() * (LAST_DIGITS - FIRST_DIGITS + 1));
    const wanted = Array.from({ length: members }, (_, i) =>
      [1, 2].map((n) => 100 * digits + 10 * (i + 1) + n),
    );
    const free = await Promise.all(wanted.flat().map(isFree));
    if (free.every(Boolean)) return String(digits);
  }
}
