import type { RegisterState, RegisterStep } from './register-model.ts';

/** What bounds one search. */
export interface SearchLimits {
  /** Steps tried. */
  readonly stepsMax: number;
  /** Remembered (done set, state) pairs. */
  readonly memoMax: number;
  /** Whether the time is over; asked now and then. */
  readonly isOver: () => boolean;
}

export type SearchVerdict = 'linearizable' | 'not-linearizable' | 'unverified';

export interface SearchResult {
  readonly verdict: SearchVerdict;
  readonly steps: number;
}

/** A step in the list of those that are still to be done. */
interface Entry {
  readonly step: RegisterStep;
  /** Position among the required ones, or among the others, by call. */
  readonly index: number;
  /** Where to try it among the open ones; says nothing about right or wrong. */
  readonly hint: number;
  previous: Entry | undefined;
  next: Entry | undefined;
}

interface Choice {
  readonly entry: Entry;
  readonly state: RegisterState;
  /** The state before it, when the next step must be one that it made possible. */
  readonly before: RegisterState | undefined;
}

/** A point of the search where something is left to choose. */
interface Frame {
  readonly choices: readonly Choice[];
  at: number;
  /** What was done before the choice that is being tried. */
  readonly trail: number;
}

const ASK_EVERY = 4096;

/**
 * Wing and Gong's search with Lowe's memory: takes, again and again, a step that nothing undone returned before, whose answer fits the
 * state, and goes back when none is left; a (done set, state) that failed once is not tried again. Steps that only read are taken as
 * soon as they fit, without a choice: nothing can be lost by it. An unanswered step on one key is only taken right before a step that
 * it makes possible: it may take effect as late as one likes, and what the next step overwrites unseen need not have been at all.
 * @param hintOf - the order in which open steps are tried.
 */
export function searchOrder(
  steps: readonly RegisterStep[],
  keyCount: number,
  hintOf: (step: RegisterStep) => number,
  limits: SearchLimits,
): SearchResult {
  return new Search(steps, keyCount, hintOf, limits).run();
}

class Search {
  readonly #limits: SearchLimits;
  readonly #initial: RegisterState;
  readonly #memo = new Set<string>();
  readonly #requiredDone: Uint8Array;
  readonly #optionalDone: Uint8Array;
  readonly #trail: Entry[] = [];
  readonly #head: Entry;
  #requiredLeft: number;
  /** No required step at or above was ever done. */
  #requiredTop = 0;
  #steps = 0;

  constructor(
    steps: readonly RegisterStep[],
    keyCount: number,
    hintOf: (step: RegisterStep) => number,
    limits: SearchLimits,
  ) {
    this.#limits = limits;
    this.#initial = new Array<string | undefined>(keyCount).fill(undefined);
    const sorted = steps.toSorted((a, b) => a.call - b.call);
    const counts = { required: 0, optional: 0 };
    let last: Entry = { step: ANCHOR, index: -1, hint: 0, previous: undefined, next: undefined };
    this.#head = last;
    for (const step of sorted) {
      const kind = step.required ? 'required' : 'optional';
      const hint = hintOf(step);
      const entry: Entry = { step, index: counts[kind], hint, previous: last, next: undefined };
      counts[kind] += 1;
      last.next = entry;
      last = entry;
    }
    this.#requiredLeft = counts.required;
    this.#requiredDone = new Uint8Array(counts.required);
    this.#optionalDone = new Uint8Array(counts.optional);
  }

  run(): SearchResult {
    const frames: Frame[] = [];
    let at: Omit<Choice, 'entry'> | undefined = { state: this.#initial, before: undefined };
    for (;;) {
      if (at !== undefined) this.#enter(at, frames);
      if (this.#requiredLeft === 0) return this.#result('linearizable');
      if (this.#isOver()) return this.#result('unverified');
      const choice = this.#nextChoice(frames);
      if (choice === undefined) return this.#result('not-linearizable');
      this.#take(choice.entry);
      at = choice;
    }
  }

  /** Takes what needs no choice and opens a frame for the rest, unless it was tried before. */
  #enter({ before, state }: Omit<Choice, 'entry'>, frames: Frame[]): void {
    const justified = before === undefined || this.#enablesRead(before, state);
    if (justified) this.#takeReads(state);
    const owed = justified ? undefined : before;
    if (this.#requiredLeft === 0 || !this.#isNew(state, owed)) return;
    frames.push({ choices: this.#choices(state, owed), at: 0, trail: this.#trail.length });
  }

  #enablesRead(before: RegisterState, state: RegisterState): boolean {
    return this.#open().some(
      ({ step }) =>
        step.readOnly && step.apply(before).length === 0 && step.apply(state).length > 0,
    );
  }

  #result(verdict: SearchVerdict): SearchResult {
    return { verdict, steps: this.#steps };
  }

  #isOver(): boolean {
    const { isOver, memoMax, stepsMax } = this.#limits;
    if (this.#steps >= stepsMax || this.#memo.size >= memoMax) return true;
    return this.#steps % ASK_EVERY === 0 && isOver();
  }

  /** Undoes what failed and gives the next thing to try; undefined = nothing is left. */
  #nextChoice(frames: Frame[]): Choice | undefined {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      while (this.#trail.length > frame.trail) this.#untake();
      const choice = frame.choices[frame.at];
      if (choice !== undefined) {
        frame.at += 1;
        return choice;
      }
      frames.pop();
    }
    return undefined;
  }

  #takeReads(state: RegisterState): void {
    let again = true;
    while (again) {
      again = false;
      for (const entry of this.#open()) {
        if (!entry.step.readOnly) continue;
        this.#steps += 1;
        if (entry.step.apply(state).length === 0) continue;
        this.#take(entry);
        again = true;
      }
    }
  }

  #choices(state: RegisterState, owed: RegisterState | undefined): readonly Choice[] {
    const choices: Choice[] = [];
    const reached = new Set<string>();
    for (const entry of this.#open()) {
      const { step } = entry;
      if (step.readOnly) continue;
      this.#steps += 1;
      const nexts = step.apply(state);
      const allowed =
        owed === undefined ? nexts : nexts.filter((next) => isEnabled(step, owed, next));
      if (step.required) {
        for (const next of allowed) choices.push({ entry, state: next, before: undefined });
      } else choices.push(...unansweredChoices(entry, state, allowed, reached));
    }
    return choices.sort((a, b) => a.entry.hint - b.entry.hint);
  }

  /** The steps that may come next: nothing undone returned before they were called. */
  #open(): readonly Entry[] {
    const open: Entry[] = [];
    let firstReturn = Number.POSITIVE_INFINITY;
    for (let entry = this.#head.next; entry !== undefined; entry = entry.next) {
      if (entry.step.call > firstReturn) break;
      open.push(entry);
      firstReturn = Math.min(firstReturn, entry.step.return);
    }
    return open;
  }

  #take(entry: Entry): void {
    const { index, next, previous, step } = entry;
    if (previous !== undefined) previous.next = next;
    if (next !== undefined) next.previous = previous;
    this.#trail.push(entry);
    if (step.required) {
      this.#requiredDone[index] = 1;
      this.#requiredLeft -= 1;
      this.#requiredTop = Math.max(this.#requiredTop, index + 1);
    } else this.#optionalDone[index] = 1;
  }

  #untake(): void {
    const entry = this.#trail.pop();
    if (entry === undefined) return;
    const { index, next, previous, step } = entry;
    if (previous !== undefined) previous.next = entry;
    if (next !== undefined) next.previous = entry;
    if (step.required) {
      this.#requiredDone[index] = 0;
      this.#requiredLeft += 1;
    } else this.#optionalDone[index] = 0;
  }

  #isNew(state: RegisterState, owed: RegisterState | undefined): boolean {
    const debt = owed === undefined ? '' : `|${stateText(owed)}`;
    const key = `${this.#doneText()}|${stateText(state)}${debt}`;
    if (this.#memo.has(key)) return false;
    this.#memo.add(key);
    return true;
  }

  /** The done set, exactly and short: all required steps below the first undone one, and single bits from there on. */
  #doneText(): string {
    let first = this.#head.next;
    while (first !== undefined && !first.step.required) first = first.next;
    const base = first === undefined ? this.#requiredDone.length : first.index;
    const required = bitText(this.#requiredDone, base, this.#requiredTop);
    return `${base}:${required}:${bitText(this.#optionalDone, 0, this.#optionalDone.length)}`;
  }
}

/** Unanswered steps on one key that lead to the same state are as good as each other: all of them stay open. */
function unansweredChoices(
  entry: Entry,
  state: RegisterState,
  nexts: readonly RegisterState[],
  reached: Set<string>,
): readonly Choice[] {
  const { single } = entry.step;
  const fresh = nexts.filter((next) => {
    if (isSame(next, state)) return false;
    const name = stateText(next);
    const known = single && reached.has(name);
    if (single) reached.add(name);
    return !known;
  });
  return fresh.map((next) => ({ entry, state: next, before: single ? state : undefined }));
}

/** Whether a step leads to `next` only thanks to the step before it. */
function isEnabled(step: RegisterStep, before: RegisterState, next: RegisterState): boolean {
  const without = step.apply(before);
  if (step.required) return without.length === 0;
  return without.every((state) => !isSame(state, next));
}

function isSame(a: RegisterState, b: RegisterState): boolean {
  return a.every((value, i) => value === b[i]);
}

const ANCHOR: RegisterStep = {
  operation: {
    ...{ type: 'operation', id: -1, client: '', process: '', shard: '', call: 0 },
    request: { op: 'compact', revision: 0 },
    result: { outcome: 'failed', code: '' },
  },
  required: false,
  readOnly: false,
  single: true,
  call: Number.NEGATIVE_INFINITY,
  return: Number.POSITIVE_INFINITY,
  apply: () => [],
};

/** Bits as a text, 15 a character, without zeros at its end. */
function bitText(bits: Uint8Array, from: number, to: number): string {
  let end = to;
  while (end > from && bits[end - 1] === 0) end -= 1;
  let text = '';
  for (let at = from; at < end; at += 15) {
    let word = 0;
    for (let i = 0; i < 15 && at + i < end; i += 1) word |= (bits[at + i] ?? 0) << i;
    text += String.fromCharCode(word);
  }
  return text;
}

function stateText(state: RegisterState): string {
  let text = '';
  for (const value of state) text += value === undefined ? '-' : `${value.length}=${value}`;
  return text;
}
