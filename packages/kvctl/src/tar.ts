import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { IoError } from './exit.ts';

/** A file in a tar (POSIX ustar). */
export interface TarEntry {
  readonly name: string;
  readonly bytes: number;
  /** Where its content begins. */
  readonly offset: number;
}

const BLOCK = 512;
const NAME_BYTES = 100;
/** Eleven octal digits; more is written in base 256, as GNU's tar does. */
const OCTAL_BYTES_MAX = 8 ** 11 - 1;
const SIZE_AT = 124;
const CHECKSUM_AT = 148;

const padded = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK;

function checksumOf(header: Uint8Array): number {
  return header.reduce(
    (sum, byte, at) => sum + (at >= CHECKSUM_AT && at < CHECKSUM_AT + 8 ? 0x20 : byte),
    0,
  );
}

function headerOf(name: string, bytes: number, modifiedMs: number): Uint8Array {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, NAME_BYTES, 'utf8');
  header.write(['0000600', '0000000', '0000000', ''].join('\0'), 100, 'latin1');
  if (bytes <= OCTAL_BYTES_MAX) {
    header.write(`${bytes.toString(8).padStart(11, '0')}\0`, SIZE_AT, 'latin1');
  } else {
    header.writeUInt8(0x80, SIZE_AT);
    header.writeBigUInt64BE(BigInt(bytes), SIZE_AT + 4);
  }
  const seconds = Math.floor(modifiedMs / 1000);
  header.write(`${seconds.toString(8).padStart(11, '0')}\0`, 136, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(`${checksumOf(header).toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT, 'latin1');
  return header;
}

/** Files below a directory, by their names from there. */
async function filesIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true });
  const root = normalize(directory);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** Writes all files of a directory, the whole of it synced. */
export async function packTar(directory: string, file: FileHandle): Promise<void> {
  for (const name of await filesIn(directory)) {
    const path = join(directory, name);
    const { size, mtimeMs } = await stat(path);
    if (Buffer.byteLength(name) > NAME_BYTES) throw new IoError(`${name} is too long a name`);
    await file.writeFile(headerOf(name, size, mtimeMs));
    for await (const piece of createReadStream(path)) await file.writeFile(piece as Uint8Array);
    await file.writeFile(new Uint8Array(padded(size) - size));
  }
  await file.writeFile(new Uint8Array(2 * BLOCK));
  await file.sync();
}

const isTarHeader = (header: Buffer): boolean =>
  header.toString('latin1', 257, 262) === 'ustar' &&
  Number.parseInt(header.toString('latin1', CHECKSUM_AT, CHECKSUM_AT + 8), 8) ===
    checksumOf(header);

/** What is in it; undefined when it is no tar. Errors: IoError when it is damaged or ends early. */
export async function tarEntries(
  path: string,
  file: FileHandle,
): Promise<readonly TarEntry[] | undefined> {
  const { size } = await file.stat();
  const found: TarEntry[] = [];
  const header = Buffer.alloc(BLOCK);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(header, 0, BLOCK, at);
    if (bytesRead === BLOCK && header.every((byte) => byte === 0)) return found;
    if (bytesRead < BLOCK || !isTarHeader(header)) {
      if (found.length === 0) return undefined;
      throw new IoError(`${path} is damaged, or not whole: ${found.length} files can be read`);
    }
    const [name = ''] = header.toString('utf8', 0, NAME_BYTES).split('\0', 1);
    const isLarge = header.readUInt8(SIZE_AT) === 0x80;
    const bytes = isLarge
      ? Number(header.readBigUInt64BE(SIZE_AT + 4))
      : Number.parseInt(header.toString('latin1', SIZE_AT, SIZE_AT + 12), 8);
    const offset = at + BLOCK;
    at = offset + padded(bytes);
    if (!(at <= size)) throw new IoError(`${path} is not whole: it ends in ${name}`);
    found.push({ name, bytes, offset });
  }
}

/** Content of one file of it. */
export function tarContent(path: string, { offset, bytes }: TarEntry): AsyncIterable<Uint8Array> {
  return bytes === 0 ? none() : createReadStream(path, { start: offset, end: offset + bytes - 1 });
}

async function* none(): AsyncGenerator<Uint8Array> {
  yield* [];
}

/** Writes its files into a directory. Errors: IoError for a name that leads out of it. */
export async function unpackTar(
  path: string,
  entries: readonly TarEntry[],
  directory: string,
): Promise<void> {
  for (const entry of entries) {
    if (!/^[\w.-]+(\/[\w.-]+)*$/.test(entry.name) || entry.name.split('/').includes('..')) {
      throw new IoError(`${path} holds a file of a strange name: ${JSON.stringify(entry.name)}`);
    }
    const target = join(directory, entry.name);
    await mkdir(dirname(target), { recursive: true });
    const file = await open(target, 'wx', 0o600);
    try {
      for await (const piece of tarContent(path, entry)) await file.writeFile(piece);
    } finally {
      await file.close();
    }
  }
}
