import { formatId, isShardId, KvError, memberId } from '@kvorum/base';
import {
  changeMembers,
  knownMember,
  type MemberChange,
  type MemberEntry,
  memberNamed,
  moveReplica,
  previewQuorums,
  type ShardMap,
} from '@kvorum/shard';
import type {
  MemberChanged,
  MemberChangeParams,
  MoveReplicaParams,
  VotersPreview,
} from '@kvorum/wire';
import { splitAddress } from '../config/address.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import { systemRng } from './system.ts';

export interface MemberAdminParts {
  readonly self: string;
  readonly editor: MapEditor;
  readonly map: () => ShardMap;
  readonly isReachable: (member: ReturnType<typeof memberIdOf>) => boolean;
}

/** An id that no member has had. */
function freshId(): string {
  return formatId(memberId(new DataView(systemRng.bytes(8).buffer).getBigUint64(0) | 1n));
}

function checkAddress(address: string, what: string): string {
  try {
    if (splitAddress(address.replace(/^https?:\/\//, '')).port > 0) return address;
  } catch {
    // no address at all: refused likewise
  }
  throw new KvError('KV_INVALID_ARGUMENT', `${what} must be host:port, not "${address}"`);
}

/** Changes the members in the shard map on behalf of an operator; what follows from it the members drive by themselves. */
export class MemberAdmin {
  readonly #parts: MemberAdminParts;

  constructor(parts: MemberAdminParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the map has the change, or with what would be. Errors: KV_NOT_FOUND and KV_INVALID_ARGUMENT with what is wrong;
   * KV_TIMEOUT when the meta group takes no edit.
   */
  async change(params: MemberChangeParams): Promise<MemberChanged> {
    const { editor, map: current } = this.#parts;
    const newId = freshId();
    const edit = (map: ShardMap): ShardMap | undefined => {
      const next = changeMembers(map, this.#changeOf(map, params, newId));
      if (next !== undefined && params.force !== true) this.#checkQuorums(params, map, next);
      return next;
    };
    const before = current();
    const wanted = edit(before);
    const map = params.dryRun === true ? (wanted ?? before) : await editor.update(edit);
    const id = memberNamed(map, params.by ?? params.member)?.id ?? newId;
    return {
      id,
      mapVersion: map.version,
      changed: wanted !== undefined && params.dryRun !== true,
      shards: this.#preview(map),
      members: map.members
        .filter(({ state }) => state !== 'leaving')
        .map(({ name, peer, client }) => ({ name, peer, client })),
    };
  }

  async move(params: MoveReplicaParams): Promise<{ mapVersion: number; changed: boolean }> {
    const { shard, from, to } = params;
    if (!isShardId(shard)) throw new KvError('KV_NOT_FOUND', `no shard ${shard}`);
    let changed = false;
    const map = await this.#parts.editor.update((present) => {
      const next = moveReplica(present, { shard, from, to });
      changed ||= next !== undefined;
      return next;
    });
    return { mapVersion: map.version, changed };
  }

  #changeOf(map: ShardMap, params: MemberChangeParams, newId: string): MemberChange {
    const { kind, member, zone } = params;
    const peer = params.peer === undefined ? undefined : checkAddress(params.peer, '--peer');
    const client =
      params.client === undefined ? undefined : checkAddress(params.client, '--client');
    const zoned = zone === undefined ? {} : { zone };
    switch (kind) {
      case 'add':
        if (peer === undefined || client === undefined) {
          throw new KvError('KV_INVALID_ARGUMENT', 'a new member needs --peer and --client');
        }
        return { kind, member: { id: newId, name: member, peer, client, ...zoned } };
      case 'replace':
        return { kind, member, by: this.#successor(map, params, newId) };
      case 'update':
        return {
          kind,
          member,
          ...(peer === undefined ? {} : { peer }),
          ...(client === undefined ? {} : { client }),
          ...zoned,
        };
      case 'drain':
      case 'exclude':
        return { kind, member, cancel: params.cancel === true };
      default:
        return { kind, member };
    }
  }

  /** A member of the map, a new one at given addresses, or the same one with an empty disk. */
  #successor(map: ShardMap, params: MemberChangeParams, newId: string): MemberEntry {
    const { member, by, peer, client, zone } = params;
    const old = knownMember(map, member);
    const known = by === undefined ? undefined : memberNamed(map, by);
    if (known !== undefined && known.id !== old.id) return known;
    if (by !== undefined && by !== old.name && (peer === undefined || client === undefined)) {
      throw new KvError(
        'KV_INVALID_ARGUMENT',
        `no member ${by}; a new one needs --peer and --client`,
      );
    }
    const place = zone ?? old.zone;
    return {
      id: newId,
      name: by ?? old.name,
      peer: peer ?? old.peer,
      client: client ?? old.client,
      ...(place === undefined ? {} : { zone: place }),
    };
  }

  /** Refuses what would leave a shard without a live majority that has one now. */
  #checkQuorums(params: MemberChangeParams, before: ShardMap, after: ShardMap): void {
    if (params.kind !== 'remove' && params.kind !== 'drain') return;
    const alive = this.#alive(before);
    const lost = previewQuorums(after, alive).find(({ safe }) => !safe);
    if (lost === undefined) return;
    const names = (ids: readonly string[]): string => this.#names(after, ids).join(', ') || 'none';
    throw new KvError(
      'KV_INVALID_ARGUMENT',
      `without ${params.member} shard ${lost.shard} has the voters ${names(lost.voters)}, of which ${names(lost.alive)} answer; it needs ${lost.quorum}`,
      {
        details: {
          shard: lost.shard,
          hint: 'start the others first, or add members; --force does it all the same',
        },
      },
    );
  }

  #preview(map: ShardMap): readonly VotersPreview[] {
    return previewQuorums(map, this.#alive(map)).map((one) => ({
      ...one,
      voters: this.#names(map, one.voters),
      alive: this.#names(map, one.alive),
    }));
  }

  #names(map: ShardMap, ids: readonly string[]): readonly string[] {
    return ids.map((id) => memberNamed(map, id)?.name ?? id);
  }

  /** Members that answer, seen from here. One that was added and never started counts: it is about to. */
  #alive(map: ShardMap): ReadonlySet<string> {
    const { self, isReachable } = this.#parts;
    const living = map.members.filter(({ id }) => id === self || isReachable(memberIdOf(id)));
    return new Set(living.map(({ id }) => id));
  }
}
