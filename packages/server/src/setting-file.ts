import { readFileSync, statSync } from 'node:fs';
import { KvError } from '@kvorum/base';

const READABLE_BY_EVERYBODY = 0o004;

/** The text of the file that a setting names. Errors: KV_CONFIG naming the setting. */
export function readSetting(setting: string, path: string): string {
  return orRefuse(setting, () => readFileSync(path, 'utf8'));
}

/** The same for a secret. Errors: KV_CONFIG also when its mode lets everybody read it. */
export function readSecret(setting: string, path: string): string {
  return readSecretBytes(setting, path).toString();
}

/** The same, as it lies in the file. */
export function readSecretBytes(setting: string, path: string): Buffer {
  if ((orRefuse(setting, () => statSync(path).mode) & READABLE_BY_EVERYBODY) !== 0) {
    throw new KvError('KV_CONFIG', `${setting} ${path} is readable by everybody`, {
      details: { hint: `chmod 600 ${path}` },
    });
  }
  return orRefuse(setting, () => readFileSync(path));
}

function orRefuse<T>(setting: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new KvError('KV_CONFIG', `cannot read ${setting}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
