import { KvError, type MemberId } from '@kvorum/base';

interface Waiting {
  readonly target: MemberId;
  readonly settle: (moved: boolean) => void;
}

/** Those who wait for leadership to move. Several may wait for one target; the core hears of it once. */
export class Transfers {
  #waiting: Waiting[] = [];

  /** Waits for a move to `target`; `begin` starts it unless one is under way. Errors: KV_TIMEOUT when it does not come about. */
  wait(target: MemberId, begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const isUnderWay = this.#waiting.some((waiting) => waiting.target === target);
      const text = 'leadership was not taken over';
      this.#waiting.push({
        target,
        settle: (moved) => {
          if (moved) resolve();
          else reject(new KvError('KV_TIMEOUT', text, { outcome: 'not-applied' }));
        },
      });
      if (!isUnderWay) begin();
    });
  }

  /** As `wait`, to a voter that may be this replica itself. Errors: KV_BAD_TRANSFEREE too. */
  async to(
    target: MemberId,
    { voters, self }: { readonly voters: readonly MemberId[]; readonly self: MemberId },
    begin: () => void,
  ): Promise<void> {
    if (!voters.includes(target)) throw new KvError('KV_BAD_TRANSFEREE');
    if (target !== self) await this.wait(target, begin);
  }

  settle(target: MemberId, moved: boolean): void {
    const settled = this.#waiting.filter((waiting) => waiting.target === target);
    this.#waiting = this.#waiting.filter((waiting) => waiting.target !== target);
    for (const waiting of settled) waiting.settle(moved);
  }

  failAll(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.settle(false);
  }
}
