import { RANGE_END_OPEN } from '@kvorum/base';
import { eachRow, getMany, type Reading } from './reading.ts';
import { revisionKey } from './row-codec.ts';
import { HashSum } from './state-hash.ts';
import { type Snapshot, VisibleScan } from './visible.ts';

/**
 * A digest of the keys' history from `compactRevision` through `revision`, and of what stood before it: what can be read at any of these
 * revisions. Equal on replicas that have the same history there, however far each of them has come; sessions and leases do not count.
 */
export function* digestHistory(revision: number, compactRevision: number): Reading<string> {
  const sum = new HashSum();
  const end = revisionKey(revision + 1, 0);
  const from = revisionKey(Math.max(0, compactRevision), 0);
  yield* eachRow(from, end, (_, row) => sum.addRow(row));
  if (compactRevision > 0) yield* addStanding(sum, compactRevision);
  return sum.hex(revision, compactRevision);
}

/** What was there at the compacted revision and is older: of each key the newest version, which compaction keeps. */
function* addStanding(sum: HashSum, compactRevision: number): Reading<void> {
  const snapshot: Snapshot = {
    revision: compactRevision,
    compactRevision: () => compactRevision,
    knownHead: () => undefined,
    overlay: () => [],
    localRow: () => undefined,
    hides: () => false,
  };
  const everything = { key: Uint8Array.of(0), rangeEnd: RANGE_END_OPEN };
  const scan = new VisibleScan(snapshot, everything, compactRevision);
  while (!scan.done) {
    const older = (yield* scan.next()).filter(({ head }) => head.modMain < compactRevision);
    const keys = older.map(({ head }) => revisionKey(head.modMain, head.modSub));
    for (const row of yield* getMany(keys)) if (row !== undefined) sum.addRow(row);
  }
}
