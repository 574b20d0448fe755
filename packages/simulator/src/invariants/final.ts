import type { ShardId } from '@kvorum/base';
import { describeOp, type OpRecord } from '../history.ts';
import type { Truth } from '../truth.ts';

/** A key that is created again gets a higher create revision: what locks take for a fencing token. */
export function checkFencing(ops: readonly OpRecord[]): string[] {
  const byKey = new Map<string, OpRecord[]>();
  for (const record of ops) {
    const { op, outcome } = record;
    if (op.kind !== 'swap' || op.expected !== undefined) continue;
    if (outcome?.kind !== 'ok' || !outcome.changed) continue;
    const list = byKey.get(op.key);
    if (list === undefined) byKey.set(op.key, [record]);
    else list.push(record);
  }
  return [...byKey.values()].flatMap(checkTokens);
}

function tokenOf({ outcome }: OpRecord): number {
  return outcome?.kind === 'ok' ? outcome.revision : 0;
}

function checkTokens(creates: OpRecord[]): string[] {
  const wrong: string[] = [];
  creates.sort((a, b) => tokenOf(a) - tokenOf(b));
  let latest: OpRecord | undefined;
  for (const record of creates) {
    if (latest !== undefined && record.end !== undefined && record.end < latest.start) {
      const later = `#${latest.id} began later with ${tokenOf(latest)}`;
      wrong.push(`#${record.id} ${describeOp(record.op)}: token ${tokenOf(record)}, ${later}`);
    }
    if (latest === undefined || record.start > latest.start) latest = record;
  }
  return wrong;
}

/** A key stands in the log of the shard that it belongs to. */
export function checkOwnership(shard: ShardId, truth: Truth): string[] {
  const prefix = `s${shard}/`;
  const strange = truth.keys().filter((key) => !key.startsWith(prefix));
  return strange.map((key) => `${key} stands in shard ${shard}`);
}

/** Reads at an older revision: what the history holds there, or an error that a compaction explains. */
export function checkPast(ops: readonly OpRecord[], truth: Truth): string[] {
  return ops.flatMap((record) => checkPastRead(record, truth));
}

function checkPastRead(record: OpRecord, truth: Truth): string[] {
  const { op, outcome } = record;
  if (op.kind !== 'past' || outcome === undefined) return [];
  const about = `${record.client} #${record.id} ${describeOp(op)}`;
  if (outcome.kind === 'ok') {
    const version = truth.at(op.key, op.revision);
    const expected = version === undefined ? undefined : `${version.value}@${version.revision}`;
    const found = outcome.found.get(op.key);
    return found === expected ? [] : [`${about}: read ${found}, was ${expected}`];
  }
  if (outcome.code === 'KV_COMPACTED' && op.revision >= truth.compactRevision) {
    return [`${about}: called compacted, which only ${truth.compactRevision} is`];
  }
  return [];
}
