import { create } from '@bufbuild/protobuf';
import type { MemberEntry, ShardMap } from '@kvorum/shard';
import { type Member, MemberSchema } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';

const asUrl = (address: string): string =>
  address.includes('://') ? address : `http://${address}`;

/** One that was added and has never started has neither name nor client URLs in etcd: its clients tell it by that. */
function memberMessage(member: MemberEntry, isStarted: boolean): Member {
  return create(MemberSchema, {
    ID: BigInt(`0x${member.id}`),
    name: isStarted ? member.name : '',
    peerURLs: [asUrl(member.peer)],
    clientURLs: isStarted ? [asUrl(member.client)] : [],
  });
}

/** All members of the map that stay, in the order of their names; the map is what tells their addresses. */
export function memberMessages(map: ShardMap): readonly Member[] {
  return map.members
    .filter(({ state }) => state !== 'leaving')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((member) => memberMessage(member, member.diskId !== undefined));
}
