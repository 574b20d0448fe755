import { possibleWrites } from './effects.ts';
import { covers, type KeyRange } from './key-text.ts';
import type { RecordedOperation } from './recorded-history.ts';

/** Operations by what they could write. */
export class Writers {
  readonly #byPut = new Map<string, RecordedOperation[]>();
  readonly #byPutKey = new Map<string, RecordedOperation[]>();
  readonly #byDeletedKey = new Map<string, RecordedOperation[]>();
  readonly #rangeDeleters: { readonly range: KeyRange; readonly operation: RecordedOperation }[] =
    [];

  constructor(operations: readonly RecordedOperation[]) {
    for (const operation of operations) {
      const { puts, deletes } = possibleWrites(operation);
      for (const range of deletes) {
        if (range.single) push(this.#byDeletedKey, range.from, operation);
        else this.#rangeDeleters.push({ range, operation });
      }
      for (const { key, value } of puts) {
        push(this.#byPutKey, key, operation);
        push(this.#byPut, value === undefined ? `${key}\0*` : `${key}\0=${value}`, operation);
      }
    }
  }

  /** Whether any operation could change the key. */
  touches(key: string): boolean {
    return this.#byPutKey.has(key) || this.deletersOf(key).length > 0;
  }

  puttersOf(key: string): readonly RecordedOperation[] {
    return this.#byPutKey.get(key) ?? [];
  }

  /** Those that could have made one change; `value` undefined = the deletion of the key. */
  of(key: string, value: string | undefined): readonly RecordedOperation[] {
    if (value === undefined) return this.deletersOf(key);
    const exact = this.#byPut.get(`${key}\0=${value}`) ?? [];
    const any = this.#byPut.get(`${key}\0*`) ?? [];
    return any.length === 0 ? exact : [...exact, ...any];
  }

  deletersOf(key: string): readonly RecordedOperation[] {
    const ranges = this.#rangeDeleters.filter(({ range }) => covers(range, key));
    const single = this.#byDeletedKey.get(key) ?? [];
    return ranges.length === 0 ? single : [...single, ...ranges.map(({ operation }) => operation)];
  }
}

function push<T>(map: Map<string, T[]>, key: string, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else if (list.at(-1) !== item) list.push(item);
}
