import { readFile, rename, writeFile } from 'node:fs/promises';
import { fromHex, toHex } from '@kvorum/base';
import { isErrno, syncPath } from './synced-files.ts';

const VERSION = 1;

/** How much of an image a side directory holds, synced. */
export interface ReceivedRecord {
  readonly received: number;
  /** The directory is a LevelDB. */
  readonly complete: boolean;
  readonly note: Uint8Array;
  readonly layout: Uint8Array;
}

/** Undefined for none, and for one of another version. */
export async function readReceived(path: string): Promise<ReceivedRecord | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  return parsed(text);
}

function parsed(text: string): ReceivedRecord | undefined {
  try {
    const plain: unknown = JSON.parse(text);
    if (typeof plain !== 'object' || plain === null) return undefined;
    const { version, received, complete, note, layout }: Readonly<Record<string, unknown>> = {
      ...plain,
    };
    if (version !== VERSION || typeof received !== 'number' || typeof complete !== 'boolean') {
      return undefined;
    }
    const [noteBytes, layoutBytes] = [bytesOf(note), bytesOf(layout)];
    if (noteBytes === undefined || layoutBytes === undefined) return undefined;
    return { received, complete, note: noteBytes, layout: layoutBytes };
  } catch {
    return undefined; // no JSON: nothing that this version wrote
  }
}

function bytesOf(text: unknown): Uint8Array | undefined {
  return typeof text === 'string' ? fromHex(text) : undefined;
}

/** Replaces the record; a crash leaves the former one or this one, and this one once it resolves. */
export async function writeReceived(
  { root, record: path }: { readonly root: string; readonly record: string },
  record: ReceivedRecord,
): Promise<void> {
  const { received, complete } = record;
  const [note, layout] = [toHex(record.note), toHex(record.layout)];
  const text = JSON.stringify({ version: VERSION, received, complete, note, layout });
  const next = `${path}.next`;
  await writeFile(next, text, { flush: true });
  await rename(next, path);
  await syncPath(root);
}
