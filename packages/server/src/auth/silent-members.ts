import { META_SHARD, type MemberId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';

/** What the leader of the meta group knows of the others. */
export interface SilentMembersParts {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** This member's replica of the meta group, by then. */
  readonly replica: (shard: string) => Pick<Replica, 'status'> | undefined;
  /** A linearizable reading of the meta group. */
  readonly confirmed: () => Promise<unknown>;
  /** Nobody who was not confirmed for so long serves anybody, milliseconds. */
  readonly silenceMs: number;
}

/**
 * Which members certainly serve nobody while authorization is enabled: whoever is confirmed has asked the leader of the meta group, so one
 * that this leader has not heard for longer than a confirmation counts is not confirmed. A leader that has not led for so
 * long cannot tell: another one may have confirmed them.
 */
export class SilentMembers {
  readonly #parts: SilentMembersParts;
  /** When each member last asked anything here. */
  readonly #askedMs = new Map<MemberId, number>();
  /** The leadership of this member in the meta group, and when it was first seen. */
  #lead: { readonly term: number; readonly sinceMs: number } | undefined;

  constructor(parts: SilentMembersParts) {
    this.#parts = parts;
  }

  /** A member has asked something. */
  heard(member: MemberId): void {
    this.#askedMs.set(member, this.#parts.clock.nowMs());
  }

  /** Looks whether this member leads the meta group; the sooner it does, the sooner it can tell. */
  observe(): void {
    const raft = this.#parts.replica(META_SHARD)?.status().raft;
    if (raft?.role !== 'leader') this.#lead = undefined;
    else if (this.#lead?.term !== raft.term) {
      this.#lead = { term: raft.term, sinceMs: this.#parts.clock.nowMs() };
    }
  }

  /** Those of the members that serve nobody until they have heard of what the meta group holds now. None is named in doubt. */
  async among(members: readonly MemberId[]): Promise<readonly MemberId[]> {
    this.observe();
    const { clock, replica, confirmed, silenceMs } = this.#parts;
    const lead = this.#lead;
    const raft = replica(META_SHARD)?.status().raft;
    const latestMs = clock.nowMs() - silenceMs;
    if (lead === undefined || raft === undefined || lead.sinceMs > latestMs) return [];
    const heardMs = new Map(raft.peers.map(({ id, lastHeardMs }) => [id, lastHeardMs]));
    const silent = members.filter((member) => {
      const never = Number.NEGATIVE_INFINITY;
      const last = Math.max(heardMs.get(member) ?? never, this.#askedMs.get(member) ?? never);
      return last < latestMs;
    });
    if (silent.length === 0) return [];
    // Only who leads still has not missed what a later leader heard.
    try {
      await confirmed();
    } catch {
      return [];
    }
    this.observe();
    return this.#lead === lead ? silent : [];
  }
}
