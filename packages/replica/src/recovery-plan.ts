import { quorumSize } from '@kvorum/raft';
import type { RecoveryReport } from './recovery-report.ts';

/** A replica that answered, by the name of its member. */
export interface Recoverable {
  readonly member: string;
  readonly report: RecoveryReport;
}

/**
 * How a replica's history stands to another one's. `older`: of a generation that the shard has left. `unknown`: longer or shorter,
 * and it can no longer be told whether one is the begin of the other.
 */
export type HistoryRelation = 'same' | 'behind' | 'ahead' | 'differs' | 'older' | 'unknown';

/** What is lost of one replica's state when the shard goes on from another one's. */
export interface RecoveryLoss {
  readonly member: string;
  readonly relation: HistoryRelation;
  /** Records that it has applied and the chosen one has not; a lower bound when `relation` is `differs` or `unknown`. */
  readonly records: number;
  /** Revisions that it has shown and the chosen one has not. */
  readonly revisions: number;
}

export interface RecoveryChoice {
  readonly member: string;
  /** Why this one, in a sentence. */
  readonly why: string;
}

/** How `a` stands to `b`. */
export function relationOf(a: RecoveryReport, b: RecoveryReport): HistoryRelation {
  if (a.generation !== b.generation) return a.generation < b.generation ? 'older' : 'ahead';
  if (a.index === b.index) return a.chainHash === b.chainHash ? 'same' : 'differs';
  const [short, long] = a.index < b.index ? [a, b] : [b, a];
  const point = long.history.find(([index]) => index === short.index);
  if (point === undefined) return 'unknown';
  if (point[1] !== short.chainHash) return 'differs';
  return short === a ? 'behind' : 'ahead';
}

function holds(a: RecoveryReport, b: RecoveryReport): boolean {
  const relation = relationOf(a, b);
  return relation === 'same' || (relation === 'ahead' && a.generation === b.generation);
}

/** Highest index at which both are known to agree; undefined = none that is known. */
function commonIndex(a: RecoveryReport, b: RecoveryReport): number | undefined {
  const other = new Map(b.history);
  const shared = a.history.filter(([index, hash]) => other.get(index) === hash);
  return shared.at(-1)?.[0];
}

const byLength = (a: Recoverable, b: Recoverable): number => b.report.index - a.report.index;

/** A replica whose own disk or state failed is the last to build on among equals. */
const byHealth = (a: Recoverable, b: Recoverable): number => Number(failed(a)) - Number(failed(b));
const failed = ({ report }: Recoverable): boolean => report.halted?.reason === 'apply-failed';

/**
 * Which replica a shard should go on from: of the newest generation, the longest history that contains what a majority shares; when
 * no majority shares one, the longest.
 *
 * @param voters - how many replicas the shard has, those that did not answer too.
 */
export function chooseReplica(
  found: readonly Recoverable[],
  voters: number,
): RecoveryChoice | undefined {
  const newest = Math.max(-1, ...found.map(({ report }) => report.generation));
  const candidates = found
    .filter(({ report }) => report.generation === newest)
    .sort((a, b) => byLength(a, b) || byHealth(a, b));
  const quorum = quorumSize(voters);
  const sharers = (one: Recoverable): number =>
    candidates.filter(({ report }) => holds(report, one.report)).length;
  const shared = candidates.find((one) => sharers(one) >= quorum);
  if (shared === undefined) {
    const [longest] = candidates;
    if (longest === undefined) return undefined;
    const why = `no history is shared by ${quorum} of ${voters} replicas; this one is the longest`;
    return { member: longest.member, why };
  }
  const best = candidates.find(({ report }) => holds(report, shared.report)) ?? shared;
  const base = `${sharers(shared)} of ${voters} replicas share its first ${shared.report.index} records`;
  const more = best.report.index - shared.report.index;
  const why = more === 0 ? base : `${base}, and it holds ${more} more`;
  return { member: best.member, why };
}

/** What every other replica would lose. */
export function lossesBy(chosen: Recoverable, found: readonly Recoverable[]): RecoveryLoss[] {
  return found
    .filter((one) => one !== chosen)
    .map(({ member, report }) => {
      const relation = relationOf(report, chosen.report);
      const isGone = relation === 'differs' || relation === 'unknown' || relation === 'ahead';
      const revisions = Math.max(0, report.revision - chosen.report.revision);
      if (!isGone) return { member, relation, records: 0, revisions };
      const common =
        relation === 'differs' ? commonIndex(report, chosen.report) : chosen.report.index;
      const records = Math.max(0, report.index - (common ?? report.index - 1));
      return { member, relation, records, revisions };
    });
}
