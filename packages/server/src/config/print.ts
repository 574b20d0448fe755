import type { LoadedConfig } from './load.ts';
import { configLeaves, type KvdConfig, SECRET_PATHS } from './schema.ts';

function valueAt(config: KvdConfig, path: string): unknown {
  let at: unknown = config;
  for (const part of path.split('.')) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[part];
  }
  return at;
}

/** The effective configuration as `key: value  # source` lines; secrets are redacted. */
export function printConfig(loaded: LoadedConfig): string {
  const lines: string[] = [];
  for (const { path } of configLeaves()) {
    const value = valueAt(loaded.config, path);
    if (value === undefined) continue;
    const shown = SECRET_PATHS.includes(path) ? '"[redacted]"' : JSON.stringify(value);
    lines.push(`${`${path}: ${shown}`.padEnd(48)}  # ${loaded.sources.get(path) ?? 'default'}`);
  }
  return `${lines.join('\n')}\n`;
}
