import type { WatchRecord } from '../history.ts';
import type { Change, Truth } from '../truth.ts';

/**
 * A watcher's events against the accepted history: in order, each once, whole revisions, none missing below where it stands, with
 * the right previous values. Returns what is wrong.
 */
export function checkWatch(watch: WatchRecord, truth: Truth): string[] {
  const skipped = (revision: number): boolean =>
    watch.skipped.some(([from, to]) => revision >= from && revision <= to);
  const due = truth.changes.filter(
    ({ revision, key }) =>
      revision >= watch.from &&
      revision < watch.next &&
      (watch.key === undefined || key === watch.key) &&
      !skipped(revision),
  );
  for (let i = 0; i < Math.max(due.length, watch.seen.length); i += 1) {
    const [expected, seen] = [due[i], watch.seen[i]];
    const same =
      expected !== undefined &&
      seen !== undefined &&
      expected.revision === seen.revision &&
      expected.key === seen.key &&
      expected.value === seen.value;
    if (!same) {
      const texts = `event ${i}: saw ${text(seen)}, expected ${text(expected)}`;
      return [`${watch.name} (from ${watch.from}, next ${watch.next}): ${texts}`];
    }
    const { previous } = seen;
    const before = truth.at(seen.key, seen.revision - 1)?.value;
    // A compaction may take a previous value away, it may not change it.
    const wrong = previous !== undefined && (!watch.withPrevious || previous !== before);
    if (wrong) return [`${watch.name}: ${text(seen)} had ${before} before, not ${previous}`];
  }
  return [];
}

function text(change: Change | undefined): string {
  return change === undefined
    ? 'nothing'
    : `${change.key}=${change.value ?? '(deleted)'}@${change.revision}`;
}
