import { create } from '@bufbuild/protobuf';
import type { MemberId } from '@kvorum/base';
import {
  AlarmRequest_AlarmAction as Action,
  type AlarmMember,
  AlarmMemberSchema,
  type AlarmRequest,
  type AlarmResponse,
  AlarmResponseSchema,
  AlarmType,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../host.ts';
import { encodeHaltsQuestion } from '../router/forward.ts';
import { GrpcError } from './grpc-error.ts';
import { headersOf, newestRevision } from './header.ts';

const ASK_MS = 2000;

/** Whether a member has used up its quota: it takes nothing then that grows its store. */
export function isFull(host: Pick<Host, 'replicas' | 'limits'>): boolean {
  const bytes = host.replicas().reduce((sum, one) => sum + one.status().storeBytes, 0);
  return bytes > host.limits.quotaBytes;
}

/** This member's alarms, as etcd writes them among the errors of a status. */
export function alarmsOf(host: Host): readonly string[] {
  return isFull(host) ? [`memberID:${host.self} alarm:NOSPACE `] : [];
}

async function fullMembers(host: Host): Promise<readonly MemberId[]> {
  const asked = host.map().members.map(({ id }) => BigInt(`0x${id}`) as MemberId);
  const found = await Promise.all(
    asked.map(async (member) => {
      if (member === host.self) return isFull(host);
      const answer = await host.ask(member, encodeHaltsQuestion(), ASK_MS).catch(() => undefined);
      return (
        typeof answer === 'object' && answer !== null && 'full' in answer && answer.full === true
      );
    }),
  );
  return asked.filter((_, at) => found[at]);
}

/**
 * NOSPACE follows the disks: a member raises it when its quota is used up, and it is gone as soon as a compaction or a larger quota has
 * made room. So there is nothing to disarm: the answer names what is still raised, as etcd's does, and an alarm cannot be raised by
 * hand. A shard that is found corrupt halts, which no alarm could.
 */
export async function answerAlarm(host: Host, request: AlarmRequest): Promise<AlarmResponse> {
  const { action, alarm, memberID } = request;
  if (action === Action.ACTIVATE) {
    throw new GrpcError(
      'FAILED_PRECONDITION',
      'kv: an alarm is not raised by hand: NOSPACE follows limits.quotaBytes, and a corrupt shard halts by itself',
    );
  }
  const header = headersOf(host)({ revision: newestRevision(host) });
  if (alarm === AlarmType.CORRUPT) return create(AlarmResponseSchema, { header });
  const full = await fullMembers(host);
  const meant = full.filter((id) => action === Action.GET || memberID === 0n || id === memberID);
  const alarms = meant.map(
    (id): AlarmMember => create(AlarmMemberSchema, { memberID: id, alarm: AlarmType.NOSPACE }),
  );
  return create(AlarmResponseSchema, { header, alarms });
}
