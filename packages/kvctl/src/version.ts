import { readFileSync } from 'node:fs';

/** Version of this package, as its manifest says. */
export function kvctlVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const manifest = JSON.parse(text) as { readonly version: string };
  return manifest.version;
}
