import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isKvError, KvError, type ShardId } from '@kvorum/base';
import type { SnapshotInfo, SnapshotStore } from '@kvorum/ports';
import {
  checkName,
  failed,
  isName,
  parseSeal,
  SEAL_SUFFIX,
  sealText,
  sortedShards,
} from './store-names.ts';

const READ_BYTES = 256 * 1024;
const HINT = 'make it a directory that this user can write, with room for the copy';

/**
 * Copies in a directory: `<shard>/<name>` with its seal beside it, documents at the top. Everything is written aside, synced and
 * renamed. Created when it is first written to.
 */
export function openDirectoryStore(directory: string): SnapshotStore {
  return new DirectoryStore(resolve(directory));
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

class DirectoryStore implements SnapshotStore {
  readonly where: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.where = pathToFileURL(root).href;
  }

  async save(
    shard: ShardId,
    name: string,
    content: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotInfo> {
    const path = this.#path(shard, name);
    // Its seal first: what is being replaced must not be taken for the new content.
    await this.#remove(`${path}${SEAL_SUFFIX}`);
    const { bytes, sha256 } = await this.#write(path, content);
    const info = { shard, name, bytes, sha256 };
    await this.#write(`${path}${SEAL_SUFFIX}`, [Buffer.from(sealText(info))]);
    return info;
  }

  async list(shard: ShardId): Promise<readonly SnapshotInfo[]> {
    const names = await this.#names(join(this.#root, shard));
    const sealed = names.filter((name) => isName(name) && names.includes(`${name}${SEAL_SUFFIX}`));
    const infos: SnapshotInfo[] = [];
    for (const name of sealed.sort()) {
      const text = await this.#read(`${this.#path(shard, name)}${SEAL_SUFFIX}`);
      if (text !== undefined) infos.push(parseSeal(shard, name, text));
    }
    return infos;
  }

  async shards(): Promise<readonly ShardId[]> {
    const found: ShardId[] = [];
    for (const shard of sortedShards(await this.#names(this.#root))) {
      if ((await this.list(shard)).length > 0) found.push(shard);
    }
    return found;
  }

  async *load(info: SnapshotInfo): AsyncIterable<Uint8Array> {
    const path = this.#path(info.shard, info.name);
    try {
      const { size } = await stat(path);
      if (size !== info.bytes) {
        throw new KvError('KV_BACKUP', `${path}: ${size} bytes, but ${info.bytes} were written`);
      }
      for await (const piece of createReadStream(path, { highWaterMark: READ_BYTES })) {
        yield piece as Uint8Array;
      }
    } catch (error) {
      if (isKvError(error)) throw error;
      throw failed(`cannot read ${path}`, error);
    }
  }

  async remove(info: SnapshotInfo): Promise<void> {
    const path = this.#path(info.shard, info.name);
    await this.#remove(`${path}${SEAL_SUFFIX}`);
    await this.#remove(path);
  }

  async writeDocument(name: string, text: string): Promise<void> {
    await this.#write(join(this.#root, checkName(name)), [Buffer.from(text)]);
  }

  readDocument(name: string): Promise<string | undefined> {
    return this.#read(join(this.#root, checkName(name)));
  }

  async documents(): Promise<readonly string[]> {
    const entries = await this.#entries(this.#root);
    return entries
      .filter((entry) => entry.isFile() && isName(entry.name))
      .map((entry) => entry.name)
      .sort();
  }

  removeDocument(name: string): Promise<void> {
    return this.#remove(join(this.#root, checkName(name)));
  }

  async close(): Promise<void> {}

  #path(shard: ShardId, name: string): string {
    return join(this.#root, shard, checkName(name));
  }

  async #entries(
    directory: string,
  ): Promise<readonly { readonly name: string; isFile(): boolean }[]> {
    try {
      return await readdir(directory, { withFileTypes: true });
    } catch (error) {
      if (isAbsent(error)) return [];
      throw failed(`cannot list ${directory}`, error);
    }
  }

  async #names(directory: string): Promise<string[]> {
    return (await this.#entries(directory)).map((entry) => entry.name);
  }

  async #read(path: string): Promise<string | undefined> {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw failed(`cannot read ${path}`, error);
    }
  }

  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
    } catch (error) {
      throw failed(`cannot remove ${path}`, error);
    }
  }

  /** Errors of `content` pass through as they are; those of the disk become KV_BACKUP. */
  async #write(
    path: string,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<{ readonly bytes: number; readonly sha256: string }> {
    // Hidden, so that no listing takes it for a copy.
    const aside = join(dirname(path), `.${process.pid}-${Date.now()}.part`);
    const disk = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        throw failed(`cannot write ${path}`, error, HINT);
      }
    };
    await disk(mkdir(dirname(path), { recursive: true, mode: 0o700 }));
    const file = await disk(open(aside, 'wx', 0o600));
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const piece of content) {
        hash.update(piece);
        await disk(file.writeFile(piece));
        bytes += piece.length;
      }
      await disk(file.sync());
      await file.close();
      await disk(rename(aside, path));
      await disk(syncDirectory(dirname(path)));
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
