import { revisionKey } from '@kvorum/mvcc';
import type { StateStore } from '@kvorum/ports';

const MIB = 1024 * 1024;
/** Less than this is not worth a pass. */
const FREED_BYTES_MIN = 8 * MIB;
/** A pass begins when so much of the store has been deleted since the last one. */
const FREED_SHARE = 0.25;
/** About so much of the store in one step, so that the store's own work gets its turn between two. */
const STEP_BYTES = 16 * MIB;

/**
 * Gives the disk space of compacted history back.
 *
 * A deleted row takes its place, and a tombstone's, until the store's own merging comes by, which at the old end of the history may be
 * never: nothing is written there any more. So once a quarter of what the store holds has been deleted, everything up to the compacted
 * revision is merged, in the background and in steps. A pass rewrites at most three times the bytes that were deleted since the one before,
 * whatever the size of the key space.
 */
export class SpaceReclaim {
  readonly #store: Pick<StateStore, 'reclaim' | 'sizeBytes'>;
  #freedBytes = 0;
  #running = false;

  constructor(store: Pick<StateStore, 'reclaim' | 'sizeBytes'>) {
    this.#store = store;
  }

  /** So many bytes of rows were deleted. */
  freed(bytes: number): void {
    this.#freedBytes += bytes;
  }

  /** All history up to `revision` has been removed. Resolves when the space is back, if it is time; rejects when the store fails. */
  async compacted(revision: number): Promise<void> {
    if (this.#running || this.#freedBytes < FREED_BYTES_MIN) return;
    this.#running = true;
    const freedBytes = this.#freedBytes;
    try {
      const storeBytes = await this.#store.sizeBytes();
      if (freedBytes < storeBytes * FREED_SHARE) return;
      this.#freedBytes -= freedBytes;
      const revisions = Math.max(1, Math.ceil(revision * Math.min(1, STEP_BYTES / storeBytes)));
      for (let from = 0; from < revision; from += revisions) {
        const to = Math.min(from + revisions, revision);
        await this.#store.reclaim({ gte: revisionKey(from, 0), lt: revisionKey(to, 0) });
      }
    } finally {
      this.#running = false;
    }
  }
}
