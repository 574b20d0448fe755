import { fromUtf8, InvariantError, ok, type ShardId } from '@kvorum/base';
import {
  decodeHead,
  decodeMeta,
  initialMeta,
  isRow,
  META_KEY,
  revisionKey,
  rowKeyValue,
} from '@kvorum/mvcc';
import type { SimMember } from '../member.ts';
import type { Change, RecoveredState, Truth } from '../truth.ts';
import type { World } from '../world.ts';

const REVISION_PREFIX = revisionKey(0, 0)[0];

/** What a member's replica of a shard holds at this moment. */
export function stateOf(member: SimMember, shard: ShardId): RecoveredState {
  const row = member.stores.rows(shard, 'now').find(([key]) => isMeta(key));
  const meta = row === undefined ? ok(initialMeta()) : decodeMeta(row[1]);
  if (!meta.ok) throw new InvariantError(`${member.name}: the position row does not decode`);
  const { chainHash, index, revision } = meta.value;
  return { index, chainHash, revision, newest: newestOn(member, shard) };
}

function isMeta(key: Uint8Array): boolean {
  return key.length === META_KEY.length && key[0] === META_KEY[0];
}

/** The newest change of every key, oldest first. */
function newestOn(member: SimMember, shard: ShardId): readonly Change[] {
  const newest = new Map<string, Change>();
  for (const [storeKey, row] of member.stores.rows(shard, 'now')) {
    if (storeKey[0] !== REVISION_PREFIX || !isRow(row)) continue;
    const { key, value, modRevision: revision } = rowKeyValue(row);
    const name = fromUtf8(key);
    newest.set(name, {
      key: name,
      revision,
      value: decodeHead(row).deleted ? undefined : fromUtf8(value),
    });
  }
  return [...newest.values()].sort((a, b) => a.revision - b.revision);
}

/** Every replica is of the newest generation and holds what its log makes of the state that it stands on. Returns what is wrong. */
export function checkRecovered(world: World, shard: ShardId, truth: Truth): string[] {
  return world.members.flatMap((member) => {
    const about = `${member.name} shard ${shard}`;
    const status = member.replica(shard)?.status();
    const { accepted, halted } = status?.raft ?? {};
    if (halted !== undefined) return [`${about} is halted: ${halted.reason}: ${halted.detail}`];
    const generation = world.generation(shard);
    if (accepted?.generation !== generation) {
      return [`${about} is of generation ${accepted?.generation}, not ${generation}`];
    }
    return compare(newestOn(member, shard), truth).map((text) => `${about}: ${text}`);
  });
}

function compare(found: readonly Change[], truth: Truth): string[] {
  const values = new Map(found.map(({ key, value, revision }) => [key, text(value, revision)]));
  const names = new Set([...truth.keys(), ...values.keys()]);
  return [...names].flatMap((key) => {
    const version = truth.at(key, truth.revision);
    const expected = text(version?.value, version?.revision);
    const held = values.get(key) ?? text(undefined, undefined);
    return held === expected ? [] : [`${key} is ${held}, was ${expected}`];
  });
}

function text(value: string | undefined, revision: number | undefined): string {
  return value === undefined ? 'nothing' : `${value}@${revision}`;
}
