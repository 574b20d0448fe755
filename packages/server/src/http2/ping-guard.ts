/** Pings may come this often; those that measure a path follow what it carries, so each answer allows another. As etcd and grpc-go. */
const INTERVAL_MS = 5000;
const STRIKES_MAX = 2;

/** Counts pings that come too often. */
export class PingGuard {
  #lastMs = Number.NEGATIVE_INFINITY;
  #strikes = 0;

  /** Headers or data went to the peer. */
  sent(): void {
    this.#strikes = 0;
    this.#lastMs = Number.NEGATIVE_INFINITY;
  }

  /** False: they are too many now. */
  received(nowMs: number): boolean {
    if (nowMs - this.#lastMs < INTERVAL_MS) this.#strikes += 1;
    this.#lastMs = nowMs;
    return this.#strikes <= STRIKES_MAX;
  }
}
