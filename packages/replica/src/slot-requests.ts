import {
  err,
  isCount,
  isShardId,
  KvError,
  ok,
  type Plain,
  type Result,
  type ShardId,
} from '@kvorum/base';
import type { SlotExport, SlotSpan } from '@kvorum/mvcc';

/** What the leader of the shard that takes slots asks of the leader of the shard that gives them; plain data on the wire. */
export type SlotRequest =
  | {
      readonly kind: 'export';
      readonly shard: ShardId;
      readonly slots: readonly SlotSpan[];
      readonly from: number;
    }
  | {
      readonly kind: 'freeze';
      readonly shard: ShardId;
      readonly move: string;
      readonly attempt: number;
      readonly mapVersion: number;
      readonly slots: readonly SlotSpan[];
      readonly owned: readonly SlotSpan[];
    }
  | {
      readonly kind: 'unfreeze';
      readonly shard: ShardId;
      readonly move: string;
      readonly attempt: number;
      /** A member of the version before sends none: then nothing is void that is still on its way. */
      readonly mapVersion: number;
      readonly owned?: readonly SlotSpan[];
    }
  | {
      readonly kind: 'release';
      readonly shard: ShardId;
      readonly move: string;
      readonly mapVersion: number;
    }
  | { readonly kind: 'drop'; readonly shard: ShardId; readonly move: string };

function isSpans(value: unknown): value is readonly SlotSpan[] {
  return (
    Array.isArray(value) &&
    value.every(
      (span: unknown) =>
        Array.isArray(span) && span.length === 2 && isCount(span[0]) && isCount(span[1]),
    )
  );
}

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', `slot request: ${what}`));

/** Checks a request of another member. Errors: KV_MALFORMED. */
export function parseSlotRequest(value: unknown): Result<SlotRequest, KvError> {
  if (typeof value !== 'object' || value === null) return malformed('not an object');
  const plain = value as Plain;
  const { shard } = plain;
  if (!isShardId(shard)) return malformed('shard');
  const request = requestOf(plain, shard);
  return request === undefined ? malformed(String(plain['kind'])) : ok(request);
}

function requestOf(plain: Plain, shard: ShardId): SlotRequest | undefined {
  const { kind, move, mapVersion, slots, from } = plain;
  if (kind === 'export') {
    return isSpans(slots) && isCount(from) ? { kind, shard, slots, from } : undefined;
  }
  if (typeof move !== 'string') return undefined;
  switch (kind) {
    case 'freeze':
      return freezeOf(plain, shard, move);
    case 'unfreeze':
      return unfreezeOf(plain, shard, move);
    case 'release':
      return isCount(mapVersion) ? { kind, shard, move, mapVersion } : undefined;
    case 'drop':
      return { kind, shard, move };
    default:
      return undefined;
  }
}

function freezeOf(plain: Plain, shard: ShardId, move: string): SlotRequest | undefined {
  const { attempt, mapVersion, slots, owned } = plain;
  return isCount(attempt) && isCount(mapVersion) && isSpans(slots) && isSpans(owned)
    ? { kind: 'freeze', shard, move, attempt, mapVersion, slots, owned }
    : undefined;
}

function unfreezeOf(plain: Plain, shard: ShardId, move: string): SlotRequest | undefined {
  const { attempt, mapVersion = 0, owned } = plain;
  if (!isCount(attempt) || !isCount(mapVersion)) return undefined;
  if (owned !== undefined && !isSpans(owned)) return undefined;
  const request = { kind: 'unfreeze', shard, move, attempt, mapVersion } as const;
  return owned === undefined ? request : { ...request, owned };
}

/** Checks the answer to an export. Throws KV_MALFORMED. */
export function parseSlotExport(value: unknown): SlotExport {
  const plain = (typeof value === 'object' && value !== null ? value : {}) as Plain;
  // A member of the version before knows of no leases.
  const { rows, next, revision, compactRevision, leaseTerm = 0 } = plain;
  const sound =
    Array.isArray(rows) &&
    rows.every((row) => row instanceof Uint8Array) &&
    isCount(next) &&
    isCount(revision) &&
    isCount(leaseTerm) &&
    Number.isSafeInteger(compactRevision);
  if (!sound) throw new KvError('KV_MALFORMED', 'the answer to a slot export');
  return { rows, next, revision, compactRevision: compactRevision as number, leaseTerm };
}

/** One number of an answer. Throws KV_MALFORMED. */
export function countOf(value: unknown, name: string): number {
  const found = typeof value === 'object' && value !== null ? (value as Plain)[name] : undefined;
  if (isCount(found)) return found;
  throw new KvError('KV_MALFORMED', `the answer to a slot request has no ${name}`);
}
