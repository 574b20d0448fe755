import type { ReplicaOptions } from './replica-options.ts';
import { SlotSizes } from './slot-sizes.ts';

const MEASURE_MS = 5000;

/** How much a replica's store takes on disk, for its status and the quota; one that cannot be measured breaks nothing. */
export class StoreMeasure {
  readonly #options: ReplicaOptions;
  readonly #slots: SlotSizes;
  #nextAtMs = 0;
  bytes = 0;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#slots = new SlotSizes(options);
  }

  tick(nowMs: number, leads: boolean): void {
    if (leads) this.#slots.tick(nowMs);
    if (nowMs < this.#nextAtMs) return;
    this.#nextAtMs = nowMs + MEASURE_MS;
    const { store, space, shard, logger } = this.#options;
    store.sizeBytes().then(
      (bytes) => {
        this.bytes = bytes;
        space?.report(shard, bytes);
      },
      (error: unknown) => logger.debug({ error: String(error) }, 'store size unknown'),
    );
  }
}
