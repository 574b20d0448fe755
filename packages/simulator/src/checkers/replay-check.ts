import { describeOperation, describeRequest } from './describe-operation.ts';
import { difference } from './differences.ts';
import { didWrite } from './effects.ts';
import { type Execution, execute } from './execute.ts';
import type { Findings } from './finding.ts';
import { shown } from './key-text.ts';
import type { KeyChange } from './key-versions.ts';
import type { ReplayedLog } from './log-replay.ts';
import { placeUnknown } from './matching.ts';
import { checkRealTime, type Placed, SeenRevisions, type Sighting } from './real-time.ts';
import { type RecordedOperation, whenOf } from './recorded-history.ts';
import { RevisionOwners } from './revision-owners.ts';
import { Writers } from './writers.ts';

/**
 * Every operation against what the log says: its answer is what the state at its revision gives, an acknowledged write stands there,
 * one that failed stands nowhere, one of unknown outcome at most once, and every change has an operation that made it. Returns
 * where the operations stand.
 */
export function checkReplay(
  operations: readonly RecordedOperation[],
  log: ReplayedLog,
  sightings: readonly Sighting[],
  findings: Findings,
): readonly Placed[] {
  const seen = new SeenRevisions(operations, sightings);
  const check = new ReplayCheck({ operations, log, seen }, findings);
  const placed = check.run();
  checkRealTime(placed, sightings, findings);
  return placed;
}

class ReplayCheck {
  readonly #operations: readonly RecordedOperation[];
  readonly #log: ReplayedLog;
  readonly #seen: SeenRevisions;
  readonly #findings: Findings;
  readonly #owners: RevisionOwners;
  readonly #placed: Placed[] = [];

  constructor(
    from: {
      readonly operations: readonly RecordedOperation[];
      readonly log: ReplayedLog;
      readonly seen: SeenRevisions;
    },
    findings: Findings,
  ) {
    this.#operations = from.operations;
    this.#log = from.log;
    this.#seen = from.seen;
    this.#findings = findings;
    this.#owners = new RevisionOwners(findings);
  }

  run(): readonly Placed[] {
    for (const operation of this.#operations) this.#judgeAnswer(operation);
    this.#explainRest();
    return this.#placed;
  }

  #judgeAnswer(operation: RecordedOperation): void {
    const { request, result } = operation;
    if (result.outcome !== 'ok') return;
    const { revision, response } = result;
    if (revision > this.#log.revision) {
      const newest = `the log ends at ${this.#log.revision}`;
      const text = `${describeOperation(operation)}: names revision ${revision}, ${newest}`;
      this.#findings.add('future-revision', text, [operation.id]);
      return;
    }
    const wrote = didWrite(request, response);
    const faultOfWrite = wrote === false ? '' : this.#faultOfWrite(operation, revision);
    if (wrote !== false && faultOfWrite === undefined) {
      this.#own(operation, revision);
      return;
    }
    const faultOfRead = wrote === true ? '' : this.#faultOfRead(operation, revision);
    if (wrote !== true && faultOfRead === undefined) {
      this.#placed.push({ operation, revision, wrote: false });
      return;
    }
    const fault = wrote === true ? faultOfWrite : faultOfRead;
    const rule = wrote !== true ? 'wrong-read' : fault === LOST ? 'lost-write' : 'wrong-answer';
    const answered = `${describeOperation(operation)}: ${fault ?? ''}`;
    this.#findings.add(rule, answered, [operation.id], whenOf(operation));
    // What it answered is wrong; where it stands may still be right.
    if (wrote === true && fault !== LOST) this.#own(operation, revision);
  }

  /** Undefined = the operation wrote at `revision` and answered rightly. */
  #faultOfWrite(operation: RecordedOperation, revision: number): string | undefined {
    const { request, result } = operation;
    const run = execute(this.#log.versions, request, revision - 1, revision);
    if (!isSame(run, this.#log.versions.changesAt(revision))) return LOST;
    const model = run.response;
    return result.outcome === 'ok' ? difference(result.response, model, request) : undefined;
  }

  #faultOfRead(operation: RecordedOperation, revision: number): string | undefined {
    const { request, result } = operation;
    const run = execute(this.#log.versions, request, revision);
    if (result.outcome !== 'ok') return undefined;
    const different = difference(result.response, run.response, request);
    if (different !== undefined) return different;
    return run.changes.size === 0 ? undefined : 'answered as if it had changed nothing';
  }

  #own(operation: RecordedOperation, revision: number): void {
    this.#owners.set(revision, operation);
    this.#placed.push({ operation, revision, wrote: true });
  }

  /** Finds for every change that no acknowledged operation made the one that made it. */
  #explainRest(): void {
    const rest = this.#log.versions.revisions().filter((one) => !this.#owners.has(one));
    const writers = new Writers(this.#operations);
    const candidates = rest.map((revision) => this.#candidates(revision, writers));
    const given = placeUnknown(rest, candidates, this.#seen);
    for (const [item, revision] of rest.entries()) {
      const able = candidates[item] ?? [];
      const operation = given[item];
      if (operation !== undefined) this.#placed.push({ operation, revision, wrote: true });
      else this.#addUnexplained(revision, able, writers);
    }
  }

  /** The operations that would have done exactly what the log has at `revision`. */
  #candidates(revision: number, writers: Writers): readonly RecordedOperation[] {
    const { versions } = this.#log;
    const changes = versions.changesAt(revision);
    return writersOf(writers, changes[0]).filter(({ request }) => {
      return isSame(execute(versions, request, revision - 1, revision), changes);
    });
  }

  /** The lease with whose end these deletions came, if that is what they are. */
  #endedLease(changes: readonly KeyChange[], revision: number): bigint | undefined {
    const leases = changes.map(({ key, version }) =>
      version.deleted ? this.#log.versions.live(key, revision - 1)?.lease : undefined,
    );
    const [lease = 0n] = leases;
    return lease !== 0n && leases.every((one) => one === lease) ? lease : undefined;
  }

  /** What hangs on a lease goes in one revision. */
  #checkLeaseEnd(lease: bigint, revision: number): void {
    const { leases, versions } = this.#log;
    const left = [...(leases.get(lease) ?? [])].filter(
      (key) => versions.live(key, revision)?.lease === lease,
    );
    if (left.length === 0) return;
    const names = left.slice(0, 3).map(shown).join(', ');
    const text = `at revision ${revision} keys of lease ${lease} went, and ${names} stayed`;
    this.#findings.add('torn-lease', text);
  }

  #addUnexplained(revision: number, able: readonly RecordedOperation[], writers: Writers): void {
    const changes = this.#log.versions.changesAt(revision);
    const ended = this.#endedLease(changes, revision);
    if (ended !== undefined) {
      this.#checkLeaseEnd(ended, revision);
      return;
    }
    // Keys that nobody in this history writes are none of its business.
    if (!changes.some(({ key }) => writers.touches(key))) return;
    const text = `revision ${revision} (${describeChanges(changes)})`;
    const failed = able.find(({ result }) => result.outcome === 'failed');
    const twice = able.find(({ result }) => result.outcome !== 'failed');
    if (twice !== undefined) {
      const first = this.#placed.find(({ operation }) => operation === twice)?.revision;
      const once = first === undefined ? 'which is not what it answered' : `after ${first}`;
      const what = `${text} is the effect of ${describeOperation(twice)} once more, ${once}`;
      this.#findings.add('applied-twice', what, [twice.id], whenOf(twice));
    } else if (failed !== undefined) {
      const what = `${describeOperation(failed)}: was reported as failed but stands as ${text}`;
      this.#findings.add('failed-but-visible', what, [failed.id], whenOf(failed));
    } else {
      const torn = changes.flatMap((change) => writersOf(writers, change)).slice(0, 3);
      const like = torn.map((one) => `#${one.id} ${describeRequest(one.request)}`).join(', ');
      const near = torn.length === 0 ? '' : `; the nearest: ${like}`;
      const what = `${text} is no operation's whole effect${near}`;
      const ids = torn.map(({ id }) => id);
      this.#findings.add(torn.length === 0 ? 'nobody-wrote' : 'torn-revision', what, ids);
    }
  }
}

const LOST = 'was acknowledged, but the log does not have its changes at that revision';

function writersOf(writers: Writers, change: KeyChange | undefined): readonly RecordedOperation[] {
  if (change === undefined) return [];
  const { key, version } = change;
  return writers.of(key, version.deleted ? undefined : (version.value ?? ''));
}

function isSame(run: Execution, changes: readonly KeyChange[]): boolean {
  if (run.changes.size === 0 || run.changes.size !== changes.length) return false;
  return changes.every(({ key, version }) => {
    const made = run.changes.get(key);
    return (
      made !== undefined &&
      made.deleted === version.deleted &&
      made.value === version.value &&
      made.lease === version.lease
    );
  });
}

function describeChanges(changes: readonly KeyChange[]): string {
  const texts = changes.map(({ key, version }) => {
    return `${shown(key)}=${version.deleted ? '(deleted)' : shown(version.value)}`;
  });
  return texts.length > 4 ? `${texts.slice(0, 4).join(', ')}, …` : texts.join(', ');
}
