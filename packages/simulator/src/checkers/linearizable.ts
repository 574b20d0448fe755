import { describeOp, type OpRecord } from '../history.ts';
import type { Truth } from '../truth.ts';

/**
 * Linearizability by revisions, after the revision-and-real-time order of etcd's own checks: every answer is what the accepted
 * history holds at the revision it names, and no operation names a revision below one that had been answered before it began.
 * O(n log n), and complete because each write's revision is unique in the log. Returns what is wrong.
 */
export function checkLinearizable(ops: readonly OpRecord[], truth: Truth): string[] {
  return [...ops.flatMap((record) => checkAnswer(record, truth)), ...checkRealTime(ops, truth)];
}

/** The answer of one operation against the state at its revision. */
function checkAnswer(record: OpRecord, truth: Truth): string[] {
  const { op, outcome } = record;
  if (outcome?.kind !== 'ok') return [];
  const { revision } = outcome;
  const wrong = (text: string): string[] => [
    `${record.client} #${record.id} ${describeOp(op)} @${revision}: ${text}`,
  ];
  if (revision > truth.revision) return wrong('names a revision that does not exist');
  switch (op.kind) {
    case 'get':
      return compareFound([op.key], record, truth);
    case 'list':
      return compareFound(truth.keys(), record, truth);
    case 'swap': {
      const stood = truth.at(op.key, outcome.changed ? revision - 1 : revision)?.value;
      if ((stood === op.expected) !== outcome.changed) {
        return wrong(`${outcome.changed ? 'made' : 'not made'} although the key held ${stood}`);
      }
      return outcome.changed ? [] : compareFound([op.key], record, truth);
    }
    case 'delete': {
      const stood = truth.at(op.key, outcome.changed ? revision - 1 : revision);
      return (stood !== undefined) === outcome.changed ? [] : wrong('deleted the wrong thing');
    }
    default:
      return [];
  }
}

function compareFound(keys: readonly string[], record: OpRecord, truth: Truth): string[] {
  const { op, outcome } = record;
  if (outcome?.kind !== 'ok') return [];
  const about = `${record.client} #${record.id} ${describeOp(op)} @${outcome.revision}`;
  const wrong: string[] = [];
  for (const key of keys) {
    const version = truth.at(key, outcome.revision);
    const expected = version === undefined ? undefined : `${version.value}@${version.revision}`;
    const found = outcome.found.get(key);
    if (found !== expected) wrong.push(`${about}: ${key} read ${found}, was ${expected}`);
  }
  const unknown = [...outcome.found.keys()].filter((key) => !keys.includes(key));
  return unknown.length === 0 ? wrong : [...wrong, `${about}: read unknown keys ${unknown}`];
}

interface Point {
  readonly at: number;
  readonly record: OpRecord;
  readonly revision: number;
  readonly begins: boolean;
}

function checkRealTime(ops: readonly OpRecord[], truth: Truth): string[] {
  const points: Point[] = [];
  for (const record of ops) {
    const revision = revisionOf(record, truth);
    if (revision === undefined || (record.op.kind === 'list' && record.op.stale)) continue;
    points.push({ at: record.start, record, revision, begins: true });
    // Nobody saw an answer of unknown outcome: it binds nothing that comes after it.
    const answered = record.outcome?.kind === 'ok' && record.end !== undefined;
    if (answered) points.push({ at: record.end as number, record, revision, begins: false });
  }
  points.sort((a, b) => a.at - b.at);
  const wrong: string[] = [];
  let highest = 0;
  let by: OpRecord | undefined;
  for (const { record, revision, begins } of points) {
    if (!begins) {
      if (revision > highest) [highest, by] = [revision, record];
      continue;
    }
    const least = isEffective(record) ? highest + 1 : highest;
    if (revision >= least) continue;
    const before = by === undefined ? '' : ` after #${by.id} ${describeOp(by.op)}`;
    wrong.push(
      `${record.client} #${record.id} ${describeOp(record.op)}: stale, at revision ${revision}` +
        ` though ${highest} had been answered${before}`,
    );
  }
  return wrong;
}

/** Where an operation stands in the history; a write of unknown outcome stands where the log has it. */
function revisionOf(record: OpRecord, truth: Truth): number | undefined {
  const { op, outcome } = record;
  if (op.kind === 'compact') return undefined;
  if (outcome?.kind === 'ok') return outcome.revision;
  const isWrite = op.kind === 'put' || op.kind === 'pair' || op.kind === 'swap';
  return isWrite ? truth.writesOf(op.value)[0]?.revision : undefined;
}

/** Whether it took a revision of its own. */
function isEffective({ op, outcome }: OpRecord): boolean {
  if (op.kind === 'get' || op.kind === 'list') return false;
  return outcome?.kind !== 'ok' || outcome.changed;
}
