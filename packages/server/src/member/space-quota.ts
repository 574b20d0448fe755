import type { SpaceAccount } from '@kvorum/replica';

/** Adds up what the member's replicas take on disk and compares it with `limits.quotaBytes`. */
export class SpaceQuota implements SpaceAccount {
  readonly #quotaBytes: number;
  readonly #bytes = new Map<string, number>();
  #totalBytes = 0;

  constructor(quotaBytes: number) {
    this.#quotaBytes = quotaBytes;
  }

  readonly report = (shard: string, bytes: number): void => {
    this.#totalBytes += bytes - (this.#bytes.get(shard) ?? 0);
    this.#bytes.set(shard, bytes);
  };

  readonly isFull = (): boolean => this.#totalBytes > this.#quotaBytes;
}
