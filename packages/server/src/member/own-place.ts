import { randomBytes } from 'node:crypto';
import { type ClusterId, formatId, KvError, type MemberId, memberId } from '@kvorum/base';
import { askPeer } from '@kvorum/peer-tcp';
import {
  type MemberEntry,
  memberNamed,
  parseShardMap,
  type ShardMap,
  wrongDisk,
} from '@kvorum/shard';
import { splitAddress } from '../config/address.ts';
import type { KvdConfig, MemberConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { encodeMapQuestion } from '../router/forward.ts';
import { parseMetaAccount } from '../router/meta-steps.ts';
import { type Cluster, clusterOfMap, describeCluster, memberIdOf } from './cluster.ts';
import {
  type DataDirectory,
  memberOf,
  openDataDirectory,
  savedMap,
  saveMap,
} from './data-directory.ts';
import { readMetaGeneration, saveMetaGeneration } from './meta-generation.ts';
import { peerTls } from './peer-options.ts';
import { pause, systemClock, systemRng } from './system.ts';

const ASK_MS = 2000;
const RETRY_MS = 500;
const SAY_MS = 5000;

/** Where a member belongs: its directory, and the cluster as it is known before anything is opened. */
export interface OwnPlace {
  readonly directory: DataDirectory;
  readonly cluster: Cluster;
  /** The shard map as last seen, or as a peer had it; undefined in a new cluster. */
  readonly map: ShardMap | undefined;
}

/** What a peer said. */
interface PeerAnswer {
  readonly from: string;
  readonly map: ShardMap | undefined;
  /** The peer's own disk is not registered yet. */
  readonly fresh: boolean;
  /** Of the meta group's log, of which the peer holds a state. */
  readonly metaGeneration: number;
}

/**
 * Finds out who this member is, before it opens anything. A directory that was used says it; with an empty one the other members are
 * asked: in a cluster that exists they know the member's id, and whether it has had another disk.
 *
 * Errors: KV_DATA_DIR for another owner, a removed member or a lost disk; KV_CONFIG for a member that the cluster does not have;
 * KV_STOPPED on abort.
 */
export async function findOwnPlace(
  config: KvdConfig,
  logger: Logger,
  signal: AbortSignal,
): Promise<OwnPlace> {
  const cluster = describeCluster(config);
  const owner = { cluster: cluster.id, name: config.name };
  const known = memberOf(config.dataDir, owner);
  if (known !== undefined) return usedPlace(config, cluster, known);
  const found = await askForPlace(config, cluster, { logger, signal });
  const id = found === undefined ? cluster.self.id : memberIdOf(found.entry.id);
  const directory = openDataDirectory(config.dataDir, { ...owner, member: id }, systemRng);
  if (found !== undefined) {
    const { map, metaGeneration: generation } = found;
    saveMap(directory.path, map);
    if (generation > readMetaGeneration(directory.path).generation) {
      saveMetaGeneration(directory.path, { generation });
    }
  }
  return placeOf(directory, cluster, found?.map);
}

function usedPlace(config: KvdConfig, cluster: Cluster, id: MemberId): OwnPlace {
  const owner = { cluster: cluster.id, member: id, name: config.name };
  const directory = openDataDirectory(config.dataDir, owner, systemRng);
  const map = savedMap(directory.path);
  if (map !== undefined) checkStanding(map, directory);
  return placeOf(directory, cluster, map);
}

function placeOf(directory: DataDirectory, cluster: Cluster, map: ShardMap | undefined): OwnPlace {
  const own = { ...cluster, self: { ...cluster.self, id: directory.memberId } };
  return { directory, cluster: map === undefined ? own : clusterOfMap(own, map), map };
}

/**
 * Whether a map has this member, with this disk. Errors: KV_DATA_DIR that says what happened and what to do. A registration that is
 * missing is none: it comes with the member's first start.
 */
export function checkStanding(map: ShardMap, { memberId: self, diskId }: DataDirectory): void {
  const id = formatId(self);
  const entry = map.members.find((member) => member.id === id);
  if (entry === undefined) {
    throw new KvError('KV_DATA_DIR', `this member (${id}) was removed from the cluster`, {
      details: {
        hint: 'to have it back: empty its dataDir, kvctl member add, and start it with join: true',
      },
    });
  }
  if (entry.diskId !== undefined && entry.diskId !== diskId) throw wrongDisk(entry);
}

/** The map of highest version among the answers. */
export function newest(answers: readonly PeerAnswer[]): ShardMap | undefined {
  return answers.flatMap(({ map }) => map ?? []).sort((a, b) => b.version - a.version)[0];
}

interface FoundPlace {
  readonly entry: MemberEntry;
  readonly map: ShardMap;
  readonly metaGeneration: number;
}

/** This member's entry in the map of a cluster that exists; undefined when it is to found a new one. */
async function askForPlace(
  config: KvdConfig,
  cluster: Cluster,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<FoundPlace | undefined> {
  let nextLineMs = systemClock.nowMs();
  for (;;) {
    const answers = await askPeers(config, cluster.id, signal);
    const map = newest(answers);
    const entry = freshEntry(map, config.name);
    if (map !== undefined && entry !== undefined) {
      const metaGeneration = Math.max(...answers.map((answer) => answer.metaGeneration));
      return { entry, map, metaGeneration };
    }
    if (signal.aborted) throw new KvError('KV_STOPPED');
    if (isFounder(config, map)) return undefined;
    const why = map === undefined ? 'no member answers' : notAMember(config).details.hint;
    if (systemClock.nowMs() >= nextLineMs) {
      nextLineMs = systemClock.nowMs() + SAY_MS;
      logger.warn({ why }, 'waiting to join the cluster');
    }
    await pause(RETRY_MS, signal);
  }
}

/** Whether it may found a cluster. Errors: KV_CONFIG when there is one that does not have it, and it does not say that it joins. */
function isFounder(config: KvdConfig, map: ShardMap | undefined): boolean {
  if (map !== undefined && !config.join) throw notAMember(config);
  return !config.join;
}

/** The entry of a member that has not started yet. Errors: KV_DATA_DIR for one that has: with another disk. */
function freshEntry(map: ShardMap | undefined, name: string): MemberEntry | undefined {
  const entry = map === undefined ? undefined : memberNamed(map, name);
  if (entry === undefined || entry.state === 'leaving') return undefined;
  if (entry.diskId !== undefined) throw wrongDisk(entry);
  return entry;
}

function notAMember({ name, listenPeer, listenClient }: KvdConfig): KvError {
  return new KvError('KV_CONFIG', `the cluster exists and has no member ${name}`, {
    details: {
      hint: `kvctl member add ${name} --peer ${listenPeer} --client ${listenClient}; then start it with join: true`,
    },
  });
}

/** What those say that answer within two seconds. */
export async function askPeers(
  config: KvdConfig,
  cluster: ClusterId,
  signal: AbortSignal,
): Promise<readonly PeerAnswer[]> {
  const others = config.members.filter(({ name }) => name !== config.name);
  const tls = peerTls(config);
  const asked = others.map(async ({ name, peer }: MemberConfig): Promise<PeerAnswer> => {
    const answer = await askPeer(splitAddress(peer), encodeMapQuestion(), {
      // Nobody's id: this member does not know yet who it is, and must not be taken for who it was.
      self: memberId(randomBytes(8).readBigUInt64BE() | 1n),
      clusterId: cluster,
      diskId: '',
      ...(tls === undefined ? {} : { tls }),
      limits: config.limits,
      clock: systemClock,
      rng: systemRng,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]),
    });
    return { from: name, ...parseMapAnswer(answer) };
  });
  const settled = await Promise.allSettled(asked);
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

function begunGeneration(answer: object): number {
  const account = 'meta' in answer ? parseMetaAccount(answer.meta) : undefined;
  return account?.begun === true ? account.generation : 0;
}

/** Reads the answer to the question for the map; one of a member of an older version says nothing. */
export function parseMapAnswer(answer: unknown): Omit<PeerAnswer, 'from'> {
  if (typeof answer !== 'object' || answer === null || !('map' in answer)) {
    return { map: undefined, fresh: false, metaGeneration: 0 };
  }
  const map = parseShardMap(answer.map);
  return {
    map: map.ok ? map.value : undefined,
    fresh: 'fresh' in answer && answer.fresh === true,
    metaGeneration: begunGeneration(answer),
  };
}
