import type { Clock } from '@kvorum/ports';
import type { ApplyLoop } from './apply-loop.ts';
import type { Pace } from './pace.ts';
import type { Standing } from './standing.ts';
import type { StateMachine } from './state-machine.ts';

/**
 * Rows that may go for each revision that comes, however little time there is: more than one, or history would grow for ever
 * while clients write as fast as they can.
 */
const ROWS_PER_REVISION = 1.5;

export interface BackgroundCompactionHost {
  readonly machine: Pick<StateMachine, 'compactStep' | 'compactionPending' | 'revision'>;
  readonly apply: Pick<ApplyLoop, 'exclusive'>;
  readonly standing: Pick<Standing, 'stopped'>;
}

export interface BackgroundCompactionOptions {
  readonly clock: Pick<Clock, 'nowMs' | 'setTimer'>;
  readonly paces: { readonly compaction: Pace };
  readonly limits: { readonly compactionPercent: number };
}

/**
 * Deletes compacted history piece by piece between applies, so that nothing stops meanwhile. While records come in it rests after each piece, or
 * it would take half of the time from the clients, and with several shards nearly all; until its share of time is kept, or until
 * enough has been written.
 */
export class BackgroundCompaction {
  readonly #host: BackgroundCompactionHost;
  readonly #options: BackgroundCompactionOptions;
  #busy = false;
  /** Ends the rest; undefined when there is none. */
  #cancelRest: (() => void) | undefined;
  /** The revision at which the rest ends. */
  #restedRevision = 0;
  #revision: number | undefined;

  constructor(host: BackgroundCompactionHost, options: BackgroundCompactionOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Goes on if something is left and nothing is under way. Called after every apply. */
  next(): void {
    const { machine, standing } = this.#host;
    if (standing.stopped) {
      this.#endRest();
      return;
    }
    if (this.#cancelRest !== undefined) {
      if (machine.revision < this.#restedRevision) return;
      this.#endRest();
      this.#busy = false;
    }
    if (this.#busy || !machine.compactionPending) return;
    this.#busy = true;
    this.#step();
  }

  #step(): void {
    const { apply, machine } = this.#host;
    const { clock, limits, paces } = this.#options;
    const pace = paces.compaction;
    apply.exclusive(async () => {
      const startedMs = clock.nowMs();
      const rows = await machine.compactStep();
      const nowMs = clock.nowMs();
      const isApplying = machine.revision !== this.#revision;
      this.#revision = machine.revision;
      if (isApplying) pace.spent(startedMs, ((nowMs - startedMs) * 100) / limits.compactionPercent);
      const delayMs = Math.ceil(pace.delayMs(nowMs));
      if (delayMs > 0) this.#rest(delayMs, rows);
      this.#busy = delayMs > 0;
      this.next();
    });
  }

  #rest(delayMs: number, rows: number): void {
    const { machine } = this.#host;
    this.#restedRevision = machine.revision + Math.ceil(rows / ROWS_PER_REVISION);
    this.#cancelRest = this.#options.clock.setTimer(delayMs, () => {
      this.#cancelRest = undefined;
      this.#busy = false;
      this.next();
    });
  }

  #endRest(): void {
    this.#cancelRest?.();
    this.#cancelRest = undefined;
  }
}
