import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { type ClusterId, formatId, KvError, type MemberId, toHex } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { parseShardMap, type ShardMap } from '@kvorum/shard';
import { makeDirectory } from '@kvorum/snapshot-store';
import { memberIdOf } from './cluster.ts';

/** Version of the directory's layout; a newer one is refused. */
export const DATA_FORMAT = 1;

const IDENTITY_FILE = 'identity.json';
/** The newest shard map that this member has seen: where the others are when it starts again. */
const MAP_FILE = 'shard-map.json';

export interface DataDirectory {
  readonly path: string;
  readonly memberId: MemberId;
  /** Identity of this disk, 32 hex digits: a wiped and re-created directory has another one. */
  readonly diskId: string;
  /**
   * The shard map has this disk as the member's. Until then the disk may be the empty successor of one on which this member has voted.
   */
  readonly confirmed: boolean;
  readonly replicas: string;
  readonly log: string;
}

interface IdentityFile {
  readonly format: number;
  readonly clusterId: string;
  readonly memberId: string;
  readonly memberName: string;
  readonly diskId: string;
  /** Absent in files of the version before: true. */
  readonly confirmed?: boolean;
}

const refuse = (path: string, why: string, hint: string, cause?: unknown): KvError =>
  new KvError('KV_DATA_DIR', `${path}: ${why}`, {
    details: { hint },
    ...(cause === undefined ? {} : { cause }),
  });

function parseIdentity(path: string, text: string): IdentityFile {
  const hint = 'restore the file from a backup, or start this member with an empty directory';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse(path, 'the identity file is damaged (not JSON)', hint, error);
  }
  const from = (typeof value === 'object' && value !== null ? value : {}) as Partial<IdentityFile>;
  if (typeof from.format === 'number' && from.format > DATA_FORMAT) {
    throw refuse(
      path,
      `the directory has format ${from.format}; this kvd knows ${DATA_FORMAT}`,
      'start the newer kvd that wrote it',
    );
  }
  const texts = [from.clusterId, from.memberId, from.memberName, from.diskId];
  if (from.format !== DATA_FORMAT || texts.some((field) => typeof field !== 'string')) {
    throw refuse(path, 'the identity file is damaged (fields missing)', hint);
  }
  return from as IdentityFile;
}

function readIdentity(path: string): IdentityFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw refuse(path, (error as Error).message, 'make the file readable for this user', error);
  }
  return parseIdentity(path, text);
}

/** Written aside, synced and renamed: after a crash the file is whole or absent. */
export function writeAside(path: string, value: object): void {
  const aside = `${path}.new`;
  const file = openSync(aside, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(value, undefined, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
}

function checkOwner(path: string, found: IdentityFile, cluster: string, member: string): void {
  if (found.clusterId !== cluster) {
    throw refuse(
      path,
      `it belongs to cluster ${found.clusterId}, this configuration is cluster ${cluster}`,
      'check dataDir, clusterName and clusterToken',
    );
  }
  if (found.memberName !== member) {
    throw refuse(
      path,
      `it belongs to member "${found.memberName}" (${found.memberId}), this is "${member}"`,
      'give every member a dataDir of its own',
    );
  }
}

/**
 * Opens (creating it when absent) a member's data directory and checks whose it is.
 *
 * Errors: KV_DATA_DIR: foreign cluster, other member, newer format, damaged or unreadable.
 */
export function openDataDirectory(
  directory: string,
  owner: { readonly cluster: ClusterId; readonly member: MemberId; readonly name: string },
  rng: Rng,
): DataDirectory {
  const path = resolve(directory);
  const hint = 'make it a directory this user can write, or set dataDir';
  try {
    makeDirectory(join(path, 'replicas'));
    chmodSync(path, 0o700);
  } catch (error) {
    throw refuse(path, (error as Error).message, hint, error);
  }
  const file = join(path, IDENTITY_FILE);
  const cluster = formatId(owner.cluster);
  const member = formatId(owner.member);
  let identity = readIdentity(file);
  if (identity === undefined) {
    identity = {
      format: DATA_FORMAT,
      clusterId: cluster,
      memberId: member,
      memberName: owner.name,
      diskId: toHex(rng.bytes(16)),
      confirmed: false,
    };
    try {
      writeAside(file, identity);
    } catch (error) {
      throw refuse(path, (error as Error).message, hint, error);
    }
  }
  checkOwner(path, identity, cluster, owner.name);
  return {
    path,
    memberId: memberIdOf(identity.memberId),
    diskId: identity.diskId,
    confirmed: identity.confirmed ?? true,
    replicas: join(path, 'replicas'),
    log: join(path, 'log'),
  };
}

/** The member id in a directory that exists already; undefined in an empty one. Errors: as of {@link openDataDirectory}. */
export function memberOf(
  directory: string,
  owner: { readonly cluster: ClusterId; readonly name: string },
): MemberId | undefined {
  const path = resolve(directory);
  const identity = readIdentity(join(path, IDENTITY_FILE));
  if (identity === undefined) return undefined;
  checkOwner(path, identity, formatId(owner.cluster), owner.name);
  return memberIdOf(identity.memberId);
}

/** Notes that the shard map has this disk as the member's. */
export function confirmDirectory(directory: DataDirectory): void {
  const file = join(directory.path, IDENTITY_FILE);
  const identity = readIdentity(file);
  if (identity !== undefined) writeAside(file, { ...identity, confirmed: true });
}

/** The map that {@link saveMap} wrote last; undefined where there is none, or none that can be read: it is a hint only. */
export function savedMap(directory: string): ShardMap | undefined {
  try {
    const map = parseShardMap(JSON.parse(readFileSync(join(directory, MAP_FILE), 'utf8')));
    return map.ok ? map.value : undefined;
  } catch {
    return undefined;
  }
}

export function saveMap(directory: string, map: ShardMap): void {
  writeAside(join(directory, MAP_FILE), map);
}
