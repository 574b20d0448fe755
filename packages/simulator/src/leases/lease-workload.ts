import type { ShardId } from '@kvorum/base';
import { seededRng } from '@kvorum/testkit';
import type { History } from '../history.ts';
import type { Problems } from '../invariants/names.ts';
import type { Routing } from '../moves/routing.ts';
import type { Truth } from '../truth.ts';
import type { World } from '../world.ts';
import { LeaseChecker, type LeasePlaces } from './lease-checker.ts';
import { LeaseHolder } from './lease-holder.ts';

export interface LeaseWorkloadParts {
  readonly world: World;
  readonly truths: ReadonlyMap<ShardId, Truth>;
  readonly problems: Problems;
  readonly history: History;
  readonly holders: number;
  readonly driftMax: number;
  /** A holder's own. */
  readonly routing: () => Routing;
  readonly places: LeasePlaces;
}

/** Those who hold leases in a run, and what is checked of them. */
export class LeaseWorkload {
  readonly #checker: LeaseChecker;
  readonly #holders: readonly LeaseHolder[];

  constructor(parts: LeaseWorkloadParts) {
    const { world, truths, problems, history, holders, driftMax, routing, places } = parts;
    const rng = world.rng('leases');
    this.#checker = new LeaseChecker(truths, problems, places);
    const extend = (): void => {
      for (const [shard, truth] of truths) truth.extend(world.history(shard));
    };
    const shared = { world, checker: this.#checker, problems, history, driftMax, extend };
    this.#holders = Array.from(
      { length: holders },
      (_, i) =>
        new LeaseHolder(
          { ...shared, routing: routing() },
          i + 1,
          seededRng(rng.integer(0, 2 ** 48)),
        ),
    );
  }

  start(): void {
    for (const holder of this.#holders) holder.start();
  }

  finish(): void {
    for (const holder of this.#holders) holder.finish();
  }

  /** What is left to happen: nobody holds a lease any more, and no key hangs on one. */
  get open(): readonly string[] {
    const holders = this.#holders.filter(({ idle }) => !idle).length;
    const attached = this.#checker.attached.map((key) => `${key} hangs on a lease`);
    return holders === 0 ? attached : [...attached, `${holders} hold leases`];
  }

  check(): void {
    this.#checker.checkTogether();
  }
}
