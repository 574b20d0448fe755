import { assert, isShardId, KvError, META_SHARD, type ShardId } from '@kvorum/base';
import type { SnapshotInfo } from '@kvorum/ports';

/** A copy exists when this small file stands beside it: it is written last, when the content is durable. */
export const SEAL_SUFFIX = '.sealed';

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;

/** Refuses what could leave the store or be taken for something else in it. */
export function checkName(name: string): string {
  assert(NAME.test(name) && !name.endsWith(SEAL_SUFFIX), `not a plain name: ${name}`);
  return name;
}

/** Whether a listed name is one that this package gave. */
export function isName(name: string): boolean {
  return NAME.test(name) && !name.endsWith(SEAL_SUFFIX);
}

export function failed(what: string, error: unknown, hint?: string): KvError {
  const why = error instanceof Error ? error.message || error.name : String(error);
  return new KvError('KV_BACKUP', `${what}: ${why}`, {
    cause: error,
    ...(hint === undefined ? {} : { details: { hint } }),
  });
}

export function sealText(info: SnapshotInfo): string {
  return `${JSON.stringify({ bytes: info.bytes, sha256: info.sha256 })}\n`;
}

/** Errors: KV_BACKUP when the seal is damaged. */
export function parseSeal(shard: ShardId, name: string, text: string): SnapshotInfo {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // refused below
  }
  const from = (typeof value === 'object' && value !== null ? value : {}) as Partial<SnapshotInfo>;
  const { bytes, sha256 } = from;
  if (
    bytes === undefined ||
    !Number.isSafeInteger(bytes) ||
    bytes < 0 ||
    sha256 === undefined ||
    !/^[0-9a-f]{64}$/.test(sha256)
  ) {
    throw new KvError('KV_BACKUP', `the seal of copy ${name} of shard ${shard} is damaged`, {
      details: { hint: `remove ${shard}/${name} and ${shard}/${name}${SEAL_SUFFIX}` },
    });
  }
  return { shard, name, bytes, sha256 };
}

const order = (shard: ShardId): number => (shard === META_SHARD ? Number.MAX_VALUE : Number(shard));

/** The shard ids among some names: data shards in numeric order, then `meta`. */
export function sortedShards(names: Iterable<string>): readonly ShardId[] {
  return [...new Set([...names].filter(isShardId))].sort((a, b) => order(a) - order(b));
}
