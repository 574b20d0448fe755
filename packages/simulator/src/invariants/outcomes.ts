import { describeOp, type OpRecord } from '../history.ts';
import type { Truth } from '../truth.ts';

/**
 * What clients were told about their writes against what the log says: an acknowledged write stands at its revision, one
 * that certainly failed stands nowhere, and none stands twice, however often it was sent. Returns what is wrong.
 */
export function checkOutcomes(ops: readonly OpRecord[], truth: Truth): string[] {
  return ops.flatMap((record) => checkOutcome(record, truth));
}

function checkOutcome(record: OpRecord, truth: Truth): string[] {
  const { op, outcome } = record;
  const about = `${record.client} #${record.id} ${describeOp(op)}`;
  if (op.kind === 'delete') return checkDelete(record, truth, about);
  if (op.kind !== 'put' && op.kind !== 'pair' && op.kind !== 'swap') return [];
  const keys = op.kind === 'pair' ? op.keys : [op.key];
  const writes = truth.writesOf(op.value);
  const revisions = new Set(writes.map((write) => write.revision));
  if (revisions.size > 1 || writes.length > keys.length) {
    return [`${about}: applied more than once, at ${[...revisions].join(', ')}`];
  }
  const wrongKeys = writes.length > 0 && keys.some((key) => !writes.some((w) => w.key === key));
  if (wrongKeys) return [`${about}: applied in part`];
  if (outcome?.kind === 'failed' && writes.length > 0) {
    return [`${about}: failed (${outcome.code}) but stands at ${[...revisions].join()}`];
  }
  if (outcome?.kind !== 'ok') return [];
  if (!outcome.changed) {
    return writes.length === 0 ? [] : [`${about}: answered as not made but stands`];
  }
  if (revisions.has(outcome.revision)) return [];
  return [`${about}: acknowledged at ${outcome.revision} but not there (lost write)`];
}

function checkDelete(record: OpRecord, truth: Truth, about: string): string[] {
  const { op, outcome } = record;
  if (op.kind !== 'delete' || outcome?.kind !== 'ok' || !outcome.changed) return [];
  const stands = truth.changes.some(
    ({ revision, key, value }) =>
      revision === outcome.revision && key === op.key && value === undefined,
  );
  return stands ? [] : [`${about}: acknowledged at ${outcome.revision} but not there (lost)`];
}
