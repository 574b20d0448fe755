import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { numberText } from './symbols.ts';

/** What is compared: text for bytes and numbers, revisions relative to the sequence's first, no ids, terms and times. */
export type Normal =
  | string
  | number
  | boolean
  | readonly Normal[]
  | { readonly [key: string]: Normal };

/** How the numbers of one system read to both. */
export interface Numbers {
  revision(value: bigint): string;
  lease(value: bigint): string;
  /** Of users and roles. */
  authRevision(value: bigint): string;
}

const REVISIONS = new Set([
  ...['revision', 'createRevision', 'modRevision', 'compactRevision', 'hashRevision', 'rev'],
]);
const LEASES = new Set(['lease', 'ID']);
/** Each system has its own. */
const HIDDEN = new Set(['token', 'hash']);
const BYTES_SHOWN_MAX = 40;

/** Bytes as in a URL; long ones by length and hash. */
export function bytesText(bytes: Uint8Array): string {
  if (bytes.length > BYTES_SHOWN_MAX) {
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
    return `${bytes.length} bytes ${hash}`;
  }
  const characters = [...bytes].map((byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).padStart(2, '0')}`,
  );
  return characters.join('');
}

/** One line. */
export function normalText(normal: Normal): string {
  return inspect(normal, { depth: null, compact: true, breakLength: Number.POSITIVE_INFINITY });
}

/** A message with everything that says something, for people. */
export function textOf(message: object): string {
  return normalText(
    normalForm(message, { revision: numberText, lease: numberText, authRevision: numberText }),
  );
}

/**
 * The normal form of a message. Fields with their default value are left out, as on the wire; of a header stay its revision and
 * whether the ids and the term are there at all.
 */
export function normalForm(message: object, numbers: Numbers): Normal {
  return normalOf(message, '', numbers) ?? {};
}

function normalOf(value: unknown, field: string, numbers: Numbers): Normal | undefined {
  if (HIDDEN.has(field)) return 'hidden';
  if (typeof value === 'bigint') return value === 0n ? undefined : numberOf(value, field, numbers);
  if (value instanceof Uint8Array) return value.length === 0 ? undefined : bytesText(value);
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (typeof value === 'number') return value === 0 ? undefined : value;
  if (typeof value === 'boolean') return value || undefined;
  if (Array.isArray(value)) {
    if (value.length === 0) return undefined;
    return value.map((item: unknown) => normalOf(item, field, numbers) ?? '');
  }
  if (typeof value !== 'object' || value === null) return undefined;
  return field === 'header' ? headerOf(value, numbers) : fieldsOf(value, numbers);
}

function numberOf(value: bigint, field: string, numbers: Numbers): string {
  if (REVISIONS.has(field)) return numbers.revision(value);
  if (field === 'authRevision') return numbers.authRevision(value);
  return LEASES.has(field) ? numbers.lease(value) : numberText(value);
}

function headerOf(value: object, numbers: Numbers): Normal {
  const header = value as Readonly<Record<string, unknown>>;
  const revision = normalOf(header['revision'], 'revision', numbers) ?? '0';
  const ids = ['clusterId', 'memberId', 'raftTerm'].filter((name) => header[name] !== 0n);
  return ids.length === 0 ? { revision } : { revision, ids };
}

function fieldsOf(value: object, numbers: Numbers): Normal {
  // A oneof, as protobuf-es has it.
  if ('case' in value && 'value' in value && typeof value.case === 'string') {
    return { [value.case]: normalOf(value.value, value.case, numbers) ?? {} };
  }
  const fields: Record<string, Normal> = {};
  for (const [name, content] of Object.entries(value)) {
    if (name.startsWith('$')) continue;
    const normal = normalOf(content, name, numbers);
    if (normal !== undefined) fields[name] = normal;
  }
  return fields;
}
