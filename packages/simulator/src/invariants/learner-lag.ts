import type { MemberId, ShardId } from '@kvorum/base';
import type { SimMember } from '../member.ts';
import type { Truth } from '../truth.ts';
import type { World, WorldObserver } from '../world.ts';
import type { Problems } from './names.ts';

/** Watches that nobody becomes a voter who has not caught up: by what it ever showed or said that it had accepted. */
export class LagChecker implements WorldObserver {
  readonly #world: World;
  readonly #problems: Problems;
  /** Highest accepted index, by shard and id. */
  readonly #known = new Map<string, number>();
  /** `config` records that were looked at, by shard. */
  readonly #checked = new Map<ShardId, number>();

  constructor(world: World, problems: Problems) {
    this.#world = world;
    this.#problems = problems;
  }

  readonly sent = (member: SimMember, shard: ShardId, payload: unknown): void => {
    if (typeof payload !== 'object' || payload === null || !('index' in payload)) return;
    if ('kind' in payload && payload.kind === 'heartbeat-response') {
      this.accepted(member.id, shard, Number(payload.index));
    }
  };

  accepted(member: MemberId, shard: ShardId, index: number): void {
    const key = `${shard} ${member}`;
    this.#known.set(key, Math.max(index, this.#known.get(key) ?? 0));
  }

  /** Looks at the `config` records that are new in the history. */
  check(shard: ShardId, { memberships }: Truth): void {
    const from = this.#checked.get(shard) ?? 0;
    this.#checked.set(shard, memberships.length);
    for (const [i, { index, membership }] of memberships.entries()) {
      if (i < from) continue;
      const before = memberships[i - 1]?.membership.voters ?? this.#world.initialVoters;
      for (const id of membership.voters) {
        if (!before.includes(id)) this.#checkPromoted(shard, id, index);
      }
    }
  }

  #checkPromoted(shard: ShardId, id: MemberId, index: number): void {
    const had = this.#known.get(`${shard} ${id}`) ?? 0;
    const lag = index - 1 - had;
    const most = this.#world.limits.learnerLagRecordsMax;
    if (lag <= most) return;
    const text = `shard ${shard} index ${index}: ${id} becomes a voter ${lag} records behind, ${most} are allowed`;
    this.#problems.add('learner-lag', text);
  }
}
