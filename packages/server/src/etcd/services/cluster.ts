import { create } from '@bufbuild/protobuf';
import { isKvError, type KvError } from '@kvorum/base';
import { type MemberEntry, memberNamed, type ShardMap } from '@kvorum/shard';
import {
  Cluster,
  MemberListResponseSchema,
  MemberRemoveResponseSchema,
  MemberUpdateResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../../host.ts';
import { GrpcError } from '../grpc-error.ts';
import { headersOf } from '../header.ts';
import { memberMessages } from '../member-messages.ts';
import { newestMap } from '../newest-map.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

/**
 * etcd's Cluster service over the shard map. Removing a member and changing its peer address are what they are in etcd. Adding one is
 * not: a member of this cluster has a name and a client address from the start.
 */
export function clusterService(host: Host): Service {
  return service(Cluster, clusterHandlers(host));
}

export function clusterHandlers(host: Host): ServiceHandlers<typeof Cluster.method> {
  const headers = headersOf(host);
  /** Cluster answers carry no revision. */
  const answer = (map: ShardMap) => ({
    header: headers({ revision: 0 }),
    members: [...memberMessages(map)],
  });
  return {
    memberList: async ({ linearizable }, call) => {
      serving(host);
      const map = linearizable ? await newestMap(host, call) : host.map();
      return create(MemberListResponseSchema, answer(map));
    },
    memberAdd: async ({ peerURLs }) => {
      serving(host);
      const peer = addressOf(peerURLs);
      if (host.map().members.some((member) => member.peer === peer)) {
        throw new GrpcError('FAILED_PRECONDITION', 'etcdserver: Peer URLs already exists');
      }
      throw new GrpcError(
        'FAILED_PRECONDITION',
        'kv: not supported yet over this interface: a member is added with a name and a client address, ' +
          `kvctl member add NAME --peer ${peer} --client HOST:PORT`,
      );
    },
    memberRemove: async ({ ID }) => {
      const { id } = known(host, ID);
      const map = await changed(host, { kind: 'remove', member: id });
      return create(MemberRemoveResponseSchema, answer(map));
    },
    memberUpdate: async ({ ID, peerURLs }) => {
      const peer = addressOf(peerURLs);
      const { id } = known(host, ID);
      if (host.map().members.some((member) => member.peer === peer && member.id !== id)) {
        throw new GrpcError('FAILED_PRECONDITION', 'etcdserver: Peer URLs already exists');
      }
      const map = await changed(host, { kind: 'update', member: id, peer });
      return create(MemberUpdateResponseSchema, answer(map));
    },
    memberPromote: async ({ ID }) => {
      known(host, ID);
      // Members are never learners as a whole: their replicas become voters by themselves once they have caught up.
      throw new GrpcError('FAILED_PRECONDITION', 'etcdserver: can only promote a learner member');
    },
  };
}

function serving(host: Host): void {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
}

/** Errors: NOT_FOUND in etcd's words. */
function known(host: Host, id: bigint): MemberEntry {
  serving(host);
  const member = memberNamed(host.map(), id.toString(16).padStart(16, '0'));
  if (member === undefined || member.state === 'leaving') {
    throw new GrpcError('NOT_FOUND', 'etcdserver: member not found');
  }
  return member;
}

/** host:port of the one peer URL that a member has here. Errors: INVALID_ARGUMENT in etcd's words. */
function addressOf(urls: readonly string[]): string {
  const [text, ...others] = urls;
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url !== undefined && ['', '/'].includes(url.pathname) && url.port !== '';
  const isUrl = isPlain && ['http:', 'https:'].includes(url.protocol);
  if (!isUrl || others.length > 0) {
    throw new GrpcError('INVALID_ARGUMENT', 'etcdserver: given member URLs are invalid');
  }
  return url.host;
}

type Change = Parameters<Host['admin']['change']>[0];

/** The map after an edit. Errors: etcd sends UNKNOWN where too few of the others run. */
async function changed(host: Host, change: Change): Promise<ShardMap> {
  try {
    await host.admin.change(change);
  } catch (error) {
    throw isKvError(error) ? refused(error) : error;
  }
  return host.mapEditor.update(() => undefined);
}

function refused(error: KvError): unknown {
  if (error.code !== 'KV_INVALID_ARGUMENT') return error;
  if (error.details.shard === undefined) {
    return new GrpcError('FAILED_PRECONDITION', error.message);
  }
  return new GrpcError(
    'UNKNOWN',
    'etcdserver: re-configuration failed due to not enough started members',
  );
}
