import { type ClusterId, formatId, type MemberId, memberId } from '@kvorum/base';
import { memberNamed, type ShardMap } from '@kvorum/shard';
import type { MemberInfo } from '@kvorum/wire';
import type { KvdConfig } from '../config/schema.ts';
import { deriveClusterId, deriveMemberId } from './identity.ts';

export interface ClusterMember {
  readonly id: MemberId;
  readonly name: string;
  readonly peer: string;
  /** URL. */
  readonly client: string;
}

export interface Cluster {
  readonly id: ClusterId;
  readonly self: ClusterMember;
  /** In the order of their names. */
  readonly members: readonly ClusterMember[];
}

const clientUrl = (address: string): string =>
  address.includes('://') ? address : `http://${address}`;

export const memberIdOf = (hex: string): MemberId => memberId(BigInt(`0x${hex}`));

const byName = (a: ClusterMember, b: ClusterMember): number => (a.name < b.name ? -1 : 1);

/** Who is who in a new cluster, from the configuration alone: every member comes to the same ids and the same order. */
export function describeCluster(config: KvdConfig): Cluster {
  const id = deriveClusterId(config.clusterToken ?? config.clusterName);
  const members = config.members
    .map(({ name, peer, client }) => ({
      id: deriveMemberId(id, name),
      name,
      peer,
      client: clientUrl(client),
    }))
    .sort(byName);
  const own = {
    name: config.name,
    peer: config.listenPeer,
    client: clientUrl(config.listenClient),
  };
  const self = members.find((member) => member.name === config.name);
  return { id, self: self ?? { ...own, id: deriveMemberId(id, config.name) }, members };
}

/** The same once there is a shard map, which is the truth then. */
export function clusterOfMap(cluster: Cluster, map: ShardMap): Cluster {
  const members = map.members
    .map(({ id, name, peer, client }) => ({
      id: memberIdOf(id),
      name,
      peer,
      client: clientUrl(client),
    }))
    .sort(byName);
  const self = members.find(({ id }) => id === cluster.self.id) ?? cluster.self;
  return { id: cluster.id, self, members };
}

/** The members as clients see them. */
export function memberInfos(cluster: Cluster, map: ShardMap | undefined): readonly MemberInfo[] {
  return cluster.members.map((member) => {
    const id = formatId(member.id);
    const entry = map?.members.find((one) => one.id === id);
    const state = entry?.state ?? 'active';
    return {
      id,
      name: member.name,
      clientUrls: [member.client],
      peerAddress: member.peer,
      ...(entry?.zone === undefined ? {} : { zone: entry.zone }),
      ...(state === 'active' ? {} : { state }),
      ...(entry !== undefined && entry.diskId === undefined ? { started: false } : {}),
    };
  });
}

/** The member meant by a name or a hex id; undefined when there is none. */
export function findMember(map: ShardMap, nameOrId: string): MemberId | undefined {
  const found = memberNamed(map, nameOrId) ?? memberNamed(map, nameOrId.toLowerCase());
  return found === undefined ? undefined : memberIdOf(found.id);
}
