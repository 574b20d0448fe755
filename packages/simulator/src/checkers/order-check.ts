import type { Compare, KvRequest, RangeRequest, TxnOp } from '@kvorum/base';
import { describeOperation } from './describe-operation.ts';
import { branchOf, didWrite } from './effects.ts';
import { compareHolds } from './execute.ts';
import type { Findings } from './finding.ts';
import { keyRange, keyText, shown } from './key-text.ts';
import type { KeyVersion } from './key-versions.ts';
import type { ObservedVersions } from './observed-versions.ts';
import { checkRealTime, type Sighting } from './real-time.ts';
import type { RecordedKeyValue, RecordedOperation, RecordedResponse } from './recorded-history.ts';

/**
 * The order of revisions, by what clients were told alone and in O(n log n): no operation stands below a revision that had been seen
 * before it began, and every answer is what the versions known by then give at its revision. Where a write of unknown
 * outcome might explain an answer it is believed: the search over orders and the replay of the log see more.
 */
export function checkOrder(
  operations: readonly RecordedOperation[],
  observed: ObservedVersions,
  sightings: readonly Sighting[],
  findings: Findings,
): void {
  for (const operation of operations) {
    if (operation.result.outcome !== 'ok') continue;
    const { response, revision } = operation.result;
    const check = new AnswerCheck(operation, revision, observed, findings);
    check.judge(operation.request, response);
  }
  checkRealTime(observed.placed, sightings, findings);
}

class AnswerCheck {
  readonly #operation: RecordedOperation;
  readonly #revision: number;
  readonly #observed: ObservedVersions;
  readonly #findings: Findings;
  readonly #wrote: boolean | 'undetermined';

  constructor(
    operation: RecordedOperation,
    revision: number,
    observed: ObservedVersions,
    findings: Findings,
  ) {
    this.#operation = operation;
    this.#revision = revision;
    this.#observed = observed;
    this.#findings = findings;
    const { request, result } = operation;
    this.#wrote = result.outcome === 'ok' && didWrite(request, result.response);
  }

  judge(op: KvRequest | TxnOp, response: RecordedResponse): void {
    if (op.op === 'range' && response.op === 'range') this.#judgeRange(op, response);
    else if (op.op === 'put' && response.op === 'put') {
      if (op.prevKv === true) this.#judgeBefore(keyText(op.key), response.prevKv);
    } else if (op.op === 'delete-range' && response.op === 'delete-range') {
      this.#judgeDelete(op, response);
    } else if (op.op === 'txn' && response.op === 'txn') {
      this.#judgeCompares(op.compare, response.succeeded);
      for (const [i, inner] of branchOf(op, response.succeeded).entries()) {
        const answer = response.responses?.[i];
        if (answer !== undefined) this.judge(inner, answer);
      }
    }
  }

  /** The revision before the operation's own, or the one it was answered at. */
  get #base(): number {
    return this.#wrote === true ? this.#revision - 1 : this.#revision;
  }

  #judgeRange(op: RangeRequest, response: RecordedResponse & { readonly op: 'range' }): void {
    if (this.#wrote === 'undetermined') return;
    const pinned = op.revision !== undefined && op.revision > 0 ? op.revision : undefined;
    const at = pinned ?? this.#revision;
    // In a txn that writes, a range sees what the operations before it wrote and not what comes after.
    const floor = pinned ?? this.#base;
    const { versions } = this.#observed;
    const range = keyRange(op.key, op.rangeEnd);
    const found = new Map(response.kvs.map((kv) => [keyText(kv.key), kv] as const));
    for (const [key, kv] of found) this.#judgeFound(key, kv, { at, floor, values: op.keysOnly });
    if (isPartial(op)) return;
    for (const key of versions.keysIn(range)) {
      if (!found.has(key)) this.#judgeAbsent(key, floor, at);
    }
  }

  #judgeFound(
    key: string,
    kv: RecordedKeyValue,
    where: { readonly at: number; readonly floor: number; readonly values: boolean | undefined },
  ): void {
    const { versions } = this.#observed;
    const { at, floor } = where;
    if ((kv.modRevision ?? 0) > at) {
      this.#add('future-revision', `has ${show(key, kv)}, which is newer than revision ${at}`);
      return;
    }
    const candidates = at === floor ? [at] : [at, floor];
    const newest = candidates.map((one) => versions.at(key, one));
    if (newest.some((version) => this.#agrees(key, kv, version))) return;
    this.#add('wrong-read', `has ${show(key, kv)}, was ${showVersion(newest[0])}`);
  }

  /** Whether a key as it was found can be its newest known version. */
  #agrees(key: string, kv: RecordedKeyValue, version: KeyVersion | undefined): boolean {
    if (kv.modRevision !== undefined) {
      if (version?.revision !== kv.modRevision || version.deleted) return false;
      return this.#isUncertain(key) || agreesInCounts(kv, version);
    }
    if (kv.value === undefined) return version?.deleted === false || this.#isUncertain(key);
    const value = keyText(kv.value);
    const known = version !== undefined && !version.deleted && (version.value ?? value) === value;
    return known || this.#observed.unplaced.of(key, value).length > 0;
  }

  #judgeAbsent(key: string, floor: number, at: number): void {
    const { unplaced, versions } = this.#observed;
    const live = versions.live(key, at);
    if (live === undefined || versions.live(key, floor) === undefined) return;
    if (this.#observed.leased.has(key) || unplaced.deletersOf(key).length > 0) return;
    const { request } = this.#operation;
    const rule = request.op === 'range' ? 'wrong-read' : 'wrong-answer';
    this.#add(rule, `lacks ${shown(key)}, which was ${showVersion(live)}`);
  }

  #judgeBefore(key: string, previous: RecordedKeyValue | undefined): void {
    const at = this.#base;
    if (previous === undefined) this.#judgeAbsent(key, at, at);
    else this.#judgeFound(key, previous, { at, floor: at, values: undefined });
  }

  #judgeDelete(
    op: TxnOp & { readonly op: 'delete-range' },
    response: RecordedResponse & { readonly op: 'delete-range' },
  ): void {
    if (this.#wrote === 'undetermined') return;
    const { versions } = this.#observed;
    const keys = versions.keysIn(keyRange(op.key, op.rangeEnd));
    if (op.prevKv === true && response.prevKvs !== undefined) {
      const found = new Map(response.prevKvs.map((kv) => [keyText(kv.key), kv] as const));
      for (const [key, kv] of found) this.#judgeBefore(key, kv);
      for (const key of keys) if (!found.has(key)) this.#judgeBefore(key, undefined);
      return;
    }
    if (keys.some((key) => this.#isUncertain(key))) return;
    const live = keys.filter((key) => versions.live(key, this.#base) !== undefined).length;
    if (live !== response.deleted) {
      this.#add('wrong-answer', `deleted ${response.deleted} keys, there were ${live}`);
    }
  }

  #judgeCompares(compares: readonly Compare[], succeeded: boolean): void {
    if (this.#wrote === 'undetermined') return;
    const held = compares.map((compare) => this.#holds(compare));
    if (succeeded && held.includes(false)) {
      const at = held.indexOf(false);
      this.#addCondition('succeeded although', compares[at], 'did not hold');
    } else if (!succeeded && held.every((one) => one === true)) {
      this.#addCondition('was not made although', compares[0], 'held');
    }
  }

  /** Undefined when a write that nobody saw may have decided it. */
  #holds(compare: Compare): boolean | undefined {
    const { versions } = this.#observed;
    const range = keyRange(compare.key, compare.rangeEnd);
    const keys = range.single ? [range.from] : versions.keysIn(range);
    if (compare.target === 'lease' || keys.some((key) => this.#isUncertain(key))) return undefined;
    const live = keys.map((key) => versions.live(key, this.#base));
    const known = range.single ? live : live.filter((version) => version !== undefined);
    if (known.some((version) => version !== undefined && version.value === undefined)) {
      return undefined;
    }
    if (known.length === 0) return compareHolds(compare, undefined);
    return known.every((version) => compareHolds(compare, version));
  }

  /** Whether a write that nobody saw may have touched the key. */
  #isUncertain(key: string): boolean {
    return this.#observed.leased.has(key) || this.#observed.unplaced.touches(key);
  }

  #addCondition(what: string, compare: Compare | undefined, how: string): void {
    const key = compare === undefined ? '' : keyText(compare.key);
    const live = this.#observed.versions.live(key, this.#base);
    const text = `${what} its compare of ${shown(key)} ${how}: it was ${showVersion(live)}`;
    this.#add('wrong-condition', text);
  }

  #add(
    rule: 'wrong-read' | 'wrong-answer' | 'wrong-condition' | 'future-revision',
    text: string,
  ): void {
    const operation = this.#operation;
    const when = { at: operation.return ?? operation.call };
    this.#findings.add(rule, `${describeOperation(operation)}: ${text}`, [operation.id], when);
  }
}

/** Counts are only told of keys whose every version is known. */
function agreesInCounts(kv: RecordedKeyValue, version: KeyVersion): boolean {
  return (
    (kv.version === undefined || kv.version === version.version) &&
    (kv.createRevision === undefined || kv.createRevision === version.createRevision)
  );
}

/** A range that may leave out keys that are there. */
function isPartial(op: RangeRequest): boolean {
  const bounds = [op.limit, op.minModRevision, op.maxModRevision];
  const cut = [...bounds, op.minCreateRevision, op.maxCreateRevision].some((one) => (one ?? 0) > 0);
  return cut || op.countOnly === true;
}

function show(key: string, kv: RecordedKeyValue): string {
  const value = kv.value === undefined ? '?' : shown(keyText(kv.value));
  return `${shown(key)}=${value}${kv.modRevision === undefined ? '' : `@${kv.modRevision}`}`;
}

function showVersion(version: KeyVersion | undefined): string {
  if (version === undefined) return '(never written)';
  if (version.deleted) return `(deleted @${version.revision})`;
  return `${shown(version.value)}@${version.revision}`;
}
