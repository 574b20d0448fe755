import { describeOperation } from './describe-operation.ts';
import type { Findings } from './finding.ts';
import { type RecordedOperation, whenOf } from './recorded-history.ts';

/** Which operation made each revision. One that two of them claim is a finding, and the later stays its owner. */
export class RevisionOwners {
  readonly #owners = new Map<number, RecordedOperation>();
  readonly #findings: Findings;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  set(revision: number, operation: RecordedOperation): void {
    const other = this.#owners.get(revision);
    if (other !== undefined) {
      const text = `${describeOperation(operation)}: revision ${revision} is also that of #${other.id}`;
      this.#findings.add('shared-revision', text, [operation.id, other.id], whenOf(operation));
    }
    this.#owners.set(revision, operation);
  }

  get(revision: number): RecordedOperation | undefined {
    return this.#owners.get(revision);
  }

  has(revision: number): boolean {
    return this.#owners.has(revision);
  }
}
