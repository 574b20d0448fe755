import { KvError, type MemberId } from '@kvorum/base';
import { plainError } from '@kvorum/wire';
import { isFull } from '../etcd/alarms.ts';
import { logPage } from '../http/log-page.ts';
import { answered, type PeerRequest } from '../router/forward.ts';
import { serveCommand } from '../router/serve-command.ts';
import type { MemberHost } from './member-host.ts';
import { ownMemberships } from './memberships.ts';
import type { ReplicaSet } from './replica-set.ts';
import { haltsAnswer } from './shard-halts.ts';

/** Answers what another member of the cluster asks. Never rejects on a refusal: errors travel as plain data. */
export async function servePeerRequest(
  host: MemberHost,
  replicas: ReplicaSet,
  from: MemberId,
  request: Exclude<PeerRequest, { readonly kind: 'map' }>,
): Promise<unknown> {
  switch (request.kind) {
    case 'memberships':
      return {
        memberships: ownMemberships(replicas, (shard) => host.slotLoads.rateOf(shard)),
      };
    case 'transfer':
      return serveTransfer(host, request.shard, request.member);
    case 'replica':
      return replicas.get(request.shard)?.answer(from, request.payload);
    case 'halts':
      return { ...haltsAnswer(replicas), full: isFull(host) };
    case 'meta':
      return answered(host.metaGroup.serve(request.step));
    case 'hold':
      return { holdMs: host.held.hold(request.shard) };
    case 'moves':
      return host.drivenMoves();
    case 'slot-load':
      return host.slotLoads.account();
    case 'watch':
      return host.served.serve(from, request.message);
    case 'slots':
      return answered(host.mover.serve(request.request));
    case 'log':
      return answered(logPage(host, request.params));
    case 'lease':
      return answered(host.leases.serve(request.shard, request.request, request.timeoutMs));
    case 'auth':
      return host.auth.serve(request.version, request.members);
    case 'kv':
      return serveCommand(host, request.forwarded);
  }
}

async function serveTransfer(host: MemberHost, shard: string, member: string): Promise<unknown> {
  // A stale idea of who leads must not send the request around in circles.
  if (!host.leads(shard)) {
    return { error: plainError(new KvError('KV_NOT_LEADER', undefined, { details: { shard } })) };
  }
  return answered(host.transfer(shard, member).then((holdMs) => ({ holdMs })));
}
