import {
  assert,
  type LogOffset,
  type MemberId,
  type RangeRequest,
  type ShardId,
  type TxnRequest,
  type WatchRequest,
} from '@kvorum/base';
import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { StateStore } from '@kvorum/ports';
import type { Membership } from '@kvorum/raft';
import type {
  Command,
  CommandResult,
  GetResult,
  Replica,
  ReplicaStatus,
  RestoreStep,
  WatchHandle,
  WatchSink,
} from './api.ts';
import type { ReplicaLeases } from './lease-api.ts';
import { type LogReader, logReaderOf } from './log-reader.ts';
import { openShell } from './open-shell.ts';
import type { ReplicaOptions } from './replica-options.ts';
import type { ReplicaShell } from './replica-shell.ts';
import { SnapshotInstall } from './snapshot-install.ts';

/** Opens a replica on its store and log and starts following, voting and serving. */
export async function openReplica(options: ReplicaOptions): Promise<Replica> {
  const replica = new ReplicaLife(options);
  await replica.open(options.store);
  return replica;
}

/**
 * The life of a replica: it follows its log, until the log's start has passed it; then it installs a peer's snapshot beside its store, puts
 * it in the store's place and follows again. One shell after the other does the following; this one stays.
 */
class ReplicaLife implements Replica {
  readonly shard: ShardId;
  readonly log: LogReader;
  readonly #options: ReplicaOptions;
  readonly #listeners: ((status: ReplicaStatus) => void)[] = [];
  readonly #reachability = new Map<MemberId, boolean>();
  #current: ReplicaShell | undefined;
  #store: StateStore;
  #install: SnapshotInstall | undefined;
  #installing: Promise<void> = Promise.resolve();
  #source: MemberId | undefined;
  #excluded: readonly MemberId[] = [];
  #wanted: Membership | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: ReplicaOptions) {
    this.shard = options.shard;
    this.log = logReaderOf(options);
    this.#options = options;
    this.#store = options.store;
  }

  /** Begins to follow on this store. */
  async open(store: StateStore): Promise<void> {
    this.#store = store;
    const shell = await openShell(this.#options, store, {
      snapshotNeeded: () => this.#beginInstall(),
      followed: () => this.#forgetSide(),
      changed: () => this.#changed(),
    });
    this.#current = shell;
    shell.excludeFromTruncation(this.#excluded);
    if (this.#wanted !== undefined) shell.wantMembership(this.#wanted);
    shell.start();
    for (const [peer, reachable] of this.#reachability) shell.peerReachability(peer, reachable);
  }

  submit(command: Command): void {
    this.#shell.submit(command);
  }

  get(key: Uint8Array, deadlineMs: number, done: (result: GetResult) => void): void {
    this.#shell.get(key, deadlineMs, done);
  }

  read(
    request: RangeRequest | TxnRequest,
    deadlineMs: number,
    done: (result: CommandResult) => void,
    mapVersion?: number,
  ): void {
    this.#shell.read(request, deadlineMs, done, mapVersion);
  }

  get leases(): ReplicaLeases {
    return this.#shell.leases;
  }

  slotStatus(): ReturnType<Replica['slotStatus']> {
    return this.#shell.slotStatus();
  }

  exportSlots(
    ...[slots, from, deadlineMs]: Parameters<Replica['exportSlots']>
  ): ReturnType<Replica['exportSlots']> {
    return this.#shell.exportSlots(slots, from, deadlineMs);
  }

  watch(request: WatchRequest, sink: WatchSink): WatchHandle {
    return this.#shell.watch(request, sink);
  }

  status(): ReplicaStatus {
    const status = this.#shell.status();
    return this.#install === undefined ? status : { ...status, install: this.#install.status };
  }

  transferLeadership(target: MemberId): Promise<void> {
    return this.#shell.transferLeadership(target);
  }

  stateHash(): ReturnType<Replica['stateHash']> {
    return this.#shell.stateHash();
  }

  snapshotView(): ReturnType<Replica['snapshotView']> {
    return this.#shell.snapshotView();
  }

  barrier(deadlineMs: number): Promise<void> {
    return this.#shell.barrier(deadlineMs);
  }

  restore(step: RestoreStep, deadlineMs: number): Promise<void> {
    return this.#shell.restore(step, deadlineMs);
  }

  onChange(listener: (status: ReplicaStatus) => void): void {
    this.#listeners.push(listener);
  }

  deliver(from: MemberId, payload: unknown): void {
    this.#shell.deliver(from, payload);
  }

  answer(from: MemberId, payload: unknown): Promise<unknown> {
    return this.#shell.answer(from, payload);
  }

  peerReachability(peer: MemberId, reachable: boolean): void {
    this.#reachability.set(peer, reachable);
    this.#shell.peerReachability(peer, reachable);
  }

  wantMembership(desired: Membership): void {
    this.#wanted = desired;
    this.#shell.wantMembership(desired);
  }

  recoveryReport(): ReturnType<Replica['recoveryReport']> {
    return this.#shell.recoveryReport();
  }

  installFrom(peer: MemberId): void {
    this.#source = peer;
    this.#shell.step({ kind: 'await-snapshot' });
  }

  excludeFromTruncation(members: readonly MemberId[]): void {
    this.#excluded = members;
    this.#shell.excludeFromTruncation(members);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#install?.stop();
    // Its first step answers everybody who waits, before anything is waited for.
    const stopping = this.#shell.stop();
    await this.#installing;
    await stopping;
    await this.#shell.stop();
    await this.#options.log.close();
    await this.#store.close();
  }

  get #shell(): ReplicaShell {
    assert(this.#current !== undefined, 'the replica is open');
    return this.#current;
  }

  #beginInstall(): void {
    if (this.#stopping !== undefined) return;
    const install = new SnapshotInstall({
      options: this.#options,
      candidates: () => this.#candidates(),
      start: () => this.#logStart(),
      lost: () => this.#lost(),
    });
    this.#install = install;
    const earlier = this.#installing;
    this.#installing = earlier
      .then(() => this.#run(install))
      .catch((error: unknown) => this.#shell.die(error));
  }

  /** An install that a crash interrupted, and that is not needed any more, has left its side store. */
  #forgetSide(): void {
    if (this.#install !== undefined || this.#stopping !== undefined) return;
    const { logger, place } = this.#options;
    this.#installing = place.removeSide().catch((error: unknown) => {
      logger.warn({ error: String(error) }, 'the rest of an earlier install is still there');
    });
  }

  async #run(install: SnapshotInstall): Promise<void> {
    const complete = await install.run();
    if (!complete || this.#stopping !== undefined) return;
    await this.#switch();
    this.#install = undefined;
    this.#source = undefined;
    this.#changed();
  }

  /**
   * The snapshot takes the place of the store. Term and vote are this replica's own, as of its last moment on the old store: a source's
   * could make it vote twice. Up to the adoption a crash leaves the old store, from then on the new one.
   */
  async #switch(): Promise<void> {
    const { logger, place } = this.#options;
    await this.#shell.stop();
    const [hardRow] = await this.#store.getMany([HARD_STATE_KEY]);
    const side = await place.openSide();
    await side.write(
      (batch) => {
        if (hardRow !== undefined) batch.put(HARD_STATE_KEY, hardRow);
      },
      { sync: true },
    );
    await side.close();
    await this.#store.close();
    await place.adoptSide();
    await this.open(await place.open());
    const { index, offset } = this.#shell.status().raft.accepted;
    logger.info({ index, offset }, 'snapshot installed');
  }

  #logStart(): LogOffset {
    const { awaitingSnapshot, accepted } = this.#shell.status().raft;
    return awaitingSnapshot ?? ((accepted.offset + 1) as LogOffset);
  }

  /**
   * The given source alone, else everybody known; the leader last, since it has most to do. Whom the map wants and who is heard to lead
   * count: the voters of a new replica's own knowledge, those of the shard's creation, may all be gone by now.
   */
  #candidates(): readonly MemberId[] {
    if (this.#source !== undefined) return [this.#source];
    const { leader, learners, voters } = this.#shell.status().raft;
    const wanted = this.#wanted ?? { voters: [], learners: [] };
    const known = [voters, learners, wanted.voters, wanted.learners, this.#options.voters].flat();
    const others = new Set(known.filter((id) => id !== leader));
    others.delete(this.#options.self);
    return leader === undefined ? [...others] : [...others, leader];
  }

  #lost(): void {
    if (this.#source !== undefined) return;
    this.#install?.stop();
    this.#install = undefined;
    const detail = `the log starts at ${this.#logStart()}, and no voter holds what stood before it`;
    this.#shell.step({ kind: 'halt', reason: 'log-start-passed', detail });
  }

  #changed(): void {
    const status = this.status();
    // Whatever halted it may be wrong with the log or with this disk: nothing is installed over that.
    if (status.raft.halted !== undefined) this.#install?.stop();
    for (const listener of this.#listeners) listener(status);
  }
}
