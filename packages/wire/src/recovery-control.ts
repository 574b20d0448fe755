import { err, isPlain, KvError, ok, type Plain, type Result } from '@kvorum/base';

/** What the control method `recover` takes. Without `from` nothing is changed. */
export interface RecoverParams {
  readonly shard: string;
  /** Name or id of the member to go on from. */
  readonly from?: string;
  /** Do it; absent: only say what would be. */
  readonly apply?: boolean;
}

/** One replica of the shard, or why nothing is known of it. */
export interface RecoveryReplica {
  readonly member: string;
  readonly error?: string;
  readonly generation?: number;
  readonly index?: number;
  readonly term?: number;
  readonly revision?: number;
  /** Hex digits of the chain hash: equal at one index means one history. */
  readonly chainHash?: string;
  /** Digest of the content: equal means equal content. */
  readonly stateHash?: string;
  readonly halted?: string;
  readonly leads?: boolean;
}

/** What a replica has that the chosen one has not. */
export interface RecoveryLossInfo {
  readonly member: string;
  /** `same`, `behind`, `ahead`, `differs`, `older` or `unknown`. */
  readonly relation: string;
  readonly records: number;
  readonly revisions: number;
}

/** Its answer. */
export interface RecoveryView {
  readonly shard: string;
  /** Of the log; with `applied` the one that begins now. */
  readonly generation: number;
  readonly replicas: readonly RecoveryReplica[];
  /** Which one Kvorum would go on from, and why; absent when none answered. */
  readonly choice?: { readonly member: string; readonly why: string };
  /** Measured from `from`, else from the choice. */
  readonly losses: readonly RecoveryLossInfo[];
  /** Why it cannot be done; absent when it can. */
  readonly refused?: string;
  readonly applied: boolean;
  /** The first revision of the new generation. */
  readonly revision?: number;
}

const bad = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', `recovery of a shard: ${what}`));

const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** Errors: KV_MALFORMED. */
export function parseRecoverParams(value: unknown): Result<RecoverParams, KvError> {
  if (!isPlain(value)) return bad('not an object');
  const { shard, from, apply } = value as Plain;
  if (typeof shard !== 'string') return bad('shard must be a text');
  if (!isAbsent(from) && typeof from !== 'string') return bad('from must be a text');
  if (!isAbsent(apply) && typeof apply !== 'boolean') return bad('apply must be true or false');
  return ok({
    shard,
    ...(typeof from === 'string' ? { from } : {}),
    ...(apply === true ? { apply } : {}),
  });
}

const NUMBERS = ['generation', 'index', 'term', 'revision'] as const;
const TEXTS = ['error', 'chainHash', 'stateHash', 'halted'] as const;

function replica(value: unknown): RecoveryReplica | undefined {
  if (!isPlain(value) || typeof value['member'] !== 'string') return undefined;
  const numbers = NUMBERS.filter((name) => Number.isSafeInteger(value[name]));
  const texts = TEXTS.filter((name) => typeof value[name] === 'string');
  const rest = Object.fromEntries([...numbers, ...texts].map((name) => [name, value[name]]));
  return {
    member: value['member'],
    ...rest,
    ...(value['leads'] === true ? { leads: true } : {}),
  };
}

function isLoss(value: unknown): value is RecoveryLossInfo {
  return (
    isPlain(value) &&
    typeof value['member'] === 'string' &&
    typeof value['relation'] === 'string' &&
    Number.isSafeInteger(value['records']) &&
    Number.isSafeInteger(value['revisions'])
  );
}

/** Errors: KV_MALFORMED. */
export function parseRecoveryView(value: unknown): Result<RecoveryView, KvError> {
  if (!isPlain(value)) return bad('the answer is not an object');
  const { shard, generation, replicas, choice, losses, refused, revision } = value as Plain;
  if (typeof shard !== 'string' || !Number.isSafeInteger(generation)) return bad('the answer');
  if (!Array.isArray(replicas)) return bad('the answer’s replicas');
  const found = replicas.map(replica).filter((one) => one !== undefined);
  if (found.length !== replicas.length) return bad('the answer’s replicas');
  if (!Array.isArray(losses) || !losses.every(isLoss)) return bad('the answer’s losses');
  const { member, why } = isPlain(choice) ? choice : ({} as Plain);
  return ok({
    shard,
    generation: generation as number,
    replicas: found,
    losses,
    ...(typeof member === 'string' && typeof why === 'string' ? { choice: { member, why } } : {}),
    ...(typeof refused === 'string' ? { refused } : {}),
    applied: value['applied'] === true,
    ...(Number.isSafeInteger(revision) ? { revision: revision as number } : {}),
  });
}
