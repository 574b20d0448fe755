import type {
  KeyValue,
  KvError,
  LogIndex,
  MemberId,
  Origin,
  RangeRequest,
  Revision,
  SessionTag,
  ShardId,
  TxnRequest,
  WatchEvent,
  WatchRequest,
  WriteRequest,
} from '@kvorum/base';
import type {
  CommandResult,
  LeaseCommand,
  SlotCommand,
  SlotExport,
  SlotOwnership,
  SlotSpan,
} from '@kvorum/mvcc';
import type { Membership, RaftStatus } from '@kvorum/raft';
import type { ReplicaLeases } from './lease-api.ts';
import type { LogReader } from './log-reader.ts';
import type { TruncationStatus } from './log-truncation.ts';
import type { RecoveryReport } from './recovery-report.ts';
import type { InstallStatus } from './snapshot-install.ts';
import type { SnapshotView } from './snapshot-view.ts';

export type { CommandResult };

/** A write on its way in. `deadlineMs` is on the member's monotonic clock. */
export interface Command {
  /** Steps of slot moves come from the mover alone, commands about leases from {@link ReplicaPort.leases}. */
  readonly request: WriteRequest | SlotCommand | LeaseCommand;
  readonly session: SessionTag | undefined;
  /** Who asks; absent = unknown. One object for all commands of a client, which makes it cheap. */
  readonly origin?: Origin | undefined;
  /** Version of the shard map by which it was sent here; absent = the newest. */
  readonly mapVersion?: number;
  readonly deadlineMs: number;
  /** About how many bytes it holds in the queue. */
  readonly bytes: number;
  readonly done: (result: CommandResult) => void;
}

/** Answer to the hottest read: one key at its newest revision. */
export type GetResult =
  | { readonly ok: true; readonly kv: KeyValue | undefined; readonly revision: Revision }
  | { readonly ok: false; readonly error: KvError };

/** What a watch tells its consumer; called in order, never after `cancelled`. */
export interface WatchSink {
  readonly created: (revision: Revision) => void;
  /**
   * All events of one or more whole revisions; empty = progress up to `revision`. Returns false when the consumer's buffer is full: the
   * watch then falls back to reading from disk after `resume()` is called on its handle, holding no events meanwhile.
   */
  readonly events: (events: readonly WatchEvent[], revision: Revision, bytes: number) => boolean;
  readonly cancelled: (error: KvError) => void;
}

export interface WatchHandle {
  /** The consumer has room again. */
  resume(): void;
  /**
   * Asks for a mark of progress: `events` with none, behind all that came before. None comes while the watch has not seen everything, or
   * the replica is of a version that gives none.
   */
  progress(): void;
  cancel(): void;
}

/** Which slots a replica's shard has, as of what it has applied. */
export interface SlotStatus {
  /** Undefined = no move has touched the shard: it has what the map says. */
  readonly ownership: SlotOwnership | undefined;
  readonly revision: number;
}

/** What a replica is about. Only a following one serves. */
export type ReplicaPhase = 'following' | 'installing';

export interface ReplicaStatus {
  readonly phase: ReplicaPhase;
  /** While it installs a snapshot. */
  readonly install: InstallStatus | undefined;
  /** Snapshots on their way from here to other members. */
  readonly snapshotsSending: number;
  readonly truncation: TruncationStatus;
  readonly shard: ShardId;
  readonly raft: RaftStatus;
  readonly appliedIndex: LogIndex;
  readonly revision: Revision;
  readonly compactRevision: number;
  readonly queuedCommands: number;
  readonly queuedBytes: number;
  readonly watchers: number;
  readonly logName: string;
  readonly storeBytes: number;
  /** Leases that it keeps time for, and those that are ending, as leader of their home; else 0. */
  readonly leases: number;
}

/**
 * The boundary between a member's server and one of its replicas: commands in, results and events out, no shared
 * objects, so that replicas may later run on other threads.
 */
export interface ReplicaPort {
  readonly shard: ShardId;
  /** Reads of the shard's log; they go on while the replica is halted. */
  readonly log: LogReader;
  /** Queues a write. Answers at once with KV_TOO_MANY_REQUESTS, KV_NOT_LEADER, KV_NO_LEADER or KV_HALTED when it cannot. */
  submit(command: Command): void;
  /** Linearizable newest value of one key, on the leader or any follower. */
  get(key: Uint8Array, deadlineMs: number, done: (result: GetResult) => void): void;
  /**
   * Range or read-only txn; linearizable unless every range in it is serializable.
   *
   * @param mapVersion - of the shard map by which it was sent here; absent = the newest.
   */
  read(
    request: RangeRequest | TxnRequest,
    deadlineMs: number,
    done: (result: CommandResult) => void,
    mapVersion?: number,
  ): void;
  slotStatus(): SlotStatus;
  /** Leases, while this replica leads the shard. */
  readonly leases: ReplicaLeases;
  /** The next piece of the history of slots, from a state that is proven current. Errors: those of a linearizable read. */
  exportSlots(slots: readonly SlotSpan[], from: number, deadlineMs: number): Promise<SlotExport>;
  watch(request: WatchRequest, sink: WatchSink): WatchHandle;
  status(): ReplicaStatus;
  /** Moves leadership to `target`. Errors: KV_NOT_LEADER, KV_BAD_TRANSFEREE, KV_TIMEOUT. */
  transferLeadership(target: MemberId): Promise<void>;
  /** Digest of the logical content at one applied index: equal on every replica at that index. */
  stateHash(): Promise<{
    readonly index: LogIndex;
    readonly revision: Revision;
    readonly hash: string;
  }>;
  /** Called on every change of role, term, leader or halt. */
  onChange(listener: (status: ReplicaStatus) => void): void;
  /** Fails what is queued, waits for what is in flight (bounded), closes log and store. */
  stop(): Promise<void>;
}

/** One step of loading a backup into an empty shard. */
export type RestoreStep =
  /** Checked revision rows, ascending by (main, sub); readers do not see them yet. */
  | { readonly kind: 'rows'; readonly rows: readonly Uint8Array[] }
  /** Raises the revision and compacts there: everything loaded becomes visible at once. */
  | { readonly kind: 'finish'; readonly revision: number };

/** A replica with the entrances that only its member uses. */
export interface Replica extends ReplicaPort {
  /** A message from the shard's replica on another member; anything malformed is dropped with a warning. */
  deliver(from: MemberId, payload: unknown): void;
  /** A request from the shard's replica on another member; answers undefined to what this version does not know. */
  answer(from: MemberId, payload: unknown): Promise<unknown>;
  peerReachability(peer: MemberId, reachable: boolean): void;
  /** Who should vote, best leader first, and who should only follow: driven towards while this replica leads. */
  wantMembership(desired: Membership): void;
  /** A consistent view of everything the replica holds, with its position. Errors: KV_STOPPED, KV_HALTED, KV_CORRUPT, KV_NOT_LEADER while it installs. */
  snapshotView(): Promise<SnapshotView>;
  /** What a recovery of the shard has to know of this replica; its state is synced to disk before. Also while it is halted. Errors: KV_STOPPED, KV_CORRUPT. */
  recoveryReport(): Promise<RecoveryReport>;
  /** Makes the replica begin anew from this peer's snapshot, whatever it holds now. Its own term and vote stay. */
  installFrom(peer: MemberId): void;
  /** The disks of these voters no longer keep records in the log, unless fewer than a majority would be left. */
  excludeFromTruncation(members: readonly MemberId[]): void;
  /** Resolves when everything that was acknowledged before the call is applied here. Errors as those of a read. */
  barrier(deadlineMs: number): Promise<void>;
  /**
   * Logs one step of a restore on the leader; resolves when it is applied. Errors: KV_BACKUP (not empty), KV_NOT_LEADER, KV_NO_LEADER,
   * KV_TIMEOUT, KV_LEADER_CHANGED, ...; a step whose outcome is unknown may be sent again.
   */
  restore(step: RestoreStep, deadlineMs: number): Promise<void>;
}

/** Counters and timings a replica reports; the server turns them into metrics. Times in milliseconds. */
export interface ReplicaMetrics {
  readonly proposalCommitted: (shard: ShardId, commands: number) => void;
  readonly proposalFailed: (shard: ShardId, commands: number) => void;
  readonly appendMs: (shard: ShardId, ms: number) => void;
  readonly applyMs: (shard: ShardId, ms: number) => void;
  readonly batchCommands: (shard: ShardId, commands: number) => void;
  readonly fenced: (shard: ShardId) => void;
  readonly readRound: (shard: ShardId) => void;
  readonly unknownOutcome: (shard: ShardId) => void;
  /** The leader compacted by itself. */
  readonly autoCompacted: (shard: ShardId) => void;
  /** Store rows that a compaction removed. */
  readonly compactedRows: (shard: ShardId, rows: number) => void;
  readonly leases: LeaseMetrics;
}

/** What the home of the leases counts. */
export interface LeaseMetrics {
  /** On every replica, as it is applied. */
  readonly granted: (ttlSeconds: number) => void;
  /** On every replica, as it is applied: whatever ended it. */
  readonly revoked: () => void;
  /** On the leader. */
  readonly renewed: () => void;
  /** On the leader: their time has passed. */
  readonly expired: (count: number) => void;
}
