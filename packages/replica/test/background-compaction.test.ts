import { describe, expect, it } from 'vitest';
import { BackgroundCompaction } from '../src/background-compaction.ts';
import { Pace } from '../src/pace.ts';

const STEP_MS = 10;
const STEP_ROWS = 300;

/** A compaction whose steps take 10 ms and remove 300 rows each, on a clock that only this test moves. */
class Rig {
  nowMs = 0;
  revision = 1000;
  steps = 0;
  stopped = false;
  readonly timers: { readonly atMs: number; readonly run: () => void }[] = [];
  readonly compaction: BackgroundCompaction;
  /** Called in the middle of each step. */
  duringStep: () => void = () => undefined;
  #left: number;
  #working: Promise<void> = Promise.resolve();

  constructor(steps: number, pace: Pace = new Pace()) {
    this.#left = steps;
    // Getters have a `this` of their own.
    const isPending = (): boolean => this.#left > 0;
    const revisionNow = (): number => this.revision;
    const isStopped = (): boolean => this.stopped;
    const host: ConstructorParameters<typeof BackgroundCompaction>[0] = {
      machine: {
        get compactionPending() {
          return isPending();
        },
        get revision() {
          return revisionNow();
        },
        compactStep: async () => {
          this.#left -= 1;
          this.steps += 1;
          this.nowMs += STEP_MS;
          this.duringStep();
          return STEP_ROWS;
        },
      } as ConstructorParameters<typeof BackgroundCompaction>[0]['machine'],
      apply: {
        exclusive: (task) => {
          this.#working = task();
        },
      },
      standing: {
        get stopped() {
          return isStopped();
        },
      },
    };
    this.compaction = new BackgroundCompaction(host, {
      clock: {
        nowMs: () => this.nowMs,
        setTimer: (delayMs, run) => {
          const timer = { atMs: this.nowMs + delayMs, run };
          this.timers.push(timer);
          return () => {
            this.timers.splice(this.timers.indexOf(timer), 1);
          };
        },
      },
      paces: { compaction: pace },
      limits: { compactionPercent: 25 },
    });
  }

  /** Until nothing goes on but timers. */
  async settle(): Promise<void> {
    for (let working: Promise<void> | undefined; working !== this.#working; ) {
      working = this.#working;
      await working;
    }
  }

  async fire(): Promise<void> {
    const timer = this.timers.shift();
    if (timer === undefined) throw new Error('nothing rests');
    this.nowMs = timer.atMs;
    timer.run();
    await this.settle();
  }
}

describe('the removal of compacted history', () => {
  it('takes no rest while nothing is written', async () => {
    const rig = new Rig(20);
    rig.revision = 1000;
    rig.compaction.next();
    await rig.settle();
    if (rig.timers.length > 0) await rig.fire(); // what was written before it began is not known
    expect(rig.steps).toBe(20);
    expect(rig.timers).toEqual([]);
  });

  it('rests for three quarters of the time while records come', async () => {
    const rig = new Rig(10);
    rig.duringStep = () => {
      rig.revision += 1;
    };
    rig.compaction.next();
    await rig.settle();
    expect(rig.steps).toBe(1);
    expect(rig.timers.map(({ atMs }) => atMs)).toEqual([4 * STEP_MS]);
    rig.compaction.next();
    await rig.settle();
    expect(rig.steps).toBe(1);
    await rig.fire();
    expect(rig.steps).toBe(2);
  });

  it('ends its rest when so much was written that history would outgrow it', async () => {
    const rig = new Rig(10);
    rig.duringStep = () => {
      rig.revision += 1;
    };
    rig.compaction.next();
    await rig.settle();
    rig.revision += STEP_ROWS / 1.5;
    rig.compaction.next();
    await rig.settle();
    expect(rig.steps).toBe(2);
    expect(rig.timers).toHaveLength(1);
  });

  it('shares its time with the other replicas of the member', async () => {
    const pace = new Pace();
    const [one, two] = [new Rig(10, pace), new Rig(10, pace)];
    for (const rig of [one, two]) {
      rig.duringStep = () => {
        rig.revision += 1;
      };
      rig.compaction.next();
      await rig.settle();
    }
    expect(two.timers.map(({ atMs }) => atMs)).toEqual([8 * STEP_MS]);
  });

  it('does nothing any more when the replica stops in its rest', async () => {
    const rig = new Rig(10);
    rig.duringStep = () => {
      rig.revision += 1;
    };
    rig.compaction.next();
    await rig.settle();
    rig.stopped = true;
    await rig.fire();
    expect(rig.steps).toBe(1);
    expect(rig.timers).toEqual([]);
  });
});
