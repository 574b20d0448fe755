import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isKvError, KvError } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import { makeDirectory } from './make-directory.ts';
import { type Listed, type ObjectStore, sealedStore, type Written } from './sealed-store.ts';
import { failed } from './store-names.ts';

const READ_BYTES = 256 * 1024;
const HINT = 'make it a directory that this user can write, with room for the copy';

/** Copies in a directory, which is created when it is first written to. */
export function openDirectoryStore(directory: string): SnapshotStore {
  return sealedStore(new DirectoryObjects(resolve(directory)));
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Everything is written aside, synced and renamed. */
class DirectoryObjects implements ObjectStore {
  readonly where: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.where = pathToFileURL(root).href;
  }

  async list(folder: string): Promise<Listed> {
    const directory = join(this.#root, folder);
    try {
      const entries = await readdir(directory, { withFileTypes: true });
      const names = (isWanted: (entry: (typeof entries)[number]) => boolean): string[] =>
        entries.filter(isWanted).map(({ name }) => name);
      // A link may lead to either.
      return {
        objects: names((entry) => !entry.isDirectory()),
        folders: names((entry) => !entry.isFile()),
      };
    } catch (error) {
      if (isAbsent(error)) return { objects: [], folders: [] };
      throw failed(`cannot list ${directory}`, error);
    }
  }

  async *read(key: string, bytes: number): AsyncGenerator<Uint8Array> {
    const path = join(this.#root, key);
    try {
      const { size } = await stat(path);
      if (size !== bytes) {
        throw new KvError('KV_BACKUP', `${path}: ${size} bytes, but ${bytes} were written`);
      }
      for await (const piece of createReadStream(path, { highWaterMark: READ_BYTES })) {
        yield piece as Uint8Array;
      }
    } catch (error) {
      if (isKvError(error)) throw error;
      throw failed(`cannot read ${path}`, error);
    }
  }

  async readText(key: string): Promise<string | undefined> {
    const path = join(this.#root, key);
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw failed(`cannot read ${path}`, error);
    }
  }

  async remove(key: string): Promise<void> {
    const path = join(this.#root, key);
    try {
      await rm(path, { force: true });
    } catch (error) {
      throw failed(`cannot remove ${path}`, error);
    }
  }

  async close(): Promise<void> {}

  /** Errors of `content` pass through as they are; those of the disk become KV_BACKUP. */
  async write(key: string, content: AsyncIterable<Uint8Array>): Promise<Written> {
    const path = join(this.#root, key);
    // Hidden, so that no listing takes it for a copy.
    const aside = join(dirname(path), `.${process.pid}-${Date.now()}.part`);
    const disk = async <T>(work: () => T | Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (error) {
        throw failed(`cannot write ${path}`, error, HINT);
      }
    };
    await disk(() => makeDirectory(dirname(path)));
    const file = await disk(() => open(aside, 'wx', 0o600));
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const piece of content) {
        hash.update(piece);
        await disk(() => file.writeFile(piece));
        bytes += piece.length;
      }
      await disk(() => file.sync());
      await file.close();
      await disk(() => rename(aside, path));
      await disk(() => syncDirectory(dirname(path)));
    } catch (error) {
      await file.close().catch(() => undefined); // closed already
      await rm(aside, { force: true });
      throw error;
    }
    return { bytes, sha256: hash.digest('hex') };
  }
}

/** So that the rename survives the crash of the machine. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
