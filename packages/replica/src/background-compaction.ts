import type { ApplyLoop } from './apply-loop.ts';
import type { Standing } from './standing.ts';
import type { StateMachine } from './state-machine.ts';

/** Deletes compacted history piece by piece between applies, so that nothing stops meanwhile. */
export class BackgroundCompaction {
  readonly #machine: StateMachine;
  readonly #apply: ApplyLoop;
  readonly #standing: Standing;
  #busy = false;

  constructor(machine: StateMachine, apply: ApplyLoop, standing: Standing) {
    this.#machine = machine;
    this.#apply = apply;
    this.#standing = standing;
  }

  /** Goes on if something is left and nothing is under way. */
  next(): void {
    if (this.#busy || this.#standing.stopped || !this.#machine.compactionPending) return;
    this.#busy = true;
    this.#apply.exclusive(async () => {
      await this.#machine.compactStep();
      this.#busy = false;
      this.next();
    });
  }
}
