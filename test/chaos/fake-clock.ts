import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LIBRARIES = '/usr/lib';
const NAME = 'libfaketimeMT.so.1';

/** libfaketime for multi-threaded programs, where it is installed. */
export function findFakeTime(): string | undefined {
  const folders = existsSync(LIBRARIES) ? readdirSync(LIBRARIES) : [];
  return ['', ...folders]
    .map((folder) => join(LIBRARIES, folder, 'faketime', NAME))
    .find((path) => existsSync(path));
}

/** The wall clocks of processes, moved while they run. The monotonic clocks are left alone. */
export class FakeClocks {
  readonly #library: string;
  readonly #directory: string;

  constructor(library: string, directory: string) {
    this.#library = library;
    this.#directory = directory;
  }

  /** For a process that is about to start: its clock is right until `set`. */
  environment(name: string): Readonly<Record<string, string>> {
    if (!existsSync(this.#file(name))) this.set(name, 0);
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file(name),
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Off the true time by so much, from within a second on. */
  set(name: string, offsetSeconds: number): void {
    const sign = offsetSeconds < 0 ? '-' : '+';
    writeFileSync(this.#file(name), `${sign}${Math.abs(offsetSeconds)}\n`);
  }

  #file(name: string): string {
    return join(this.#directory, `${name}.clock`);
  }
}
