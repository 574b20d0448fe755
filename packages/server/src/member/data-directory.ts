import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { type ClusterId, formatId, KvError, type MemberId, toHex } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { KvdConfig } from '../config/schema.ts';
import { describeCluster } from './cluster.ts';

/** Version of the directory's layout; a newer one is refused. */
export const DATA_FORMAT = 1;

export interface DataDirectory {
  readonly path: string;
  /** Identity of this disk, 32 hex digits: a wiped and re-created directory has another one. */
  readonly diskId: string;
  readonly replicas: string;
  readonly log: string;
}

interface IdentityFile {
  readonly format: number;
  readonly clusterId: string;
  readonly memberId: string;
  readonly memberName: string;
  readonly diskId: string;
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
function writeIdentity(path: string, identity: IdentityFile): void {
  const aside = `${path}.new`;
  const file = openSync(aside, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(identity, undefined, 2)}\n`);
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
  if (found.memberId !== member) {
    throw refuse(
      path,
      `it belongs to member "${found.memberName}" (${found.memberId}), this is ${member}`,
      'give every member a dataDir of its own',
    );
  }
}

/** The data directory of the configured member; see {@link openDataDirectory}. */
export function openMemberDirectory(config: KvdConfig, rng: Rng): DataDirectory {
  const { id, self } = describeCluster(config);
  return openDataDirectory(config.dataDir, { cluster: id, member: self.id, name: self.name }, rng);
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
    mkdirSync(join(path, 'replicas'), { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (error) {
    throw refuse(path, (error as Error).message, hint, error);
  }
  const file = join(path, 'identity.json');
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
    };
    try {
      writeIdentity(file, identity);
    } catch (error) {
      throw refuse(path, (error as Error).message, hint, error);
    }
  }
  checkOwner(path, identity, cluster, member);
  return {
    path,
    diskId: identity.diskId,
    replicas: join(path, 'replicas'),
    log: join(path, 'log'),
  };
}
