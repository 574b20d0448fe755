import {
  err,
  isCount,
  isKvError,
  isShardId,
  KvError,
  type KvRequest,
  type KvResponse,
  type Origin,
  ok,
  originOf,
  type Result,
  type SessionTag,
  type ShardId,
} from '@kvorum/base';
import {
  type CommandResult,
  type LeaseRequest,
  parseLeaseRequest,
  parseSlotRequest,
  type SlotRequest,
} from '@kvorum/replica';
import { errorFromPlain, parseKvRequest, plainError } from '@kvorum/wire';
import { type MetaStep, parseMetaStep } from './meta-steps.ts';
import { isWatchMessage, parseWatchMessage, type WatchMessage } from './watch-messages.ts';

/** A client's request on its way to the member that leads its shard. */
export interface ForwardedRequest {
  readonly shard: ShardId;
  readonly request: KvRequest;
  /** What was left of the deadline when it was sent. */
  readonly timeoutMs: number;
  readonly session: SessionTag | undefined;
  /** Who asks; a member of an older version neither sends nor reads it. */
  readonly origin?: Origin | undefined;
  /** Version of the map by which it was placed; a member of an older version neither sends nor reads it. */
  readonly mapVersion?: number | undefined;
  /** Version of the state of authorization by which it was let through; absent while that is not enabled, and for members' own. */
  readonly authVersion?: number | undefined;
}

/**
 * A request between members: a client's command; a leadership transfer for the shard's leader to start; word that a leadership
 * is about to come by hand, to be kept for a while; the question which replicas stand still, and whether the quota is used up; leases; a
 * step of a slot move, and how far the moves are that a member drives; a page of a shard's log; what concerns forwarded watches.
 */
export type PeerRequest =
  | { readonly kind: 'kv'; readonly forwarded: ForwardedRequest }
  | { readonly kind: 'transfer'; readonly shard: ShardId; readonly member: string }
  | { readonly kind: 'hold'; readonly shard: ShardId }
  | { readonly kind: 'halts' }
  /** From the shard's replica there to the one here, in a form of their own. */
  | { readonly kind: 'replica'; readonly shard: ShardId; readonly payload: unknown }
  /** The shard map: asked by members that do not know yet who they are. */
  | { readonly kind: 'map' }
  /** Who leads the shards that the asked member has, and who is a member of each. */
  | { readonly kind: 'memberships' }
  | { readonly kind: 'slots'; readonly request: SlotRequest }
  /** About leases, to the leader of a shard; what was left of the deadline when it was sent. */
  | {
      readonly kind: 'lease';
      readonly shard: ShardId;
      readonly request: LeaseRequest;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'moves' }
  /** A step of a recovery of the meta group. */
  | { readonly kind: 'meta'; readonly step: MetaStep }
  /** Load and size by slot, as the asked member counts them. */
  | { readonly kind: 'slot-load' }
  /** A page of the log of a shard that the asking member has no replica of; `params` of the control method. */
  | { readonly kind: 'log'; readonly params: unknown }
  | { readonly kind: 'watch'; readonly message: WatchMessage }
  /**
   * Whether the asked member goes by this version of the state of authorization, or a later one; and which of those members serve
   * nobody, if it leads the meta group. A member of an older version neither sends nor answers the latter.
   */
  | { readonly kind: 'auth'; readonly version: number; readonly members: readonly string[] };

export function encodeForward(from: ForwardedRequest): unknown {
  return {
    kind: 'kv',
    shard: from.shard,
    request: from.request,
    timeoutMs: from.timeoutMs,
    session: from.session ?? null,
    ...(from.origin === undefined ? {} : { origin: from.origin }),
    ...(from.mapVersion === undefined ? {} : { mapVersion: from.mapVersion }),
    ...(from.authVersion === undefined ? {} : { authVersion: from.authVersion }),
  };
}

export function encodeAuthQuestion(version: number, members: readonly string[] = []): unknown {
  return { kind: 'auth', version, ...(members.length === 0 ? {} : { members }) };
}

export function encodeMovesQuestion(): unknown {
  return { kind: 'moves' };
}

export function encodeSlotLoadQuestion(): unknown {
  return { kind: 'slot-load' };
}

export function encodeSlotRequest(request: SlotRequest): unknown {
  return { kind: 'slots', request };
}

export function encodeLeaseRequest(
  shard: ShardId,
  request: LeaseRequest,
  timeoutMs: number,
): unknown {
  return { kind: 'lease', shard, request, timeoutMs };
}

export function encodeTransfer(shard: string, member: string): unknown {
  return { kind: 'transfer', shard, member };
}

export function encodeHold(shard: string): unknown {
  return { kind: 'hold', shard };
}

export function encodeReplicaRequest(shard: string, payload: unknown): unknown {
  return { kind: 'replica', shard, payload };
}

export function encodeLogQuestion(params: unknown): unknown {
  return { kind: 'log', params };
}

export function encodeHaltsQuestion(): unknown {
  return { kind: 'halts' };
}

export function encodeMapQuestion(): unknown {
  return { kind: 'map' };
}

export function encodeMetaStep(step: MetaStep): unknown {
  return { kind: 'meta', ...step };
}

export function encodeMembershipsQuestion(): unknown {
  return { kind: 'memberships' };
}

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', `forwarded request: ${what}`));

function parseSession(value: unknown): Result<SessionTag | undefined, KvError> {
  if (value === null || value === undefined) return ok(undefined);
  if (typeof value !== 'object') return malformed('session');
  const { clientId, seq, ackedThrough, retry } = value as Readonly<Record<string, unknown>>;
  if (typeof clientId !== 'string' || !CLIENT_ID.test(clientId)) return malformed('session');
  if (typeof retry !== 'boolean' || !isCount(seq) || !isCount(ackedThrough)) {
    return malformed('session');
  }
  return ok({ clientId, seq, ackedThrough, retry });
}

function parseOrigin(value: unknown): Result<Origin | undefined, KvError> {
  if (value === null || value === undefined) return ok(undefined);
  if (typeof value !== 'object') return malformed('origin');
  const { user, client } = value as Readonly<Record<string, unknown>>;
  if (typeof user !== 'string' || typeof client !== 'string') return malformed('origin');
  return ok(originOf(user, client));
}

const CLIENT_ID = /^[0-9a-f]{32}$/;

/** Node's timers wait no longer; one of more would fire at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

function parseAuthQuestion(from: Readonly<Record<string, unknown>>): Result<PeerRequest, KvError> {
  const { version, members = [] } = from as { readonly version?: unknown; members?: unknown };
  if (!isCount(version)) return malformed('version');
  const isNamed = Array.isArray(members) && members.every((id) => typeof id === 'string');
  return isNamed ? ok({ kind: 'auth', version, members }) : malformed('members');
}

/** Checks a payload from another member. Errors: KV_MALFORMED. */
export function parsePeerRequest(payload: unknown): Result<PeerRequest, KvError> {
  if (typeof payload !== 'object' || payload === null) return malformed('not an object');
  const from = payload as Readonly<Record<string, unknown>>;
  const { kind } = from as { readonly kind?: unknown };
  switch (kind) {
    case 'halts':
    case 'map':
    case 'memberships':
    case 'moves':
    case 'slot-load':
      return ok({ kind });
    default:
  }
  if (kind === 'log') return ok({ kind, params: from['params'] });
  if (kind === 'auth') return parseAuthQuestion(from);
  if (kind === 'meta') {
    const step = parseMetaStep(from);
    return step === undefined ? malformed('step') : ok({ kind, step });
  }
  if (isWatchMessage(kind)) {
    const message = parseWatchMessage(from);
    return message.ok ? ok({ kind: 'watch', message: message.value }) : message;
  }
  return kind === 'slots' ? parseSlots(from['request']) : parseOfShard(from);
}

function parseSlots(request: unknown): Result<PeerRequest, KvError> {
  const slots = parseSlotRequest(request);
  return slots.ok ? ok({ kind: 'slots', request: slots.value }) : slots;
}

function parseOfShard(from: Readonly<Record<string, unknown>>): Result<PeerRequest, KvError> {
  const { kind, member } = from as { readonly kind?: unknown; readonly member?: unknown };
  const shard = from['shard'];
  if (!isShardId(shard)) return malformed('shard');
  if (kind === 'hold') return ok({ kind, shard });
  if (kind === 'kv') return parseForwarded(shard, from);
  if (kind === 'replica') return ok({ kind, shard, payload: from['payload'] });
  if (kind === 'lease') return parseLease(shard, from);
  if (kind !== 'transfer') return malformed('kind');
  return typeof member === 'string' ? ok({ kind, shard, member }) : malformed('member');
}

function isTimeout(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value <= TIMEOUT_MS_MAX;
}

function parseLease(
  shard: ShardId,
  from: Readonly<Record<string, unknown>>,
): Result<PeerRequest, KvError> {
  const timeoutMs = from['timeoutMs'];
  if (!isTimeout(timeoutMs)) return malformed('timeoutMs');
  const request = parseLeaseRequest(from['request']);
  return request.ok ? ok({ kind: 'lease', shard, request: request.value, timeoutMs }) : request;
}

function parseForwarded(
  shard: ShardId,
  from: Readonly<Record<string, unknown>>,
): Result<PeerRequest, KvError> {
  const timeoutMs = from['timeoutMs'];
  if (!isTimeout(timeoutMs)) return malformed('timeoutMs');
  const request = parseKvRequest(from['request']);
  if (!request.ok) return request;
  const session = parseSession(from['session']);
  if (!session.ok) return session;
  const origin = parseOrigin(from['origin']);
  if (!origin.ok) return origin;
  const mapVersion = isCount(from['mapVersion']) ? from['mapVersion'] : undefined;
  const authVersion = isCount(from['authVersion']) ? from['authVersion'] : undefined;
  const parts = {
    request: request.value,
    session: session.value,
    origin: origin.value,
    mapVersion,
    authVersion,
  };
  return ok({ kind: 'kv', forwarded: { shard, timeoutMs, ...parts } });
}

export function encodeForwardAnswer(result: CommandResult): unknown {
  return result.ok ? { response: result.response } : { error: plainError(result.error) };
}

/** Of an answer to a transfer or a hold; a member of an older version names none. */
export function holdMsOf(answer: unknown): number {
  const found = typeof answer === 'object' && answer !== null && 'holdMs' in answer;
  return found && typeof answer.holdMs === 'number' ? answer.holdMs : 0;
}

/** An answer to another member; a refusal travels as plain data. */
export async function answered(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    if (isKvError(error)) return { error: plainError(error) };
    throw error;
  }
}

/** What another member answered by {@link answered}. Errors: its refusal. */
export function accepted(answer: unknown): unknown {
  if (typeof answer === 'object' && answer !== null && 'error' in answer) {
    throw errorFromPlain(answer.error);
  }
  return answer;
}

const RESPONSE_OPS = ['range', 'put', 'delete-range', 'txn', 'compact'];

/** Above every depth that validation lets through. */
const DEPTH_MAX = 64;

/** int64 leases come back as bigint or number, whichever the encoder chose: the KeyValue type wants bigint. */
function withLease(kv: unknown): unknown {
  if (typeof kv !== 'object' || kv === null || !('lease' in kv)) return kv;
  return Number.isSafeInteger(kv.lease) ? { ...kv, lease: BigInt(kv.lease as number) } : kv;
}

function restoreLeases(value: object, depth = 0): Readonly<Record<string, unknown>> {
  const out: Record<string, unknown> = { ...value };
  if (Array.isArray(out['kvs'])) out['kvs'] = out['kvs'].map(withLease);
  if (Array.isArray(out['prevKvs'])) out['prevKvs'] = out['prevKvs'].map(withLease);
  if (out['prevKv'] !== undefined) out['prevKv'] = withLease(out['prevKv']);
  if (Array.isArray(out['responses']) && depth < DEPTH_MAX) {
    out['responses'] = out['responses'].map((inner: unknown) =>
      typeof inner === 'object' && inner !== null ? restoreLeases(inner, depth + 1) : inner,
    );
  }
  return out;
}

function isResponse(value: unknown): value is KvResponse {
  return (
    typeof value === 'object' &&
    value !== null &&
    'op' in value &&
    RESPONSE_OPS.some((op) => op === value.op) &&
    'revision' in value &&
    typeof value.revision === 'number'
  );
}

/** The answer of the leader's member; one of a shape this version does not know leaves the outcome unknown. */
export function parseForwardAnswer(payload: unknown): CommandResult {
  if (typeof payload === 'object' && payload !== null) {
    if ('error' in payload) return { ok: false, error: errorFromPlain(payload.error) };
    if (
      'response' in payload &&
      typeof payload.response === 'object' &&
      payload.response !== null
    ) {
      const response: unknown = restoreLeases(payload.response);
      if (isResponse(response)) return { ok: true, response };
    }
  }
  const error = new KvError('KV_MALFORMED', 'answer of the leader', { outcome: 'unknown' });
  return { ok: false, error };
}
