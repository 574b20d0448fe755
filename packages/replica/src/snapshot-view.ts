import { logIndex, type MemberId, type ShardId } from '@kvorum/base';
import { type EngineMeta, MEMBERSHIP_KEY } from '@kvorum/mvcc';
import type { ReadView, StateReader } from '@kvorum/ports';
import type { Membership } from '@kvorum/raft';
import { decodeMembershipRow, type IndexedMembership } from './membership-row.ts';
import type { ReplicaOptions } from './replica-options.ts';

/**
 * Everything a replica holds at one applied position: what a snapshot, a backup or a slot move copies. An open view keeps old files on
 * the disk, so close it.
 */
export interface SnapshotView {
  readonly shard: ShardId;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  /** The position; everything up to `meta.offset` of the log is in the view and nothing above it. */
  readonly meta: EngineMeta;
  readonly membership: Membership;
  /** Rows of the store. `HARD_STATE_KEY` is the replica's own and must not be copied. */
  readonly view: ReadView;
  readonly close: () => Promise<void>;
}

/** The membership as of a store's applied position; before the first `config` record the one the shard was created with. */
export async function readMembership(
  reader: StateReader,
  bootstrap: IndexedMembership,
): Promise<IndexedMembership> {
  const [row] = await reader.getMany([MEMBERSHIP_KEY]);
  return row === undefined ? bootstrap : decodeMembershipRow(row);
}

/** What the shard was created with. */
export function bootstrapOf(options: { readonly voters: readonly MemberId[] }): IndexedMembership {
  return { voters: options.voters, learners: [], configIndex: logIndex(0) };
}

/** Takes over `view`: closes it with itself, and when this fails. */
export async function openSnapshotView(
  options: Pick<ReplicaOptions, 'shard' | 'shardUid' | 'generation' | 'voters'>,
  { view, meta }: Pick<SnapshotView, 'view' | 'meta'>,
): Promise<SnapshotView> {
  const { shard, shardUid, generation } = options;
  const close = (): Promise<void> => view.close();
  try {
    const membership = await readMembership(view, bootstrapOf(options));
    return { shard, shardUid, generation, meta, membership, view, close };
  } catch (error) {
    await close();
    throw error;
  }
}
