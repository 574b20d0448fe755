import { create, type MessageShape } from '@bufbuild/protobuf';
import { ResponseHeaderSchema } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../host.ts';

export type ResponseHeader = MessageShape<typeof ResponseHeaderSchema>;

/** Makes the header of an answer. */
export type HeaderMaker = (answer: {
  /**
   * Of the shard that answered. An answer merged from several has the largest of theirs, which orders nothing across shards; answers
   * about the cluster have 0.
   */
  readonly revision: number;
  /** Whose term it carries; absent = the meta shard's. */
  readonly shard?: string | undefined;
}) => ResponseHeader;

/** The largest revision that this member's replicas of these shards are at, of all data shards unless told: for answers about no keys. */
export function newestRevision(
  host: Pick<Host, 'map' | 'dataReplica'>,
  shards: readonly string[] = host.map().slots.map(({ shard }) => shard),
): number {
  return Math.max(0, ...shards.map((shard) => host.dataReplica(shard)?.status().revision ?? 0));
}

/** Headers in the name of this member. Its id and the cluster's are unsigned 64-bit numbers that never change. */
export function headersOf(host: Pick<Host, 'clusterId' | 'self' | 'termOf'>): HeaderMaker {
  const clusterId = BigInt(`0x${host.clusterId}`);
  const memberId: bigint = host.self;
  // A copy of it costs a fraction of making one.
  const empty = create(ResponseHeaderSchema, { clusterId, memberId });
  // Watches of one revision are told of it one after the other: they share its header.
  let last:
    | { readonly revision: number; readonly term: number; readonly header: ResponseHeader }
    | undefined;
  return ({ revision, shard }) => {
    const term = host.termOf(shard ?? 'meta');
    if (last?.revision === revision && last.term === term) return last.header;
    const header = { ...empty, revision: BigInt(revision), raftTerm: BigInt(term) };
    last = { revision, term, header };
    return header;
  };
}
