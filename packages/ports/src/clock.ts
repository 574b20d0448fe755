/** Time as a port, so that simulations own it. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary start. */
  nowMs(): number;
  /** Wall clock, milliseconds since 1970; may jump. Only ever recorded, never compared across members. */
  wallMs(): number;
  /** Runs `callback` once after `delayMs`; the returned function cancels it. */
  setTimer(delayMs: number, callback: () => void): () => void;
}
