import { type ClusterId, formatId, type MemberId } from '@kvorum/base';
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

/** Who is who, derived from the configuration alone: every member comes to the same ids and the same order. */
export interface Cluster {
  readonly id: ClusterId;
  readonly self: ClusterMember;
  /** In the order of their names. */
  readonly members: readonly ClusterMember[];
}

const clientUrl = (address: string): string =>
  address.includes('://') ? address : `http://${address}`;

export function describeCluster(config: KvdConfig): Cluster {
  const id = deriveClusterId(config.clusterToken ?? config.clusterName);
  const members = config.members
    .map(({ name, peer, client }) => ({
      id: deriveMemberId(id, name),
      name,
      peer,
      client: clientUrl(client),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = {
    name: config.name,
    peer: config.listenPeer,
    client: clientUrl(config.listenClient),
  };
  const self = members.find((member) => member.name === config.name);
  return { id, self: self ?? { ...own, id: deriveMemberId(id, config.name) }, members };
}

export function memberInfos(cluster: Cluster): readonly MemberInfo[] {
  return cluster.members.map((member) => ({
    id: formatId(member.id),
    name: member.name,
    clientUrls: [member.client],
    peerAddress: member.peer,
  }));
}

/** The member meant by a name or a hex id; undefined when there is none. */
export function findMember(cluster: Cluster, nameOrId: string): ClusterMember | undefined {
  return cluster.members.find(
    (m) => m.name === nameOrId || formatId(m.id) === nameOrId.toLowerCase(),
  );
}
