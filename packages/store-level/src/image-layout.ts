import { fromUtf8, KvError, utf8 } from '@kvorum/base';

/** One file of a LevelDB, or its beginning: what was appended after the moment of the image is no part of it. */
export interface ImageFile {
  readonly name: string;
  readonly bytes: number;
}

/** What the bytes of an image are: the files one after the other, and the text of CURRENT, which makes a LevelDB of them. */
export interface ImageLayout {
  readonly current: string;
  readonly files: readonly ImageFile[];
}

const FORM = 'leveldb';
const VERSION = 1;
/** Names come from another member: nothing else may be written. */
const TABLE = /^\d{6,}\.(?:ldb|sst)$/;
const LOG = /^\d{6,}\.log$/;
const MANIFEST = /^MANIFEST-\d{6,}$/;

export function isTable(name: string): boolean {
  return TABLE.test(name);
}

export function isLog(name: string): boolean {
  return LOG.test(name);
}

/** Which file the text of CURRENT names. Errors: KV_CORRUPT. */
export function manifestOf(current: string): string {
  const name = current.trimEnd();
  if (!MANIFEST.test(name)) throw new KvError('KV_CORRUPT', 'CURRENT names no manifest');
  return name;
}

export function layoutBytes({ files }: ImageLayout): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

export function encodeLayout({ current, files }: ImageLayout): Uint8Array {
  const plain = files.map(({ name, bytes }) => [name, bytes]);
  return utf8(JSON.stringify({ form: FORM, version: VERSION, current, files: plain }));
}

/** Errors: KV_CORRUPT for what is no layout of a LevelDB, or one of a later version. */
export function decodeLayout(layout: Uint8Array): ImageLayout {
  const { form, version, current, files } = parsed(layout);
  if (form !== FORM || version !== VERSION) {
    throw new KvError(
      'KV_CORRUPT',
      `an image of another kind of stores: ${String(form)} ${String(version)}`,
    );
  }
  if (typeof current !== 'string' || !Array.isArray(files)) throw malformed();
  const list = files.map(decodeFile);
  const names = new Set(list.map(({ name }) => name));
  if (names.size !== list.length || !names.has(manifestOf(current))) throw malformed();
  return { current, files: list };
}

function decodeFile(file: unknown): ImageFile {
  const [name, bytes] = (Array.isArray(file) ? file : []) as readonly unknown[];
  if (typeof name !== 'string' || typeof bytes !== 'number') throw malformed();
  const known = isTable(name) || isLog(name) || MANIFEST.test(name);
  if (!known || !Number.isSafeInteger(bytes) || bytes <= 0) throw malformed();
  return { name, bytes };
}

function parsed(layout: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(fromUtf8(layout));
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch {
    // The same as any other text that is no layout.
  }
  throw malformed();
}

function malformed(): KvError {
  return new KvError('KV_CORRUPT', 'the layout of the image is malformed');
}
