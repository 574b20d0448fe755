import { formatId, KvError, META_SHARD, type MemberId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import { placeReplicas, registerDisk, type ShardMap } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import { encodeMapQuestion } from '../router/forward.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import { askMemberships, ownMemberships } from './memberships.ts';
import { parseMapAnswer } from './own-place.ts';
import type { ReplicaSet } from './replica-set.ts';
import { pause } from './system.ts';

const EVERY_MS = 1000;
const ASK_MS = 1000;

export interface MapKeeperParts {
  readonly self: MemberId;
  readonly diskId: string;
  /** Every disk of the cluster is new, or this member is alone: another disk than the registered one may take its place. */
  readonly mayReplaceDisk: boolean;
  readonly zone: string | undefined;
  /** As configured; counts while this member leads the meta group. */
  readonly replicaCount: number;
  readonly editor: MapEditor;
  readonly map: () => ShardMap;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  readonly replicas: ReplicaSet;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The map has this member's disk. */
  readonly registered: () => void;
  /** Another member holds a state of this generation of the meta group's log. */
  readonly learnMeta: (generation: number) => Promise<void>;
  /** Another member has a newer map than this one. */
  readonly outdated: (map: ShardMap) => void;
}

/**
 * What a member sees to in the shard map by itself: that its own disk and zone stand there; and, while it leads the meta group, that
 * members which leave are taken out once no shard has them, and that shards have as many replicas as configured.
 */
export class MapKeeper {
  readonly #parts: MapKeeperParts;
  #registered = false;

  constructor(parts: MapKeeperParts) {
    this.#parts = parts;
  }

  /** Runs until the signal. */
  async run(): Promise<void> {
    const { signal, logger } = this.#parts;
    while (!signal.aborted) {
      try {
        await this.#once();
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        logger.debug({ err: error }, 'the shard map could not be kept; trying again');
      }
      await pause(EVERY_MS, signal);
    }
  }

  async #once(): Promise<void> {
    if (this.#parts.replicas.leaderOf(META_SHARD) === undefined) {
      await this.#askOthers();
      return;
    }
    if (!this.#registered) await this.#register();
    if (!this.#parts.replicas.leads(META_SHARD)) return;
    await this.#takeOut();
    await this.#adoptReplicaCount();
  }

  /** No heartbeats come from the meta group: perhaps this member is none any more. A member that was removed hears so here. */
  async #askOthers(): Promise<void> {
    const { peers, map: current, self, outdated, learnMeta } = this.#parts;
    const map = current();
    for (const { id } of map.members) {
      const member = memberIdOf(id);
      if (member === self || !peers.isReachable(member)) continue;
      const signal = AbortSignal.timeout(ASK_MS);
      const answer = await peers.request(member, encodeMapQuestion(), { signal }).catch(() => null);
      const { map: found, metaGeneration } = parseMapAnswer(answer);
      await learnMeta(metaGeneration);
      if (found !== undefined && found.version > map.version) outdated(found);
    }
  }

  async #register(): Promise<void> {
    const { editor, self, diskId, mayReplaceDisk, zone, registered } = this.#parts;
    const id = formatId(self);
    await editor.update((map) => {
      const next = registerDisk(map, { member: id, diskId, force: mayReplaceDisk });
      const own = (next ?? map).members.find((member) => member.id === id);
      if (zone === undefined || own === undefined || own.zone === zone) return next;
      const base = next ?? map;
      const members = base.members.map((one) => (one.id === id ? { ...one, zone } : one));
      return placeReplicas({ ...base, members });
    });
    this.#registered = true;
    registered();
  }

  /** A member goes from the map when the leader of every shard says that it is in none. */
  async #takeOut(): Promise<void> {
    const { map: current, editor, logger, self, peers, replicas } = this.#parts;
    const map = current();
    const leaving = map.members.filter(({ state }) => state === 'leaving').map(({ id }) => id);
    if (leaving.length === 0) return;
    const accounts = [...ownMemberships(replicas), ...(await askMemberships(map, self, peers))];
    const led = accounts.filter(({ leads }) => leads);
    if (!map.shards.every(({ id }) => led.some(({ shard }) => shard === id))) return;
    const gone = leaving.filter((id) => led.every(({ members }) => !members.includes(id)));
    if (gone.length === 0) return;
    await editor.update((present) => {
      const isGone = ({ id, state }: ShardMap['members'][number]): boolean =>
        gone.includes(id) && state === 'leaving';
      const members = present.members.filter((member) => !isGone(member));
      return members.length === present.members.length ? undefined : { ...present, members };
    });
    logger.info({ members: gone }, 'members taken out of the cluster');
  }

  async #adoptReplicaCount(): Promise<void> {
    const { map: current, editor, replicaCount } = this.#parts;
    if ((current().replicas ?? 0) === replicaCount) return;
    await editor.update((map) =>
      (map.replicas ?? 0) === replicaCount
        ? undefined
        : placeReplicas({ ...map, replicas: replicaCount }),
    );
  }
}
