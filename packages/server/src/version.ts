import { readFileSync } from 'node:fs';

/** Version of this kvd, from its package. */
export function serverVersion(): string {
  const manifest = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as {
    readonly version: string;
  };
  return manifest.version;
}
