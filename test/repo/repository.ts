import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

const SKIPPED = new Set([
  'node_modules',
  'dist',
  '.git',
  'gen',
  'coverage',
  'kvorum-data',
  '.kafka',
]);

/** Paths (from the root, sorted) of the files below `folder` whose name ends with one of `endings`. */
export function files(folder: string, ...endings: readonly string[]): string[] {
  if (!existsSync(ROOT + folder)) return [];
  const found: string[] = [];
  for (const name of readdirSync(ROOT + folder)) {
    const path = folder === '' ? name : `${folder}/${name}`;
    if (SKIPPED.has(name)) continue;
    if (statSync(ROOT + path).isDirectory()) found.push(...files(path, ...endings));
    else if (endings.some((ending) => name.endsWith(ending))) found.push(path);
  }
  return found.sort();
}

export function read(path: string): string {
  return readFileSync(ROOT + path, 'utf8');
}

export interface Manifest {
  readonly name: string;
  readonly description?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export function manifest(path: string): Manifest {
  return JSON.parse(read(path)) as Manifest;
}

export const PACKAGES: readonly string[] = readdirSync(`${ROOT}packages`).sort();

/** A source text without its comments and with line numbers kept; good enough for word searches. */
export function withoutComments(source: string): string {
  return source
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/(^|[\s;,{(])\/\/[^\n]*/g, '$1');
}

/** Module specifiers of all static and dynamic imports and re-exports, in order. */
export function imports(source: string): string[] {
  const code = withoutComments(source);
  const pattern = /(?:\bfrom\s+|\bimport\s*\(?\s*)(['"])([^'"\n]+)\1/g;
  return [...code.matchAll(pattern)].map((match) => match[2] ?? '');
}

/** The package a specifier belongs to: `@scope/name`, `name`, or `undefined` for relative and node: ones. */
export function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined;
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0];
}

/** `path:line` of every line of `source` that matches. */
export function linesMatching(path: string, source: string, pattern: RegExp): string[] {
  return source
    .split('\n')
    .flatMap((line, at) => (pattern.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : []));
}
