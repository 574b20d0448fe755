import { isShardId, type KvError, META_SHARD, type MemberId, type ShardId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import { isHaltReason } from '@kvorum/raft';
import { type HaltReport, haltError } from '@kvorum/replica';
import { encodeHaltsQuestion } from '../router/forward.ts';
import { askMembers } from './ask-members.ts';
import type { ReplicaSet } from './replica-set.ts';

type Halt = Pick<HaltReport, 'reason' | 'detail'>;

const POLL_MS = 500;
const ASK_TIMEOUT_MS = 1000;
const DETAIL_CHARACTERS_MAX = 1000;

export interface ShardHaltsParts {
  readonly self: MemberId;
  readonly replicas: ReplicaSet;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  /** Voters of a data shard, this member included when it is one. */
  readonly voters: (shard: ShardId) => readonly MemberId[];
}

/**
 * Knows which shards are halted as a whole: so many of their voters stand still that none of the others can be elected. While a
 * shard has no leader here its other members are asked, all shards in one question; with a leader nothing is.
 */
export class ShardHalts {
  readonly #parts: ShardHaltsParts;
  #byPeer = new Map<MemberId, ReadonlyMap<string, Halt>>();
  #asking = false;

  constructor(parts: ShardHaltsParts) {
    this.#parts = parts;
  }

  /** Begins to watch; returns how to stop. */
  start(): () => void {
    const poll = (): void => {
      this.#poll().catch(() => undefined); // an answer that does not come is no news
    };
    const unlisten = this.#parts.replicas.onChange(poll);
    const timer = setInterval(poll, POLL_MS);
    return () => {
      clearInterval(timer);
      unlisten();
    };
  }

  /** Why a shard answers nobody, or undefined while it has, or may get, a leader. */
  of(shard: ShardId): KvError | undefined {
    const { replicas, self } = this.#parts;
    if (replicas.leaderOf(shard) !== undefined) return undefined;
    const own = replicas.haltOf(shard);
    const voters = this.#parts.voters(shard);
    const halts = voters.flatMap(
      (voter) => (voter === self ? own : this.#byPeer.get(voter)?.get(shard)) ?? [],
    );
    const [first] = halts;
    const quorum = Math.floor(voters.length / 2) + 1;
    if (first === undefined || voters.length - halts.length >= quorum) return undefined;
    return haltError(shard, own ?? first);
  }

  async #poll(): Promise<void> {
    const { replicas, peers, self } = this.#parts;
    const leaderless = replicas
      .shards()
      .filter((shard) => shard !== META_SHARD && replicas.leaderOf(shard) === undefined);
    if (this.#asking) return;
    if (leaderless.length === 0) {
      this.#byPeer.clear();
      return;
    }
    this.#asking = true;
    try {
      const voters = new Set(leaderless.flatMap((shard) => this.#parts.voters(shard)));
      const asked = [...voters].filter((voter) => voter !== self && peers.isReachable(voter));
      const payload = encodeHaltsQuestion();
      const timeoutMs = ASK_TIMEOUT_MS;
      const answers = await askMembers(peers, { members: asked, payload, timeoutMs });
      this.#byPeer = new Map([...answers].map(([peer, answer]) => [peer, parseHalts(answer)]));
    } finally {
      this.#asking = false;
    }
  }
}

/** This member's halted replicas, for another member. */
export function haltsAnswer(replicas: ReplicaSet): object {
  return {
    halts: replicas.shards().flatMap((shard) => {
      const halt = replicas.haltOf(shard);
      if (halt === undefined) return [];
      const detail = halt.detail.slice(0, DETAIL_CHARACTERS_MAX);
      return [{ shard, reason: halt.reason, detail }];
    }),
  };
}

/** Anything but an answer of this form counts as none: an older member does not know the question. */
function parseHalts(answer: unknown): ReadonlyMap<string, Halt> {
  const found = new Map<string, Halt>();
  if (typeof answer !== 'object' || answer === null || !('halts' in answer)) return found;
  if (!Array.isArray(answer.halts)) return found;
  for (const item of answer.halts as readonly unknown[]) {
    if (typeof item !== 'object' || item === null) continue;
    const { shard, reason, detail } = item as Readonly<Record<string, unknown>>;
    if (!isShardId(shard) || !isHaltReason(reason) || typeof detail !== 'string') continue;
    found.set(shard, { reason, detail });
  }
  return found;
}
