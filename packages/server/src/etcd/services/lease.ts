import { create } from '@bufbuild/protobuf';
import { type LeaseId, leaseId } from '@kvorum/base';
import { LEASE_HOME } from '@kvorum/shard';
import {
  Lease,
  LeaseGrantResponseSchema,
  type LeaseKeepAliveRequest,
  type LeaseKeepAliveResponse,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesResponseSchema,
  LeaseRevokeResponseSchema,
  LeaseStatusSchema,
  LeaseTimeToLiveResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../../host.ts';
import { headersOf, type ResponseHeader } from '../header.ts';
import { explained } from '../kv-calls.ts';
import { numberOf } from '../kv-messages.ts';
import { checkLeaders, deadlineOf, requiresLeader } from '../route-options.ts';
import {
  type Call,
  type Outgoing,
  type Service,
  type ServiceHandlers,
  service,
} from '../service.ts';

/** A copy of it costs a fraction of making one. */
const RENEWED = create(LeaseKeepAliveResponseSchema);
/** Keep-alives of one stream that are being answered; the next one waits. */
const KEEP_ALIVES_MAX = 1024;

/** etcd's Lease service. The revision in a header is that of the shard that is the home of all leases. */
export function leaseService(host: Host): Service {
  return service(Lease, leaseHandlers(host));
}

export function leaseHandlers(host: Host): ServiceHandlers<typeof Lease.method> {
  const calls = new LeaseCalls(host);
  const { leases } = host;
  return {
    leaseGrant: (message, call) =>
      calls.run(call, async (deadlineMs) => {
        const asked = { id: leaseId(message.ID), ttlSeconds: numberOf(message.TTL) };
        const { id, ttlSeconds, revision } = await leases.grant(asked, deadlineMs);
        const header = calls.header(revision);
        return create(LeaseGrantResponseSchema, { header, ID: id, TTL: BigInt(ttlSeconds) });
      }),
    leaseRevoke: (message, call) =>
      calls.run(call, async (deadlineMs) => {
        const { revision } = await leases.revoke(leaseId(message.ID), deadlineMs);
        return create(LeaseRevokeResponseSchema, { header: calls.header(revision) });
      }),
    leaseKeepAlive: (requests, outgoing, call) => keepAlive(calls, { requests, outgoing, call }),
    leaseTimeToLive: (message, call) =>
      calls.run(call, async (deadlineMs) => {
        const id: LeaseId = leaseId(message.ID);
        const asked = { wantsKeys: message.keys };
        const time = await leases.timeToLive(id, asked, deadlineMs);
        return create(LeaseTimeToLiveResponseSchema, {
          header: calls.header(time.revision),
          ID: id,
          TTL: BigInt(time.ttlSeconds),
          grantedTTL: BigInt(time.grantedSeconds),
          keys: [...time.keys],
        });
      }),
    leaseLeases: (_, call) =>
      calls.run(call, async (deadlineMs) => {
        const { ids, revision } = await leases.list(deadlineMs);
        return create(LeaseLeasesResponseSchema, {
          header: calls.header(revision),
          leases: ids.map((ID) => create(LeaseStatusSchema, { ID })),
        });
      }),
  };
}

/** What the methods have in common. */
class LeaseCalls {
  readonly host: Host;
  readonly #headers: ReturnType<typeof headersOf>;

  constructor(host: Host) {
    this.host = host;
    this.#headers = headersOf(host);
  }

  header(revision: number): ResponseHeader {
    return this.#headers({ revision, shard: LEASE_HOME });
  }

  async run<T>(call: Call, act: (deadlineMs: number) => Promise<T>): Promise<T> {
    const { host } = this;
    const refusal = host.refusal();
    if (refusal !== undefined) throw refusal;
    if (requiresLeader(call)) checkLeaders(host, [LEASE_HOME]);
    try {
      return await act(deadlineOf(host, call));
    } catch (error) {
      const isOwn = host.clock.nowMs() < (call.deadlineMs ?? Number.POSITIVE_INFINITY);
      throw explained(error, isOwn);
    }
  }

  /** A stream has no deadline of a single answer: each has the member's own. */
  renew({ ID }: LeaseKeepAliveRequest, call: Call): Promise<LeaseKeepAliveResponse> {
    const { metadata, signal } = call;
    return this.run({ metadata, signal, deadlineMs: undefined }, async (deadlineMs) => {
      const { revision, ttlSeconds } = await this.host.leases.keepAlive(leaseId(ID), deadlineMs);
      const header = this.header(revision);
      return { ...RENEWED, header, ID, TTL: BigInt(ttlSeconds) };
    });
  }
}

interface KeepAliveStream {
  readonly requests: AsyncIterable<LeaseKeepAliveRequest>;
  readonly outgoing: Outgoing<LeaseKeepAliveResponse>;
  readonly call: Call;
}

/** Renews many leases at a time, and answers in the order of the requests. A renewal that fails ends the stream, as in etcd. */
async function keepAlive(
  calls: LeaseCalls,
  { requests, outgoing, call }: KeepAliveStream,
): Promise<void> {
  let isAnswered = Promise.resolve();
  let open = 0;
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const answer = async (before: Promise<void>, renewal: Promise<LeaseKeepAliveResponse>) => {
    await before;
    const message = await renewal;
    if (!outgoing.send(message)) await outgoing.drained();
    open -= 1;
  };
  const all = async (): Promise<void> => {
    for await (const request of requests) {
      const renewal = calls.renew(request, call);
      // It is heard in its turn.
      renewal.catch(() => undefined);
      open += 1;
      isAnswered = answer(isAnswered, renewal);
      isAnswered.catch(fail);
      if (open >= KEEP_ALIVES_MAX) await isAnswered;
    }
    await isAnswered;
  };
  await Promise.race([all(), failed]);
}
