import type { SharedLog } from '@kvorum/ports';
import type { ReplicaOptions } from './replica-options.ts';

/** The shard's log for whoever reads it beside the replica, with what its records are checked against. */
export interface LogReader {
  readonly name: string;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly bounds: SharedLog['bounds'];
  readonly read: SharedLog['read'];
}

export function logReaderOf({
  log,
  shardUid,
  generation,
}: Pick<ReplicaOptions, 'log' | 'shardUid' | 'generation'>): LogReader {
  return {
    name: log.name,
    shardUid,
    generation,
    bounds: () => log.bounds(),
    read: (from, options) => log.read(from, options),
  };
}
