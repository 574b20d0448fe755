import { shardsWithSlots } from '@kvorum/shard';
import { Watch, type WatchRequest } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Host } from '../../host.ts';
import { GrpcError } from '../grpc-error.ts';
import { checkLeaders, requiresLeader } from '../route-options.ts';
import { type Service, type ServiceHandlers, service } from '../service.ts';
import { WatchStream } from '../watch-stream.ts';

/** A stream that requires a leader ends after so many election timeouts without one. */
const ELECTIONS_MAX = 3;

/** etcd's Watch service: many watches on one stream, each on as many shards as its keys lie in. */
export function watchService(host: Host): Service {
  return service(Watch, watchHandlers(host));
}

export function watchHandlers(host: Host): ServiceHandlers<typeof Watch.method> {
  return {
    watch: async (requests, outgoing, call) => {
      const refusal = host.refusal();
      if (refusal !== undefined) throw refusal;
      let stopLooking = (): void => {};
      let stream: WatchStream | undefined;
      try {
        await new Promise<void>((_resolve, reject) => {
          const holds = (change: number): void => call.holds?.(change);
          const opened = new WatchStream(host, outgoing, reject, holds);
          stream = opened;
          const cancelled = (): void =>
            reject(new GrpcError('CANCELLED', 'etcdserver: watch canceled'));
          if (call.signal.aborted) cancelled();
          call.signal.addEventListener('abort', cancelled, { once: true });
          if (requiresLeader(call)) stopLooking = lookForLeaders(host, opened, reject);
          readAll(requests, opened).catch(reject);
        });
      } finally {
        stopLooking();
        stream?.close();
      }
    },
  };
}

/** A client that says no more goes on listening. */
async function readAll(requests: AsyncIterable<WatchRequest>, stream: WatchStream): Promise<void> {
  for await (const request of requests) await stream.request(request);
}

/** Errors, by `lost`: at once when no shard has a leader; later when one that is watched has had none for three election timeouts. */
function lookForLeaders(
  host: Host,
  stream: WatchStream,
  lost: (error: unknown) => void,
): () => void {
  const { electionMsMax } = host.limits;
  const lacking = (shards: Iterable<string>): boolean => {
    try {
      checkLeaders(host, [...shards]);
      return false;
    } catch {
      return true;
    }
  };
  let misses = 0;
  let stop = (): void => {};
  const look = (): void => {
    misses = lacking(stream.shards) ? misses + 1 : 0;
    if (misses >= ELECTIONS_MAX) lost(noLeader());
    else stop = host.clock.setTimer(electionMsMax, look);
  };
  if (shardsWithSlots(host.map()).every((shard) => lacking([shard]))) lost(noLeader());
  else look();
  return () => stop();
}

const noLeader = (): GrpcError => new GrpcError('UNAVAILABLE', 'etcdserver: no leader');
