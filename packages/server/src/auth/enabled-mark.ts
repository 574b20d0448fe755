import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeAside } from '../member/data-directory.ts';

const FILE = 'authorization.json';

/** Whether authorization was enabled when this member last knew, kept on its disk. */
export interface EnabledMark {
  readonly isSet: boolean;
  /** Synced when it returns. Errors: those of the file system. */
  set(isEnabled: boolean): void;
}

/** A file in the member's data directory: it exists while the mark is set. */
export function enabledMark(directory: string): EnabledMark {
  const path = join(directory, FILE);
  let isSet = existsSync(path);
  return {
    get isSet() {
      return isSet;
    },
    set(isEnabled) {
      if (isEnabled) writeAside(path, { enabled: true });
      else rmSync(path, { force: true });
      isSet = isEnabled;
    },
  };
}
