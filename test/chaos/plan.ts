import type { Rng } from '@kvorum/ports';
import { replaceMembers, scaleShards } from './changes.ts';
import { type DrawFault, type Fault, LONG, type Longest } from './fault.ts';
import { cutOneLink, isolateMember, resetLinks, slowLinks } from './link-faults.ts';
import * as faults from './process-faults.ts';

/** Faults that are injected together, with the time from one to the next. */
export interface Episode {
  readonly faults: readonly Fault[];
  readonly apartMs: number;
}

/** What not every machine has. */
export interface Equipment {
  readonly disk: unknown;
  readonly clocks: unknown;
}

export interface PlanOptions {
  readonly longest: Longest;
  readonly equipment: Equipment;
  /** Parts of the kinds that are wanted, with commas between; all when absent. */
  readonly only?: string | undefined;
  /** Whether the cluster itself changes: members replaced, shards scaled. In a short run then nothing else happens. */
  readonly changes?: boolean;
}

/** So many times every kind is drawn in the hope of one that fits. */
const DRAWS_MAX = 100;

/** Safe while the topic's settings are weak: no member starts, and refuses to. */
const WITHOUT_RESTARTS: readonly DrawFault[] = [
  faults.pauseMember,
  faults.pauseBroker,
  isolateMember,
  isolateMember,
  cutOneLink,
  slowLinks,
  resetLinks,
];
const WITH_RESTARTS: readonly DrawFault[] = [
  faults.killMember,
  faults.killBroker,
  faults.killAllMembers,
];
const CHANGES: readonly string[] = ['every member replaced', 'scale to 8 shards and back'];
/** Those that take long: a short run has one of them. */
const SLOW: readonly DrawFault[] = [
  faults.killAllBrokers,
  faults.pauseAllBrokers,
  faults.restartMembersInTurn,
];

/** Whether parts of kinds name a change of the cluster. */
export function namesChange(only: string | undefined): boolean {
  const parts = only?.split(',') ?? [];
  return parts.some((part) => part !== '' && CHANGES.some((kind) => kind.includes(part)));
}

/** Draws episodes from a seed: every kind of fault comes before any comes again. */
export class Plan {
  readonly #rng: Rng;
  readonly #options: PlanOptions;
  #bag: Fault[] = [];

  constructor(rng: Rng, options: PlanOptions) {
    this.#rng = rng;
    this.#options = options;
  }

  /** `restarts`: whether faults that start members may be drawn now; undefined when only they are left. */
  next(restarts: boolean): Episode | undefined {
    const first = this.#take((fault) => restarts || !fault.startsMembers);
    if (first === undefined) return undefined;
    // A third of the episodes has two faults at once.
    const second =
      this.#rng.integer(0, 3) > 0
        ? undefined
        : this.#take(
            (fault) =>
              (restarts || !fault.startsMembers) &&
              fault.grips.every((grip) => !first.grips.includes(grip)),
          );
    const faultsNow = second === undefined ? [first] : [first, second];
    return { faults: faultsNow, apartMs: this.#rng.integer(0, 2000) };
  }

  #take(fits: (fault: Fault) => boolean): Fault | undefined {
    const wanted = (this.#options.only ?? '').split(',');
    for (let draws = 0; draws < DRAWS_MAX; draws += 1) {
      const at = this.#bag.findIndex((fault) => fits(fault));
      const [fault] = at < 0 ? [] : this.#bag.splice(at, 1);
      if (fault !== undefined) return fault;
      this.#bag.push(
        ...this.#shuffled().filter(({ kind }) => wanted.some((part) => kind.includes(part))),
      );
    }
    return undefined;
  }

  #shuffled(): Fault[] {
    const { longest, equipment, changes = false } = this.#options;
    const { disk, clocks } = equipment;
    const kinds: DrawFault[] = changes ? [replaceMembers, scaleShards] : [];
    if (changes && longest !== LONG) return kinds.map((kind) => kind(this.#rng, longest));
    kinds.push(...WITHOUT_RESTARTS, ...WITH_RESTARTS);
    if (longest === LONG) kinds.push(...SLOW, faults.restartBrokersInTurn);
    else kinds.push(SLOW[this.#rng.integer(0, SLOW.length)] ?? faults.killAllBrokers);
    if (disk !== undefined) kinds.push(faults.fillDisk);
    if (clocks !== undefined) kinds.push(faults.jumpClock);
    const drawn: Fault[] = [];
    while (kinds.length > 0) {
      const [kind] = kinds.splice(this.#rng.integer(0, kinds.length), 1);
      if (kind !== undefined) drawn.push(kind(this.#rng, longest));
    }
    return drawn;
  }
}
