import { create } from '@bufbuild/protobuf';
import { validate } from '@kvorum/mvcc';
import { shardsWithSlots } from '@kvorum/shard';
import {
  CompactionResponseSchema,
  KV,
  RangeStreamResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../../host.ts';
import { GrpcError } from '../grpc-error.ts';
import { KvCalls } from '../kv-calls.ts';
import {
  deleteMessage,
  deleteRequestOf,
  numberOf,
  putMessage,
  putRequestOf,
  rangeMessage,
  rangeRequestOf,
  txnMessage,
  txnRequestOf,
} from '../kv-messages.ts';
import { checkStreamable, rangePieces } from '../range-stream.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';

const SHARDS_NAMED_MAX = 8;

/**
 * etcd's KV service. A request inside one shard behaves as etcd's; a plain range over several shards is merged (its revision is the
 * largest of theirs); what would have to be atomic over several, or at one revision of theirs, is refused with FAILED_PRECONDITION.
 */
export function kvService(host: Host): Service {
  return service(KV, kvHandlers(host));
}

export function kvHandlers(host: Host): ServiceHandlers<typeof KV.method> {
  const calls = new KvCalls(host);
  return {
    range: async (message, call) => {
      const { response, header } = await calls.run(rangeRequestOf(message), call);
      return rangeMessage(header, response);
    },
    rangeStream: async (message, outgoing, call) => {
      const request = rangeRequestOf(message);
      const fault = validate(request, host.limits);
      if (fault !== undefined) throw fault;
      checkStreamable(request);
      for await (const { header, response } of rangePieces(calls, request, call)) {
        const rangeResponse = rangeMessage(header, response);
        const hasRoom = outgoing.send(create(RangeStreamResponseSchema, { rangeResponse }));
        if (!hasRoom) await outgoing.drained();
        if (call.signal.aborted) return;
      }
    },
    put: async (message, call) => {
      const { response, header } = await calls.run(putRequestOf(message), call);
      return putMessage(header, response);
    },
    deleteRange: async (message, call) => {
      const { response, header } = await calls.run(deleteRequestOf(message), call);
      return deleteMessage(header, response);
    },
    txn: async (message, call) => {
      const { response, header } = await calls.run(txnRequestOf(message), call);
      return txnMessage(header, response);
    },
    compact: async ({ revision, physical }, call) => {
      checkOneTimeline(host);
      const request = { op: 'compact', revision: numberOf(revision), physical } as const;
      const { header } = await calls.run(request, call);
      return create(CompactionResponseSchema, { header });
    },
  };
}

/** Of several shards each has revisions of its own: one number cannot say how far all of them are to be compacted. */
function checkOneTimeline(host: Host): void {
  const shards = shardsWithSlots(host.map());
  if (shards.length === 1) return;
  const named = shards.slice(0, SHARDS_NAMED_MAX).join(', ');
  const more = shards.length > SHARDS_NAMED_MAX ? `, … (${shards.length} in all)` : '';
  throw new GrpcError(
    'FAILED_PRECONDITION',
    `kv: every shard has revisions of its own (shards ${named}${more}): compact them one at a time, with kvctl compaction REVISION --shard SHARD`,
  );
}
