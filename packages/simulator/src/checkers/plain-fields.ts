import { isCount, isPlain, type Plain } from '@kvorum/base';
/** Raised while a line is read; caught where the line number is known. */
export class BadField extends Error {
  override readonly name = 'BadField';
}

export function bad(what: string): never {
  throw new BadField(what);
}

/** Readers of fields of parsed JSON; each throws {@link BadField} naming what was expected. */
export function object(value: unknown, path: string): Plain {
  return isPlain(value) ? value : bad(`${path} must be an object`);
}

export function list(value: unknown, path: string): readonly unknown[] {
  return Array.isArray(value) ? value : bad(`${path} must be an array`);
}

export function text(value: unknown, path: string): string {
  return typeof value === 'string' ? value : bad(`${path} must be a text`);
}

export function time(value: unknown, path: string): number {
  return typeof value === 'number' && Number.isFinite(value)
    ? value
    : bad(`${path} must be a number`);
}

export function counter(value: unknown, path: string): number {
  return isCount(value) ? value : bad(`${path} must be an integer >= 0`);
}

export function flag(value: unknown, path: string): boolean {
  return typeof value === 'boolean' ? value : bad(`${path} must be true or false`);
}

/** A signed 64-bit id as decimal text. */
export function id64(value: unknown, path: string): bigint {
  return typeof value === 'string' && /^-?[0-9]{1,20}$/.test(value)
    ? BigInt(value)
    : bad(`${path} must be a decimal number as text`);
}

/** Bytes: UTF-8 as text, anything else as `{"base64": "…"}`. */
export function bytes(value: unknown, path: string): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  const { base64 } = object(value, path) as { readonly base64?: unknown };
  return new Uint8Array(Buffer.from(text(base64, `${path}.base64`), 'base64'));
}

export function oneOf<T extends string>(value: unknown, path: string, allowed: readonly T[]): T {
  const found = allowed.find((option) => option === value);
  return found ?? bad(`${path} must be one of ${allowed.join(', ')}`);
}

/** `{[name]: read(value)}`, or nothing when the field is absent: exact optional properties stay absent. */
export function optional<Name extends string, T>(
  from: Plain,
  name: Name,
  path: string,
  read: (value: unknown, path: string) => T,
): { readonly [K in Name]?: T } {
  const value = from[name];
  if (value === undefined || value === null) return {};
  return { [name]: read(value, `${path}.${name}`) } as { readonly [K in Name]?: T };
}

/** Refuses fields that the format does not have: a misspelt one would be silently unjudged. */
export function onlyFields(from: Plain, path: string, names: readonly string[]): void {
  for (const name of Object.keys(from)) {
    if (!names.includes(name)) bad(`${path} has no field ${name} (fields: ${names.join(', ')})`);
  }
}
