import { partitionPoint } from '@kvorum/base';
import { type KeyRange, keysWithin } from './key-text.ts';

/** A key's content from `revision` on, until its next version. */
export interface KeyVersion {
  readonly revision: number;
  /** Undefined = deleted, or `unknown`. */
  readonly value: string | undefined;
  readonly deleted: boolean;
  /** 0 = not known. */
  readonly createRevision: number;
  readonly version: number;
  readonly lease: bigint;
}

export interface KeyChange {
  readonly key: string;
  readonly version: KeyVersion;
}

/** Every version of every key of one shard. */
export class KeyVersions {
  readonly #versions = new Map<string, KeyVersion[]>();
  readonly #changes = new Map<number, KeyChange[]>();
  #sorted: readonly string[] | undefined;
  #revisions: readonly number[] | undefined;

  /** Adds a version; per key in ascending order of revisions. */
  add(key: string, version: KeyVersion): void {
    const versions = this.#versions.get(key);
    if (versions === undefined) {
      this.#versions.set(key, [version]);
      this.#sorted = undefined;
    } else versions.push(version);
    const changes = this.#changes.get(version.revision);
    if (changes === undefined) {
      this.#changes.set(version.revision, [{ key, version }]);
      this.#revisions = undefined;
    } else changes.push({ key, version });
  }

  /** The newest version at or below `revision`, a deletion too. */
  at(key: string, revision: number): KeyVersion | undefined {
    const versions = this.#versions.get(key);
    if (versions === undefined) return undefined;
    const after = partitionPoint(versions, (version) => version.revision <= revision);
    return versions[after - 1];
  }

  /** As `at`, but undefined when the key is deleted then. */
  live(key: string, revision: number): KeyVersion | undefined {
    const version = this.at(key, revision);
    return version?.deleted === true ? undefined : version;
  }

  /** Every key of a range that ever was, in order. */
  keysIn(range: KeyRange): readonly string[] {
    if (range.single) return this.#versions.has(range.from) ? [range.from] : [];
    this.#sorted ??= [...this.#versions.keys()].sort();
    return keysWithin(this.#sorted, range);
  }

  changesAt(revision: number): readonly KeyChange[] {
    return this.#changes.get(revision) ?? [];
  }

  /** Every revision that changed something, ascending. */
  revisions(): readonly number[] {
    this.#revisions ??= [...this.#changes.keys()].sort((a, b) => a - b);
    return this.#revisions;
  }
}
