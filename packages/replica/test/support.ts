import {
  fromUtf8,
  type KvError,
  type KvRequest,
  type KvResponse,
  type LogIndex,
  type Revision,
  type SessionTag,
  type ShardId,
  shardId,
  utf8,
  type WatchEvent,
  type WatchRequest,
  type WriteRequest,
} from '@kvorum/base';
import type { CommandResult, Replica, WatchHandle } from '@kvorum/replica';
import { type SimMember, World, type WorldOptions } from '@kvorum/simulator';
import { expect } from 'vitest';

export const SHARD: ShardId = shardId(0);
const TIMEOUT_MS = 7000;

/** What a caller was told, and whether it was told at all. */
export interface Pending<T> {
  result: T | undefined;
}

export function put(key: string, value: string): WriteRequest {
  return { op: 'put', key: utf8(key), value: utf8(value) };
}

/** A three-member cluster of one shard on simulated ports, with a leader. */
export async function cluster(options: Partial<WorldOptions> = {}): Promise<{
  readonly world: World;
  readonly leader: SimMember;
}> {
  const world = new World({ seed: 1, ...options });
  world.start();
  const leader = await world.awaitLeader(SHARD);
  await world.run(500);
  return { world, leader };
}

export function replicaOf(world: World, member: SimMember): Replica {
  return world.replica(member, SHARD);
}

export function submit(
  world: World,
  member: SimMember,
  request: WriteRequest,
  options: {
    readonly session?: SessionTag;
    readonly timeoutMs?: number;
    readonly bytes?: number;
  } = {},
): Pending<CommandResult> {
  const pending: Pending<CommandResult> = { result: undefined };
  replicaOf(world, member).submit({
    request,
    session: options.session,
    deadlineMs: member.nowMs() + (options.timeoutMs ?? TIMEOUT_MS),
    bytes: options.bytes ?? 64,
    done: (result) => {
      expect(pending.result).toBeUndefined();
      pending.result = result;
    },
  });
  return pending;
}

export async function settled<T>(world: World, pending: Pending<T>): Promise<T> {
  expect(await world.runUntil(() => pending.result !== undefined)).toBe(true);
  return pending.result as T;
}

/** Writes and expects success; returns the revision. */
export async function write(
  world: World,
  member: SimMember,
  request: WriteRequest,
): Promise<Revision> {
  return revisionOf(await settled(world, submit(world, member, request)));
}

export function revisionOf(result: CommandResult): Revision {
  return responseOf(result).revision;
}

export function responseOf(result: CommandResult): KvResponse {
  if (!result.ok) throw result.error;
  return result.response;
}

export function errorOf(result: CommandResult | undefined): KvError {
  if (result === undefined || result.ok) throw new Error('an error was expected');
  return result.error;
}

/** Linearizable value of a key at a member; undefined when there is none. */
export async function read(
  world: World,
  member: SimMember,
  key: string,
): Promise<string | undefined> {
  const pending: Pending<{ value: string | undefined }> = { result: undefined };
  replicaOf(world, member).get(utf8(key), member.nowMs() + TIMEOUT_MS, (result) => {
    if (!result.ok) throw result.error;
    pending.result = { value: result.kv === undefined ? undefined : fromUtf8(result.kv.value) };
  });
  return (await settled(world, pending)).value;
}

export async function query(
  world: World,
  member: SimMember,
  request: Extract<KvRequest, { op: 'range' | 'txn' }>,
): Promise<CommandResult> {
  return settled(world, startQuery(world, member, request));
}

export function startQuery(
  world: World,
  member: SimMember,
  request: Extract<KvRequest, { op: 'range' | 'txn' }>,
): Pending<CommandResult> {
  const pending: Pending<CommandResult> = { result: undefined };
  replicaOf(world, member).read(request, member.nowMs() + TIMEOUT_MS, (result) => {
    pending.result = result;
  });
  return pending;
}

export class Watcher {
  readonly events: WatchEvent[] = [];
  readonly progress: Revision[] = [];
  created: Revision | undefined;
  cancelled: KvError | undefined;
  readonly handle: WatchHandle;

  constructor(world: World, member: SimMember, request: WatchRequest) {
    this.handle = replicaOf(world, member).watch(request, {
      created: (revision) => {
        this.created = revision;
      },
      events: (events, revision) => {
        if (events.length === 0) this.progress.push(revision);
        this.events.push(...events);
        return true;
      },
      cancelled: (error) => {
        this.cancelled = error;
      },
    });
  }

  get texts(): string[] {
    return this.events.map(
      ({ type, kv }) => `${type} ${fromUtf8(kv.key)}=${fromUtf8(kv.value)}@${kv.modRevision}`,
    );
  }
}

/** The running replicas' state hashes, once all have applied the same. */
export async function hashes(world: World): Promise<{ index: LogIndex; hash: string }[]> {
  const running = world.members.filter((member) => member.replica(SHARD) !== undefined);
  const equal = (): boolean =>
    new Set(running.map((member) => replicaOf(world, member).status().appliedIndex)).size === 1;
  expect(await world.runUntil(equal)).toBe(true);
  const pending: Pending<{ index: LogIndex; hash: string }[]> = { result: undefined };
  void Promise.all(running.map((member) => replicaOf(world, member).stateHash())).then((all) => {
    pending.result = all;
  });
  return settled(world, pending);
}

export async function expectEqualHashes(world: World): Promise<void> {
  const all = await hashes(world);
  expect(new Set(all.map(({ index, hash }) => `${index} ${hash}`)).size).toBe(1);
}

/** Settles a promise by letting time pass. */
export async function outcome<T>(
  world: World,
  promise: Promise<T>,
): Promise<
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown }
> {
  const pending: Pending<{ ok: true; value: T } | { ok: false; error: unknown }> = {
    result: undefined,
  };
  promise.then(
    (value) => {
      pending.result = { ok: true, value };
    },
    (error: unknown) => {
      pending.result = { ok: false, error };
    },
  );
  return settled(world, pending);
}
