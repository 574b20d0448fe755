import { formatId, type MemberId } from '@kvorum/base';
import { PEER_PROTOCOL_VERSION, type PeerHello, type PeerItem } from '@kvorum/wire';
import type { PeerTransportOptions } from './peer-options.ts';

export function ownHello(options: PeerTransportOptions, refusal?: string): PeerHello {
  return {
    kind: 'hello',
    protocolVersion: PEER_PROTOCOL_VERSION,
    clusterId: options.clusterId,
    memberId: options.self,
    diskId: options.diskId,
    ...(refusal === undefined ? {} : { refusal }),
  };
}

/**
 * Why the first item of a connection does not open it; undefined when it does.
 *
 * @param expected - the member that was dialled; undefined on accepted connections.
 */
export function helloRefusal(
  options: PeerTransportOptions,
  item: PeerItem,
  expected?: MemberId,
): string | undefined {
  if (item.kind !== 'hello') return `the first item was ${item.kind} instead of hello`;
  if (item.protocolVersion !== PEER_PROTOCOL_VERSION) {
    return `it speaks peer protocol ${item.protocolVersion}, this member ${PEER_PROTOCOL_VERSION}: upgrade the older one`;
  }
  if (item.clusterId !== options.clusterId) {
    const [theirs, ours] = [formatId(item.clusterId), formatId(options.clusterId)];
    return `it belongs to cluster ${theirs}, this member to ${ours}: check the peer addresses and data directories`;
  }
  if (expected !== undefined && item.memberId !== expected) {
    const [found, wanted] = [formatId(item.memberId), formatId(expected)];
    return `member ${found} answers at the address of member ${wanted}: check the peer addresses`;
  }
  if (expected === undefined && item.memberId === options.self) {
    return 'it claims this member’s own id: two members share a data directory, or an address is this one’s own';
  }
  if (item.refusal !== undefined) return `it refuses this member: ${item.refusal}`;
  return options.admit?.(item);
}
