import type { KvRequest, TxnOp } from '@kvorum/base';
import { describeOperation } from './describe-operation.ts';
import { leasedKeys } from './effects.ts';
import type { Findings } from './finding.ts';
import { type KeyRange, keyRange, keysWithin, keyText, shown } from './key-text.ts';
import type { RecordedKeyValue, RecordedOperation, RecordedResponse } from './recorded-history.ts';
import { type KeyGroup, type RegisterStep, registerStep } from './register-model.ts';
import { type SearchLimits, searchOrder } from './register-search.ts';
import { isWitness } from './witness-order.ts';

/** Ranges join the groups of keys that they read up to so many operations; above, each key is judged alone. */
const JOINED_OPERATIONS_MAX = 400;
/** A range over more groups than this is left to the checkers that go by revisions. */
const GROUPS_PER_RANGE_MAX = 64;
/** Above, a failing group is not cut down to what matters: it would take too long. */
const SHRINK_STEPS_MAX = 3000;

export interface LinearizabilityOutcome {
  /** Groups of keys that were searched. */
  readonly groups: number;
  /** Groups on which the search gave up: neither right nor wrong. */
  readonly unverified: readonly string[];
  readonly steps: number;
}

/**
 * Whether the operations on one shard's keys can be put in one order that their calls and returns allow and that explains every
 * answer, by values alone: nothing here believes a revision. Keys are judged apart (linearizability is local), except
 * that what writes several keys joins them.
 * @param hintOf - where others say that an operation stands: tried as a whole first, then in which order to try what is open. A
 * help, never a verdict.
 */
export function checkLinearizability(
  operations: readonly RecordedOperation[],
  hintOf: (operation: RecordedOperation) => number,
  limits: SearchLimits,
  findings: Findings,
): LinearizabilityOutcome {
  const judged = operations.filter(({ request, result }) => {
    const stale = request.op === 'range' && request.serializable === true;
    return result.outcome !== 'failed' && request.op !== 'compact' && !stale;
  });
  const { groups, known } = groupKeys(judged);
  const outcome = { groups: groups.length, unverified: [] as string[], steps: 0 };
  const leased = new Set(judged.flatMap(({ request }) => leasedKeys(request)));
  for (const { keys, members } of groups) {
    // A key under a lease may vanish without an operation: the replay of the log judges those.
    if (keys.some((key) => leased.has(key))) continue;
    const positions = new Map(keys.map((key, at) => [key, at] as const));
    const group: KeyGroup = { keys, positions, known };
    const search = new GroupSearch(group, members, hintOf, limits);
    const result = search.run();
    outcome.steps += result.steps;
    if (result.verdict === 'unverified') outcome.unverified.push(nameOf(keys));
    if (result.verdict === 'not-linearizable') search.explain(findings);
  }
  return outcome;
}

function nameOf(keys: readonly string[]): string {
  const names = keys.slice(0, 3).map(shown).join(', ');
  return keys.length > 3 ? `${names} and ${keys.length - 3} more` : names;
}

class GroupSearch {
  readonly #group: KeyGroup;
  readonly #steps: readonly RegisterStep[];
  readonly #hintOf: (operation: RecordedOperation) => number;
  readonly #limits: SearchLimits;

  constructor(
    group: KeyGroup,
    members: readonly RecordedOperation[],
    hintOf: (operation: RecordedOperation) => number,
    limits: SearchLimits,
  ) {
    this.#group = group;
    this.#hintOf = hintOf;
    this.#limits = limits;
    const steps = members.map((operation) => registerStep(operation, group));
    const useful = steps.filter((step) => step !== undefined);
    this.#steps = withoutUnseen(useful);
  }

  run(steps: readonly RegisterStep[] = this.#steps): ReturnType<typeof searchOrder> {
    const hintOf = ({ operation }: RegisterStep): number => this.#hintOf(operation);
    const keyCount = this.#group.keys.length;
    if (isWitness(steps, keyCount, hintOf)) return { verdict: 'linearizable', steps: steps.length };
    return searchOrder(steps, keyCount, hintOf, this.#limits);
  }

  /** Says by which answer it became impossible, and which reads are needed to see it. */
  explain(findings: Findings): void {
    const bad = (steps: readonly RegisterStep[]): boolean =>
      this.run(steps).verdict === 'not-linearizable';
    const returns = this.#steps
      .filter(({ required }) => required)
      .toSorted((a, b) => a.return - b.return);
    let low = 0;
    let high = returns.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bad(upTo(this.#steps, returns[middle]?.return ?? 0))) high = middle;
      else low = middle + 1;
    }
    const last = returns[high];
    if (last === undefined) return;
    const needed = shrink(upTo(this.#steps, last.return), bad);
    const { operation } = last;
    const others = needed.filter((step) => step.operation !== operation);
    const near = others.toSorted((a, b) => distance(a, last) - distance(b, last)).slice(0, 11);
    const count = `${needed.length} operations on ${nameOf(this.#group.keys)}`;
    const text = `${describeOperation(operation)}: with this answer no order explains the ${count}`;
    const ids = [operation.id, ...near.map((step) => step.operation.id)];
    findings.add('not-linearizable', text, ids, { at: last.return });
  }
}

function distance(step: RegisterStep, other: RegisterStep): number {
  const [end, start] = [Math.min(step.return, other.return), Math.max(step.call, other.call)];
  return Math.max(0, start - end);
}

/** The history as it stood right after `time`: what had not returned by then may have had its effect or not. */
function upTo(steps: readonly RegisterStep[], time: number): readonly RegisterStep[] {
  return steps
    .filter(({ call }) => call <= time)
    .flatMap((step) => {
      if (step.return <= time) return [step];
      // Its answer was not known yet; what it could do is judged as it was told later, which only allows less.
      if (step.readOnly) return [];
      return [{ ...step, required: false, return: Number.POSITIVE_INFINITY }];
    });
}

/** Leaves out reads, in ever smaller pieces, as long as it stays impossible. */
function shrink(
  steps: readonly RegisterStep[],
  bad: (steps: readonly RegisterStep[]) => boolean,
): readonly RegisterStep[] {
  if (steps.length > SHRINK_STEPS_MAX) return steps;
  let kept = steps;
  let reads = steps.filter(({ readOnly }) => readOnly);
  for (let size = Math.max(1, reads.length >>> 1); reads.length > 0; size >>>= 1) {
    for (let from = 0; from < reads.length; ) {
      const without = new Set(reads.slice(from, from + size));
      const rest = kept.filter((step) => !without.has(step));
      if (bad(rest)) {
        kept = rest;
        reads = reads.filter((step) => !without.has(step));
      } else from += size;
    }
    if (size <= 1) break;
  }
  return kept;
}

/**
 * Puts of unknown outcome whose value nobody saw can be left out when nothing else could have noticed them: then any order with them is
 * one without them.
 */
function withoutUnseen(steps: readonly RegisterStep[]): readonly RegisterStep[] {
  const open = steps.filter((step) => !step.required);
  if (open.length === 0) return steps;
  const seen = new Set<string>();
  let blind = false;
  for (const { operation, required } of steps) {
    if (!required || operation.result.outcome !== 'ok') continue;
    const { request } = operation;
    visitKeyValues(operation.result.response, ({ key, value }) => {
      if (value === undefined) blind = true;
      else seen.add(`${keyText(key)}=${keyText(value)}`);
    });
    if (noticesBlindly(request, operation.result.response)) blind = true;
  }
  if (blind) return steps;
  return steps.filter(({ operation: { request }, required }) => {
    if (required || request.op !== 'put' || request.ignoreValue === true) return true;
    return seen.has(`${keyText(request.key)}=${keyText(request.value)}`);
  });
}

/** Whether an answer depends on a key without showing its value. */
function noticesBlindly(request: KvRequest | TxnOp, response: RecordedResponse): boolean {
  if (request.op === 'range') return request.keysOnly === true || request.countOnly === true;
  if (request.op === 'delete-range') {
    const shows = request.prevKv === true && response.op === 'delete-range';
    return !(shows && response.prevKvs !== undefined);
  }
  return request.op === 'txn';
}

function visitKeyValues(response: RecordedResponse, visit: (kv: RecordedKeyValue) => void): void {
  if (response.op === 'range') for (const kv of response.kvs) visit(kv);
  if (response.op === 'put' && response.prevKv !== undefined) visit(response.prevKv);
  if (response.op === 'delete-range') for (const kv of response.prevKvs ?? []) visit(kv);
  if (response.op === 'txn') for (const one of response.responses ?? []) visitKeyValues(one, visit);
}

interface Group {
  readonly keys: readonly string[];
  readonly members: readonly RecordedOperation[];
}

function groupKeys(operations: readonly RecordedOperation[]): {
  readonly groups: readonly Group[];
  readonly known: readonly string[];
} {
  const ranges = operations.map(({ request }) => touched(request));
  const known = knownKeys(operations, ranges);
  const keysOf = ranges.map((list) => [...new Set(list.flatMap((one) => keysWithin(known, one)))]);
  const sets = new DisjointSets(known);
  for (const [i, { request }] of operations.entries()) {
    const keys = keysOf[i] ?? [];
    sets.count(keys[0], 1);
    if (request.op !== 'range') sets.join(keys);
  }
  for (const [i, { request }] of operations.entries()) {
    if (request.op === 'range') sets.joinUpTo(keysOf[i] ?? [], JOINED_OPERATIONS_MAX);
  }
  return { groups: collectGroups(operations, keysOf, known, sets), known };
}

function collectGroups(
  operations: readonly RecordedOperation[],
  keysOf: readonly (readonly string[])[],
  known: readonly string[],
  sets: DisjointSets,
): readonly Group[] {
  const groups = new Map<string, { keys: string[]; members: RecordedOperation[] }>();
  for (const key of known) {
    const root = sets.root(key);
    const group = groups.get(root);
    if (group === undefined) groups.set(root, { keys: [key], members: [] });
    else group.keys.push(key);
  }
  for (const [i, operation] of operations.entries()) {
    const roots = new Set((keysOf[i] ?? []).map((key) => sets.root(key)));
    if (roots.size > GROUPS_PER_RANGE_MAX) continue;
    for (const root of roots) groups.get(root)?.members.push(operation);
  }
  return [...groups.values()];
}

/** Every range of keys that a request looks at or may write. */
function touched(request: KvRequest | TxnOp): readonly KeyRange[] {
  if (request.op === 'compact') return [];
  if (request.op === 'put') return [keyRange(request.key, undefined)];
  if (request.op !== 'txn') return [keyRange(request.key, request.rangeEnd)];
  const inner = [...request.success, ...request.failure].flatMap(touched);
  return [...request.compare.map(({ key, rangeEnd }) => keyRange(key, rangeEnd)), ...inner];
}

function knownKeys(
  operations: readonly RecordedOperation[],
  ranges: readonly (readonly KeyRange[])[],
): readonly string[] {
  const keys = new Set<string>();
  for (const list of ranges) for (const { from, single } of list) if (single) keys.add(from);
  for (const { result } of operations) {
    if (result.outcome === 'ok') {
      visitKeyValues(result.response, ({ key }) => keys.add(keyText(key)));
    }
  }
  return [...keys].sort();
}

class DisjointSets {
  readonly #parents: Map<string, string>;
  readonly #counts = new Map<string, number>();

  constructor(keys: readonly string[]) {
    this.#parents = new Map(keys.map((key) => [key, key] as const));
  }

  root(key: string): string {
    let at = key;
    for (let up = this.#parents.get(at) ?? at; up !== at; up = this.#parents.get(at) ?? at) {
      this.#parents.set(at, this.#parents.get(up) ?? up);
      at = up;
    }
    return at;
  }

  count(key: string | undefined, more: number): void {
    if (key === undefined) return;
    const root = this.root(key);
    this.#counts.set(root, (this.#counts.get(root) ?? 0) + more);
  }

  join(keys: readonly string[]): void {
    for (let i = 1; i < keys.length; i += 1) {
      const [a, b] = [this.root(keys[0] as string), this.root(keys[i] as string)];
      if (a === b) continue;
      this.#parents.set(b, a);
      this.count(a, this.#counts.get(b) ?? 0);
    }
  }

  joinUpTo(keys: readonly string[], operationsMax: number): void {
    const roots = [...new Set(keys.map((key) => this.root(key)))];
    const total = roots.reduce((sum, root) => sum + (this.#counts.get(root) ?? 0), 0);
    if (roots.length > 1 && total <= operationsMax) this.join(roots);
  }
}
