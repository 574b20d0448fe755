import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCount, KvError } from '@kvorum/base';
import type { GenesisEntry } from '@kvorum/shard';
import { writeAside } from './data-directory.ts';

const FILE = 'meta-generation.json';
const ID = /^[0-9a-f]{16}$/;

/**
 * In which generation of its log the meta group is, as this member knows. Those of the data shards stand in the shard map; that of
 * the group which holds the map cannot.
 */
export interface MetaGeneration {
  readonly generation: number;
  /** This member begins the generation, with its own state. */
  readonly genesis?: GenesisEntry | undefined;
}

/** Undefined for anything else. */
export function parseGenesis(value: unknown): GenesisEntry | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { member, index, revision } = value as Readonly<Record<string, unknown>>;
  if (typeof member !== 'string' || !ID.test(member)) return undefined;
  return isCount(index) && isCount(revision) ? { member, index, revision } : undefined;
}

/** Generation 0 where nothing was ever recovered. Errors: KV_DATA_DIR for a file that cannot be read: guessing could split the group. */
export function readMetaGeneration(directory: string): MetaGeneration {
  const path = join(directory, FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { generation: 0 };
    throw damaged(path, error);
  }
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch (error) {
    throw damaged(path, error);
  }
  const { generation, genesis } = (plain ?? {}) as Readonly<Record<string, unknown>>;
  if (!isCount(generation)) throw damaged(path, undefined);
  const begins = parseGenesis(genesis);
  return begins === undefined ? { generation } : { generation, genesis: begins };
}

export function saveMetaGeneration(directory: string, value: MetaGeneration): void {
  writeAside(join(directory, FILE), value);
}

function damaged(path: string, cause: unknown): KvError {
  return new KvError('KV_DATA_DIR', `${path} cannot be read`, {
    details: {
      hint: 'put the file back as it was, or kvctl member replace this member and start it with an empty dataDir',
    },
    cause,
  });
}
