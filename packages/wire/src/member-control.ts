import { err, isPlain, KvError, ok, type Result } from '@kvorum/base';

export const MEMBER_CHANGE_KINDS = [
  'add',
  'promote',
  'remove',
  'replace',
  'update',
  'drain',
  'exclude',
] as const;
export type MemberChangeKind = (typeof MEMBER_CHANGE_KINDS)[number];

/** What the control method `changeMember` takes. */
export interface MemberChangeParams {
  readonly kind: MemberChangeKind;
  /** Name or id; of `add` the new member's name. */
  readonly member: string;
  readonly peer?: string;
  readonly client?: string;
  readonly zone?: string;
  /** Of `replace`: the successor's name; absent = the same name with an empty disk. */
  readonly by?: string;
  /** Of `drain` and `exclude`: take it back. */
  readonly cancel?: boolean;
  /** Also where a shard would be left without a live majority. */
  readonly force?: boolean;
  /** Change nothing, only say what would be. */
  readonly dryRun?: boolean;
}

/** Voters of one shard after a change, by name. */
export interface VotersPreview {
  readonly shard: string;
  readonly voters: readonly string[];
  readonly alive: readonly string[];
  readonly quorum: number;
  readonly safe: boolean;
}

/** Its answer. */
export interface MemberChanged {
  /** Id of the member that was changed or added. */
  readonly id: string;
  readonly mapVersion: number;
  /** False: it was so already, or it was a dry run. */
  readonly changed: boolean;
  readonly shards: readonly VotersPreview[];
  /** Every member that the new one has to be started with, itself among them. */
  readonly members: readonly {
    readonly name: string;
    readonly peer: string;
    readonly client: string;
  }[];
}

/** What the control method `moveReplica` takes. */
export interface MoveReplicaParams {
  readonly shard: string;
  readonly from: string;
  readonly to: string;
}

const bad = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', `change of members: ${what}`));

const TEXTS = ['peer', 'client', 'zone', 'by'] as const;
const FLAGS = ['cancel', 'force', 'dryRun'] as const;

/** Errors: KV_MALFORMED. */
export function parseMemberChange(value: unknown): Result<MemberChangeParams, KvError> {
  if (!isPlain(value)) return bad('not an object');
  const kind = MEMBER_CHANGE_KINDS.find((known) => known === value['kind']);
  const { member } = value as { readonly member?: unknown };
  if (kind === undefined) return bad(`kind must be one of ${MEMBER_CHANGE_KINDS.join(', ')}`);
  if (typeof member !== 'string' || member === '') return bad('member must be a name or an id');
  const given = (name: string): boolean => value[name] !== undefined && value[name] !== null;
  const texts = TEXTS.filter(given);
  const flags = FLAGS.filter(given);
  const wrong =
    texts.find((name) => typeof value[name] !== 'string' || value[name] === '') ??
    flags.find((name) => typeof value[name] !== 'boolean');
  if (wrong !== undefined) return bad(`${wrong} is of the wrong type`);
  const rest = Object.fromEntries([...texts, ...flags].map((name) => [name, value[name]]));
  return ok({ kind, member, ...rest });
}

/** Errors: KV_MALFORMED. */
export function parseMoveReplica(value: unknown): Result<MoveReplicaParams, KvError> {
  if (!isPlain(value)) return bad('not an object');
  const { shard, from, to } = value as Readonly<Record<string, unknown>>;
  if (typeof shard !== 'string' || typeof from !== 'string' || typeof to !== 'string') {
    return bad('shard, from and to must be texts');
  }
  return ok({ shard, from, to });
}

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');

function isPreview(value: unknown): value is VotersPreview {
  return (
    isPlain(value) &&
    typeof value['shard'] === 'string' &&
    isTexts(value['voters']) &&
    isTexts(value['alive']) &&
    typeof value['quorum'] === 'number' &&
    typeof value['safe'] === 'boolean'
  );
}

function isAddress(value: unknown): value is MemberChanged['members'][number] {
  return (
    isPlain(value) && ['name', 'peer', 'client'].every((key) => typeof value[key] === 'string')
  );
}

/** Errors: KV_MALFORMED. */
export function parseMemberChanged(value: unknown): Result<MemberChanged, KvError> {
  if (!isPlain(value)) return bad('the answer is not an object');
  const { id, mapVersion, changed, shards, members } = value as Readonly<Record<string, unknown>>;
  if (typeof id !== 'string' || typeof mapVersion !== 'number') return bad('the answer');
  if (!Array.isArray(shards) || !shards.every(isPreview)) return bad('the answer’s shards');
  if (!Array.isArray(members) || !members.every(isAddress)) return bad('the answer’s members');
  return ok({ id, mapVersion, changed: changed === true, shards, members });
}
