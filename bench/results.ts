import { appendFileSync } from 'node:fs';
import type { Setting } from './machine.ts';

/** What a line of the results is about. */
export type ResultKind = 'row' | 'cell' | 'search' | 'profile';

/** The file of JSON lines. Each line is written when it is known, so that an interrupted run keeps what it measured. */
export class Results {
  readonly #file: string;
  readonly #setting: Setting;
  readonly #versions: Readonly<Record<string, string>>;

  /** `versions` may be filled later: a system's version is known when it runs. */
  constructor(file: string, setting: Setting, versions: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#setting = setting;
    this.#versions = versions;
  }

  /** Appends one line that holds the whole setting. */
  add(kind: ResultKind, what: object): void {
    const versions = { node: process.versions.node, ...this.#versions };
    const line = { kind, at: new Date().toISOString(), ...this.#setting, versions, ...what };
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}
