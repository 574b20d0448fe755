import { keyAfter, type Reading, scanChunk } from './reading.ts';
import { revisionKey, revisionKeyMain } from './row-codec.ts';

/** Rows of [from, upTo], some at a time: at least one revision and only whole ones. */
export function* wholeRevisions(from: number, upTo: number): Reading<Uint8Array[]> {
  const chunk = yield* scanChunk(revisionKey(from, 0), revisionKey(upTo + 1, 0));
  const rows = chunk.map(([, row]) => row);
  let last = chunk.at(-1)?.[0];
  while (last !== undefined) {
    // The scan may have stopped inside the last revision: a txn's changes belong together.
    const end = revisionKey(revisionKeyMain(last) + 1, 0);
    const rest = yield* scanChunk(keyAfter(last), end);
    for (const [, row] of rest) rows.push(row);
    last = rest.at(-1)?.[0];
  }
  return rows;
}
