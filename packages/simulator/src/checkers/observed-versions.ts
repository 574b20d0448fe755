import type { DeleteRangeRequest, KvRequest, PutRequest, TxnOp, TxnRequest } from '@kvorum/base';
import { describeOperation } from './describe-operation.ts';
import { branchOf, didWrite, leasedKeys } from './effects.ts';
import { tombstone } from './execute.ts';
import type { Findings } from './finding.ts';
import { covers, type KeyRange, keyRange, keyText, shown } from './key-text.ts';
import { KeyVersions } from './key-versions.ts';
import { placeUnknown } from './matching.ts';
import { type Placed, SeenRevisions, type Sighting } from './real-time.ts';
import {
  type RecordedEvents,
  type RecordedKeyValue,
  type RecordedOperation,
  type RecordedResponse,
  whenOf,
} from './recorded-history.ts';
import { RevisionOwners } from './revision-owners.ts';
import { Writers } from './writers.ts';

/** A version of a key that somebody was told of. */
interface Claim {
  readonly key: string;
  readonly revision: number;
  /** Undefined = not recorded; for a deletion it is not looked at. */
  value: string | undefined;
  readonly deleted: boolean;
  /** The first who told, for people. */
  readonly by: string;
  readonly operation: number | undefined;
  readonly at: number;
}

/** What clients alone can tell of a shard's history. */
export interface ObservedVersions {
  readonly versions: KeyVersions;
  /** Operations with their revisions, those of unknown outcome too when what they wrote was seen. */
  readonly placed: readonly Placed[];
  /** Operations that may have written at a revision that nobody saw. */
  readonly unplaced: Writers;
  /** Keys that ever had a lease: they may vanish at any time. */
  readonly leased: ReadonlySet<string>;
  readonly newestRevision: number;
}

/**
 * Rebuilds a shard's history from what clients were told: acknowledged writes, every version that a read, a previous value or a watch
 * showed. Reports what cannot be: two values at one revision, a revision of two operations, versions that nobody wrote, that
 * failed, or that stand twice.
 */
export function observeVersions(
  operations: readonly RecordedOperation[],
  deliveries: readonly RecordedEvents[],
  sightings: readonly Sighting[],
  findings: Findings,
): ObservedVersions {
  const observer = new Observer(operations, new SeenRevisions(operations, sightings), findings);
  for (const operation of operations) observer.addOperation(operation);
  for (const delivery of deliveries) observer.addDelivery(delivery);
  return observer.finish();
}

interface RangeDelete {
  readonly range: KeyRange;
  readonly revision: number;
}

class Observer {
  readonly #operations: readonly RecordedOperation[];
  readonly #seen: SeenRevisions;
  readonly #findings: Findings;
  readonly #claims = new Map<number, Map<string, Claim>>();
  readonly #owners: RevisionOwners;
  readonly #rangeDeletes: RangeDelete[] = [];
  readonly #placed: Placed[] = [];
  readonly #leased = new Set<string>();
  /** Operations whose answers do not show all that they did. */
  readonly #untold = new Set<number>();
  #newest = 1;

  constructor(operations: readonly RecordedOperation[], seen: SeenRevisions, findings: Findings) {
    this.#operations = operations;
    this.#seen = seen;
    this.#findings = findings;
    this.#owners = new RevisionOwners(findings);
  }

  addOperation(operation: RecordedOperation): void {
    const { request, result } = operation;
    if (result.outcome !== 'ok') {
      for (const key of leasedKeys(request)) this.#leased.add(key);
      return;
    }
    const { response, revision } = result;
    this.#newest = Math.max(this.#newest, revision);
    const wrote = didWrite(request, response);
    if (wrote === true) this.#owners.set(revision, operation);
    if (wrote !== 'undetermined') {
      this.#placed.push({ operation, revision, wrote });
    }
    this.#addResponse(operation, request, response, revision);
  }

  addDelivery({ at, events, stream }: RecordedEvents): void {
    for (const { kv, prevKv, type } of events) {
      const by = `stream ${stream}`;
      if (type === 'put') this.#see(kv, { by, at, operation: undefined });
      else {
        const place = { key: keyText(kv.key), revision: kv.modRevision };
        this.#claim({ ...place, value: '', deleted: true, by, operation: undefined, at });
      }
      if (prevKv !== undefined) this.#see(prevKv, { by, at, operation: undefined });
    }
  }

  #addResponse(
    operation: RecordedOperation,
    op: KvRequest | TxnOp,
    response: RecordedResponse,
    revision: number,
  ): void {
    for (const kv of shownIn(op, response)) this.#see(kv, sourceOf(operation));
    if (op.op === 'put') this.#addPut(operation, op, revision);
    else if (op.op === 'delete-range') this.#addDelete(operation, op, response, revision);
    else if (op.op === 'txn') this.#addTxn(operation, op, response, revision);
  }

  #addPut(operation: RecordedOperation, op: PutRequest, revision: number): void {
    const key = keyText(op.key);
    const value = op.ignoreValue === true ? undefined : keyText(op.value);
    this.#claim({ ...sourceOf(operation), key, revision, value, deleted: false });
    if (leasedKeys(op).length > 0) this.#leased.add(key);
  }

  #addDelete(
    operation: RecordedOperation,
    op: DeleteRangeRequest,
    response: RecordedResponse,
    revision: number,
  ): void {
    if (response.op !== 'delete-range' || response.deleted === 0) return;
    const range = keyRange(op.key, op.rangeEnd);
    const gone = { ...sourceOf(operation), revision, value: '', deleted: true };
    if (range.single) this.#claim({ ...gone, key: range.from });
    else this.#rangeDeletes.push({ range, revision });
  }

  #addTxn(
    operation: RecordedOperation,
    op: TxnRequest,
    response: RecordedResponse,
    revision: number,
  ): void {
    if (response.op !== 'txn') return;
    for (const [i, inner] of branchOf(op, response.succeeded).entries()) {
      const answer = response.responses?.[i];
      if (answer !== undefined) this.#addResponse(operation, inner, answer, revision);
      else if (inner.op === 'put') this.#addResponse(operation, inner, { op: 'put' }, revision);
      else if (inner.op !== 'range') this.#untold.add(operation.id);
    }
  }

  #see(kv: RecordedKeyValue, source: Pick<Claim, 'by' | 'at' | 'operation'>): void {
    if (kv.modRevision === undefined) return;
    const value = kv.value === undefined ? undefined : keyText(kv.value);
    const key = keyText(kv.key);
    this.#claim({ ...source, key, revision: kv.modRevision, value, deleted: false });
  }

  #claim(claim: Claim): void {
    const { key, revision } = claim;
    this.#newest = Math.max(this.#newest, revision);
    let claims = this.#claims.get(revision);
    if (claims === undefined) {
      claims = new Map();
      this.#claims.set(revision, claims);
    }
    const other = claims.get(key);
    if (other === undefined) {
      claims.set(key, claim);
      return;
    }
    const same =
      other.deleted === claim.deleted &&
      (other.value === claim.value || other.value === undefined || claim.value === undefined);
    if (!same) this.#addContradiction(claim, other);
    other.value ??= claim.value;
  }

  #addContradiction(claim: Claim, other: Claim): void {
    const [one, two] = [claim, other].map((it) => (it.deleted ? '(deleted)' : shown(it.value)));
    const text = `${claim.by} saw ${shown(claim.key)}=${one}@${claim.revision}, but by ${other.by} it is ${two}`;
    const ids = [claim.operation, other.operation].filter((id) => id !== undefined);
    this.#findings.add('torn-revision', text, ids, { at: claim.at });
  }

  finish(): ObservedVersions {
    const writers = new Writers(this.#operations);
    this.#checkOwned();
    const taken = this.#placeUnknown(writers);
    const versions = this.#build();
    const open = this.#operations.filter(
      ({ id, result }) => (result.outcome === 'unknown' && !taken.has(id)) || this.#untold.has(id),
    );
    const unplaced = new Writers(open);
    const placed = this.#placed;
    const leased = this.#leased;
    return { versions, placed, unplaced, leased, newestRevision: this.#newest };
  }

  /** What was seen at an acknowledged revision must be what its operation wrote. */
  #checkOwned(): void {
    for (const [revision, claims] of this.#claims) {
      const owner = this.#owners.get(revision);
      if (owner === undefined) continue;
      const able = new Writers([owner]);
      for (const claim of claims.values()) {
        if (couldWrite(able, claim, owner)) continue;
        const saw = `${shown(claim.key)}=${shown(claim.value)}@${revision}`;
        const text = `${claim.by} saw ${saw}, but the revision is that of ${describeOperation(owner)}`;
        const ids = claim.operation === undefined ? [] : [claim.operation];
        this.#findings.add('torn-revision', text, [owner.id, ...ids], { at: claim.at });
      }
    }
  }

  /** Finds the operations of unknown outcome behind the revisions that nobody acknowledged. */
  #placeUnknown(writers: Writers): ReadonlySet<number> {
    const free = [...this.#claims.keys()].filter((one) => !this.#owners.has(one));
    free.sort((a, b) => a - b);
    const able = free.map((revision) => {
      const claims = [...(this.#claims.get(revision)?.values() ?? [])];
      return candidatesOf(claims, writers);
    });
    const given = placeUnknown(free, able, this.#seen);
    const taken = new Set<number>();
    for (const [item, revision] of free.entries()) {
      const operation = given[item];
      if (operation === undefined) this.#addUnplaced(revision, able[item] ?? [], writers);
      else {
        taken.add(operation.id);
        this.#placed.push({ operation, revision, wrote: true });
        this.#completeTxn(operation, revision);
      }
    }
    return taken;
  }

  /** A txn is there as a whole: one put that was seen stands for all of its branch. */
  #completeTxn(operation: RecordedOperation, revision: number): void {
    const { request } = operation;
    if (request.op !== 'txn') return;
    const claims = this.#claims.get(revision) ?? new Map<string, Claim>();
    const branches = [request.success, request.failure].filter((ops) =>
      [...claims.values()].every(({ deleted, key, value }) =>
        ops.some(
          (op) =>
            (op.op === 'put' &&
              !deleted &&
              keyText(op.key) === key &&
              (value === undefined || keyText(op.value) === value)) ||
            (op.op === 'delete-range' && deleted && covers(keyRange(op.key, op.rangeEnd), key)) ||
            op.op === 'txn',
        ),
      ),
    );
    const [branch] = branches;
    if (branch === undefined || branches.length > 1) return;
    const source = sourceOf(operation);
    for (const op of branch) {
      if (op.op !== 'put' || op.ignoreValue === true) continue;
      const place = { key: keyText(op.key), revision };
      this.#claim({ ...source, ...place, value: keyText(op.value), deleted: false });
    }
  }

  #addUnplaced(revision: number, able: readonly RecordedOperation[], writers: Writers): void {
    const claims = [...(this.#claims.get(revision)?.values() ?? [])];
    if (claims.every(({ deleted, key }) => deleted && this.#leased.has(key))) return;
    const texts = claims.map(({ deleted, key, value }) => {
      return `${shown(key)}=${deleted ? '(deleted)' : shown(value)}@${revision}`;
    });
    const first = claims[0];
    const saw = `${first?.by ?? ''} saw ${texts.slice(0, 4).join(', ')}`;
    const seers = claims.flatMap(({ operation }) => operation ?? []).slice(0, 3);
    const where = { at: first?.at ?? 0 };
    const failed = able.find(({ result }) => result.outcome === 'failed');
    const again = able.find(({ result }) => result.outcome !== 'failed');
    if (again !== undefined) {
      const text = `${saw}, which is ${describeOperation(again)} applied once more`;
      this.#findings.add('applied-twice', text, [again.id, ...seers], where);
    } else if (failed !== undefined) {
      const text = `${describeOperation(failed)}: was reported as failed, but ${saw}`;
      this.#findings.add('failed-but-visible', text, [failed.id, ...seers], where);
    } else if (claims.some(({ key }) => writers.touches(key))) {
      const each = claims.every((claim) => candidatesOf([claim], writers).length > 0);
      const what = each ? 'no single operation wrote all of it' : 'nobody wrote that';
      this.#findings.add(each ? 'torn-revision' : 'nobody-wrote', `${saw}; ${what}`, seers, where);
    }
  }

  /** Puts the claims in the order of revisions; a range that was deleted takes what was there. */
  #build(): KeyVersions {
    const versions = new KeyVersions();
    const deletes = new Map(this.#rangeDeletes.map((one) => [one.revision, one] as const));
    const order = [...new Set([...this.#claims.keys(), ...deletes.keys()])].sort((a, b) => a - b);
    for (const revision of order) {
      const claims = this.#claims.get(revision);
      const range = deletes.get(revision)?.range;
      const gone = range === undefined ? [] : versions.keysIn(range);
      for (const key of gone) {
        if (claims?.has(key) === true || versions.live(key, revision) === undefined) continue;
        versions.add(key, tombstone(revision));
      }
      for (const claim of claims?.values() ?? []) addVersion(versions, claim);
    }
    return versions;
  }
}

/** The versions that an answer shows, those of inner answers left out. */
function shownIn(op: KvRequest | TxnOp, response: RecordedResponse): readonly RecordedKeyValue[] {
  switch (response.op) {
    case 'range':
      return op.op === 'range' && op.keysOnly === true ? [] : response.kvs;
    case 'put':
      return response.prevKv === undefined ? [] : [response.prevKv];
    case 'delete-range':
      return response.prevKvs ?? [];
    default:
      return [];
  }
}

function addVersion(versions: KeyVersions, { deleted, key, revision, value }: Claim): void {
  if (deleted) {
    versions.add(key, tombstone(revision));
    return;
  }
  const before = versions.live(key, revision);
  const createRevision = before?.createRevision ?? revision;
  const version = (before?.version ?? 0) + 1;
  versions.add(key, { revision, value, deleted, createRevision, version, lease: 0n });
}

/** The operations that could have made all of it in one revision. */
function candidatesOf(claims: readonly Claim[], writers: Writers): readonly RecordedOperation[] {
  const [first, ...rest] = claims;
  if (first === undefined) return [];
  const able = ableTo(writers, first);
  if (rest.length === 0) return able;
  return able.filter((one) => rest.every((claim) => ableTo(writers, claim).includes(one)));
}

function ableTo(writers: Writers, { deleted, key, value }: Claim): readonly RecordedOperation[] {
  if (deleted) return writers.deletersOf(key);
  return value === undefined ? writers.puttersOf(key) : writers.of(key, value);
}

function couldWrite(able: Writers, claim: Claim, owner: RecordedOperation): boolean {
  return ableTo(able, claim).includes(owner);
}

function sourceOf(operation: RecordedOperation): Pick<Claim, 'by' | 'at' | 'operation'> {
  return { by: `#${operation.id}`, at: whenOf(operation).at, operation: operation.id };
}
