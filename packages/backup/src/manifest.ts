import { isShardId, KvError, type Plain, type ShardId } from '@kvorum/base';
import type { SnapshotInfo } from '@kvorum/ports';

/** Format of the manifest; a newer one is refused. */
export const MANIFEST_FORMAT = 1;
const SUFFIX = '.manifest.json';

/** One shard's copy in a backup. */
export interface BackupFile extends SnapshotInfo {
  /** Position of the copy. */
  readonly generation: number;
  readonly offset: number;
  readonly index: number;
  readonly revision: number;
  readonly compactRevision: number;
  readonly rowCount: number;
  /** Digest of the logical content, 16 hex digits: what a restored copy must come to. */
  readonly stateHash: string;
}

/** What a backup consists of; the document `<name>.manifest.json`. Written last: a backup without it does not exist. */
export interface BackupManifest {
  readonly format: number;
  readonly name: string;
  /** 16 hex digits. */
  readonly clusterId: string;
  /** ISO 8601, UTC: when the first copy was begun and the last one was done. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Version of the shard map that it was made under. */
  readonly mapVersion: number;
  /** Highest revision of any shard. */
  readonly revision: number;
  readonly bytes: number;
  readonly files: readonly BackupFile[];
}

export function manifestName(backup: string): string {
  return `${backup}${SUFFIX}`;
}

/** The backup behind a document's name; undefined for other documents. */
export function backupOf(document: string): string | undefined {
  return document.endsWith(SUFFIX) ? document.slice(0, -SUFFIX.length) : undefined;
}

export function formatManifest(manifest: BackupManifest): string {
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

const damaged = (name: string, what: string): KvError =>
  new KvError('KV_BACKUP', `the manifest of backup ${name} is damaged: ${what}`, {
    details: { hint: 'use another backup; `kvctl backup list` shows them' },
  });

/** Reads checked fields of one object of a manifest. */
class Fields {
  readonly #from: Plain;
  readonly #backup: string;

  constructor(backup: string, value: unknown, what: string) {
    if (typeof value !== 'object' || value === null) throw damaged(backup, `${what} is no object`);
    this.#from = value as Plain;
    this.#backup = backup;
  }

  text(name: string, pattern: RegExp): string {
    const value = this.#from[name];
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw damaged(this.#backup, `${name} is ${JSON.stringify(value)}`);
  }

  count(name: string, min = 0): number {
    const value = this.#from[name];
    if (Number.isSafeInteger(value) && (value as number) >= min) return value as number;
    throw damaged(this.#backup, `${name} is ${JSON.stringify(value)}`);
  }

  list(name: string): readonly unknown[] {
    const value = this.#from[name];
    if (Array.isArray(value)) return value;
    throw damaged(this.#backup, `${name} is no list`);
  }

  shard(): ShardId {
    const value = this.#from['shard'];
    if (isShardId(value)) return value;
    throw damaged(this.#backup, `shard is ${JSON.stringify(value)}`);
  }
}

function parseFile(backup: string, value: unknown): BackupFile {
  const from = new Fields(backup, value, 'a file');
  return {
    shard: from.shard(),
    name: from.text('name', /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/),
    bytes: from.count('bytes'),
    sha256: from.text('sha256', /^[0-9a-f]{64}$/),
    generation: from.count('generation'),
    offset: from.count('offset', -1),
    index: from.count('index'),
    revision: from.count('revision'),
    compactRevision: from.count('compactRevision', -1),
    rowCount: from.count('rowCount'),
    stateHash: from.text('stateHash', /^[0-9a-f]{16}$/),
  };
}

/** Errors: KV_BACKUP with the field that is wrong, or the format that this build does not know. */
export function parseManifest(backup: string, text: string): BackupManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(backup, 'it is not JSON');
  }
  const from = new Fields(backup, value, 'it');
  const format = from.count('format');
  if (format !== MANIFEST_FORMAT) {
    const known = `format ${format}, this build reads ${MANIFEST_FORMAT}`;
    throw new KvError('KV_BACKUP', `the manifest of backup ${backup} has ${known}`);
  }
  return {
    format,
    name: from.text('name', /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/),
    clusterId: from.text('clusterId', /^[0-9a-f]{16}$/),
    startedAt: from.text('startedAt', /^\d{4}-\d\d-\d\dT/),
    finishedAt: from.text('finishedAt', /^\d{4}-\d\d-\d\dT/),
    mapVersion: from.count('mapVersion'),
    revision: from.count('revision'),
    bytes: from.count('bytes'),
    files: from.list('files').map((file) => parseFile(backup, file)),
  };
}
