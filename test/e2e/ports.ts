import { isFree } from '../../scripts/free-ports.ts';

/** The first client port for `kvd dev` with so many members: member i takes port + 10·i and the one above. */
export async function freeDevPort(members: number): Promise<number> {
  for (;;) {
    const first = 12_000 + Math.floor(Math.random() * 8000);
    const wanted = Array.from({ length: members }, (_, i) => [first + 10 * i, first + 10 * i + 1]);
    const free = await Promise.all(wanted.flat().map(isFree));
    if (free.every(Boolean)) return first;
  }
}

/** First digits of ports for `members` members: member i listens at `<digits>i1` and `<digits>i2`. */
export async function freePortDigits(members: number): Promise<string> {
  for (;;) {
    const digits = 120 + Math.floor(Math.random() * 80);
    const wanted = Array.from({ length: members }, (_, i) =>
      [1, 2].map((n) => 100 * digits + 10 * (i + 1) + n),
    );
    const free = await Promise.all(wanted.flat().map(isFree));
    if (free.every(Boolean)) return String(digits);
  }
}
