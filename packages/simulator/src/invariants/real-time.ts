import { describeOp, type OpRecord, type WatchRecord } from '../history.ts';

interface Sighting {
  readonly at: number;
  readonly revision: number;
  readonly by: string;
}

/**
 * Time does not go back: a linearizable operation that starts after anybody saw a revision (in an answer, stale or not, or in a
 * watch, on any member) answers from that revision or a later one. Ops and watches of one shard. Returns what is wrong.
 */
export function checkRealTime(ops: readonly OpRecord[], watches: readonly WatchRecord[]): string[] {
  const sightings = [
    ...ops.flatMap(ofOp),
    ...watches.flatMap(({ name, shown }) =>
      shown.map(([at, revision]) => ({ at, revision, by: name })),
    ),
  ].sort((a, b) => a.at - b.at);
  const asked = ops.filter(isLinearizable).sort((a, b) => a.start - b.start);
  const problems: string[] = [];
  let newest: Sighting = { at: 0, revision: 0, by: 'nobody' };
  let next = 0;
  for (const op of asked) {
    for (;;) {
      const seen = sightings[next];
      if (seen === undefined || seen.at > op.start) break;
      if (seen.revision > newest.revision) newest = seen;
      next += 1;
    }
    const { outcome } = op;
    if (outcome?.kind !== 'ok' || outcome.revision >= newest.revision) continue;
    const found = `answered @${outcome.revision} after ${newest.by} had seen @${newest.revision}`;
    problems.push(`op ${op.id} of ${op.client} (${describeOp(op.op)}) ${found}`);
  }
  return problems;
}

function ofOp({ client, end, outcome, op }: OpRecord): Sighting[] {
  if (end === undefined || outcome?.kind !== 'ok' || op.kind === 'compact') return [];
  return [{ at: end, revision: outcome.revision, by: client }];
}

function isLinearizable({ op }: OpRecord): boolean {
  return op.kind !== 'compact' && !(op.kind === 'list' && op.stale);
}
