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
  const { changed, revision } = outcome;
  const about = `${record.client} #${record.id} ${describeOp(op)} @${revision}`;
  if (revision > truth.revision) return [`${about}: names a revision that does not exist`];
  if (op.kind === 'get') return compareFound([op.key], record, truth);
  if (op.kind === 'list') return compareFound(truth.keys(), record, truth);
  if (op.kind !== 'swap' && op.kind !== 'delete') return [];
  const stood = truth.at(op.key, changed ? revision - 1 : revision)?.value;
  const right = op.kind === 'swap' ? stood === op.expected : stood !== undefined;
  if (right !== changed) {
    return [`${about}: ${changed ? 'made' : 'not made'} although the key held ${stood}`];
  }
  return op.kind === 'swap' && !changed ? compareFound([op.key], record, truth) : [];
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
  return unknown.length === 0 ? wrong : [...wrong, `${about}: read unknown keys ${unknown.join()}`];
}

interface Point {
  readonly at: number;
  readonly record: OpRecord;
  readonly revision: number;
  readonly begins: boolean;
}

function pointsOf(record: OpRecord, truth: Truth): Point[] {
  const { end, op, outcome, start } = record;
  const revision = revisionOf(record, truth);
  if (revision === undefined || (op.kind === 'list' && op.stale)) return [];
  const begin = { at: start, record, revision, begins: true };
  // Nobody saw an answer of unknown outcome: it binds nothing that comes after it.
  if (outcome?.kind !== 'ok' || end === undefined) return [begin];
  return [begin, { at: end, record, revision, begins: false }];
}

function checkRealTime(ops: readonly OpRecord[], truth: Truth): string[] {
  const points = ops.flatMap((record) => pointsOf(record, truth));
  points.sort((a, b) => a.at - b.at);
  const wrong: string[] = [];
  let highest: { readonly revision: number; readonly by: string } = { revision: 0, by: '' };
  for (const { record, revision, begins } of points) {
    const text = `#${record.id} ${describeOp(record.op)}`;
    if (!begins) {
      if (revision > highest.revision) highest = { revision, by: text };
      continue;
    }
    const least = isEffective(record) ? highest.revision + 1 : highest.revision;
    if (revision >= least) continue;
    const before = `${highest.revision} had been answered after ${highest.by}`;
    wrong.push(`${record.client} ${text}: stale, at revision ${revision} though ${before}`);
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
