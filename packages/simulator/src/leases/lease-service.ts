import type { ShardMap } from '@kvorum/shard';
import type { MemberService } from '../member-service.ts';
import { type AskedLeases, SimLeases, type SimLeasesHost } from './sim-leases.ts';

/** A member's service where no slots move: all it does is for leases, by a map that stays. */
export class LeaseService implements MemberService {
  readonly leases: SimLeases['network'];
  readonly #leases: SimLeases;

  constructor(host: Omit<SimLeasesHost, 'map' | 'readMap'>, map: ShardMap) {
    this.#leases = new SimLeases({ ...host, map: () => map, readMap: async () => map });
    this.leases = this.#leases.network;
  }

  answer(payload: unknown): Promise<unknown> {
    return this.#leases.serve(payload as AskedLeases);
  }

  stop(): void {
    // It has nothing under way.
  }
}
