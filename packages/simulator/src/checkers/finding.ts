/** Which checker speaks. */
export type CheckerName = 'linearizability' | 'order' | 'replay' | 'watch';

/** The kinds of violations. */
export type Rule =
  | 'not-linearizable'
  | 'stale'
  | 'lost-write'
  | 'wrong-read'
  | 'wrong-answer'
  | 'wrong-condition'
  | 'wrong-previous'
  | 'failed-but-visible'
  | 'applied-twice'
  | 'nobody-wrote'
  | 'torn-revision'
  | 'torn-lease'
  | 'shared-revision'
  | 'future-revision'
  | 'bad-log'
  | 'watch-order'
  | 'watch-duplicate'
  | 'watch-missing'
  | 'watch-torn'
  | 'watch-filter'
  | 'watch-wrong-event'
  | 'watch-gap';

/** One thing that is wrong. */
export interface Finding {
  readonly checker: CheckerName;
  readonly rule: Rule;
  readonly shard: string;
  /** A sentence for people. */
  readonly text: string;
  /** Operations to look at, the offending one first. */
  readonly operations: readonly number[];
  readonly streams?: readonly string[];
  /** When it became wrong, where one moment can be named. */
  readonly at?: number;
}

/** Collects findings up to a limit and counts the rest: one bug may show in every later operation. */
export class Findings {
  readonly list: Finding[] = [];
  readonly #checker: CheckerName;
  readonly #shard: string;
  readonly #max: number;
  dropped = 0;

  constructor(checker: CheckerName, shard: string, max = 50) {
    this.#checker = checker;
    this.#shard = shard;
    this.#max = max;
  }

  add(
    rule: Rule,
    text: string,
    operations: readonly number[] = [],
    where: { readonly streams?: readonly string[]; readonly at?: number } = {},
  ): void {
    if (this.list.length >= this.#max) {
      this.dropped += 1;
      return;
    }
    const { list } = this;
    list.push({ checker: this.#checker, rule, shard: this.#shard, text, operations, ...where });
  }
}
