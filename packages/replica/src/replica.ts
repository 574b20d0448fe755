import {
  KvError,
  type LogIndex,
  type MemberId,
  type RangeRequest,
  type ShardId,
  type TxnRequest,
  type WatchRequest,
} from '@kvorum/base';
import { HARD_STATE_KEY, isSerializable } from '@kvorum/mvcc';
import {
  type HaltReport,
  type HardState,
  type Membership,
  parseRaftMessage,
  Raft,
  type RaftMessage,
  type Role,
} from '@kvorum/raft';
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
import { type AcceptedRecord, ApplyLoop } from './apply-loop.ts';
import { type AutoCompaction, autoCompactionOf } from './auto-compaction.ts';
import { answerFailed } from './command-queue.ts';
import { EffectRunner, type ReplicaEffect } from './effect-runner.ts';
import { firstElectionMs } from './first-election.ts';
import { haltError, haltText, notLeaderError } from './halt-error.ts';
import { decodeHardState } from './hard-state-codec.ts';
import { MembershipDriver } from './membership-driver.ts';
import type { IndexedMembership } from './membership-row.ts';
import { emptyGroup, ReadPath } from './read-path.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { logRestoreStep } from './restore-steps.ts';
import { bootstrapOf, openSnapshotView, readMembership } from './snapshot-view.ts';
import { commandFault } from './space.ts';
import { StateMachine } from './state-machine.ts';
import { StoreMeasure } from './store-measure.ts';
import { Transfers } from './transfers.ts';
import { WritePath } from './write-path.ts';

/** Opens a replica on its store and log and starts following, voting and serving. */
export async function openReplica(options: ReplicaOptions): Promise<Replica> {
  const [hardRow] = await options.store.getMany([HARD_STATE_KEY]);
  const machine = await StateMachine.open(options);
  const hard = decodeHardState(hardRow);
  const membership = await readMembership(options.store, bootstrapOf(options));
  const replica = new ReplicaShell({ options, hard, membership, machine });
  replica.start();
  return replica;
}

/** Quiet watchers that asked for progress hear of it so often: the age of a revision that they may resume from. */
const PROGRESS_MS = 10_000;

interface ReplicaParts {
  readonly options: ReplicaOptions;
  readonly hard: HardState;
  readonly membership: IndexedMembership;
  readonly machine: StateMachine;
}

class ReplicaShell implements Replica {
  readonly shard: ShardId;
  readonly #options: ReplicaOptions;
  readonly #raft: Raft;
  readonly #runner: EffectRunner;
  readonly #machine: StateMachine;
  readonly #apply: ApplyLoop;
  readonly #writes: WritePath;
  readonly #reads: ReadPath;
  readonly #listeners: ((status: ReplicaStatus) => void)[] = [];
  readonly #autoCompaction: AutoCompaction | undefined;
  readonly #transfers: Transfers = new Transfers();
  readonly #membership: MembershipDriver;
  #cancelTick: () => void = () => undefined;
  #stopped = false;
  #compacting = false;
  /** Mirrors of the core's state for the hot path: a status object per command would cost more than the command. */
  #role: Role = 'follower';
  #leader: MemberId | undefined;
  #haltReport: HaltReport | undefined;
  /** Index of the own barrier of the current leadership. */
  #readyIndex: LogIndex | undefined;
  readonly #measure: StoreMeasure;
  #progressAtMs = 0;

  constructor({ options, hard, membership, machine }: ReplicaParts) {
    this.shard = options.shard;
    this.#options = options;
    this.#machine = machine;
    this.#measure = new StoreMeasure(options);
    const { limits, clock, rng } = options;
    const accepted = machine.acceptedState;
    machine.onBroken((error) => this.#broken(error));
    machine.watches.onWatched((eager) => this.#runner.input({ kind: 'eager', eager }));
    this.#raft = new Raft(
      {
        self: options.self,
        leaderId: options.leaderId,
        shardUid: options.shardUid,
        generation: options.generation,
        ...membership,
        heartbeatMs: limits.heartbeatMs,
        electionMsMin: limits.electionMsMin,
        electionMsMax: limits.electionMsMax,
        firstElectionMs: firstElectionMs(options),
        random: (from, to) => rng.integer(from, to),
        chain: (chainHash, digest) => options.sha256(chainHash, digest),
      },
      { hard, accepted },
      clock.nowMs(),
    );
    this.#apply = new ApplyLoop(
      {
        write: (records) => machine.write(records),
        applied: (records) => this.#onApplied(records),
        broken: (error) => this.#broken(error),
      },
      accepted.index,
      limits,
    );
    this.#reads = new ReadPath(
      {
        ask: (readId) => this.#runner.input({ kind: 'read', readId }),
        whenApplied: (index, run) => {
          this.#apply.whenApplied(index, run);
          // A follower's read waits for records that are in the log already.
          if (this.#apply.isAwaited) this.#runner.hurry();
        },
        serve: (group) => machine.serve(group),
        broken: (error) => this.#broken(error),
      },
      limits,
    );
    this.#writes = new WritePath(this.#writeHost(), limits);
    this.#membership = new MembershipDriver(this.#membershipHost());
    this.#autoCompaction = autoCompactionOf(options, machine, (command) => this.submit(command));
    this.#runner = new EffectRunner({
      ...options,
      raft: this.#raft,
      send: (to, message) => options.transport.send(to, message),
      handle: (effect) => this.#handle(effect),
      room: () => this.#apply.room(),
      patient: () =>
        this.#role === 'follower' && !this.#apply.isAwaited && machine.watches.count === 0,
      appended: (ms, outcome) => {
        options.metrics.appendMs(this.shard, ms);
        if (outcome === 'unknown') options.metrics.unknownOutcome(this.shard);
      },
      broken: (error) => this.#broken(error),
    });
  }

  start(): void {
    this.#runner.start();
    this.#scheduleTick();
    this.#compactNext();
  }

  submit(command: Command): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      answerFailed(command, refusal);
      return;
    }
    const fault = commandFault(this.#options, command.request);
    if (fault === undefined) this.#writes.submit(command);
    else answerFailed(command, fault);
  }

  get(key: Uint8Array, deadlineMs: number, done: (result: GetResult) => void): void {
    const refusal = this.#readRefusal();
    if (refusal !== undefined) done({ ok: false, error: refusal });
    else this.#reads.get({ key, deadlineMs, done });
  }

  read(
    request: RangeRequest | TxnRequest,
    deadlineMs: number,
    done: (result: CommandResult) => void,
    mapVersion?: number,
  ): void {
    const read = { request, deadlineMs, mapVersion, done };
    if (isSerializable(request) && !this.#stopped) {
      this.#reads.serveNow({ ...emptyGroup(), reads: [read] });
      return;
    }
    const refusal = this.#readRefusal();
    if (refusal !== undefined) done({ ok: false, error: refusal });
    else this.#reads.read(read);
  }

  slotStatus(): ReturnType<Replica['slotStatus']> {
    return this.#machine.slotStatus();
  }

  exportSlots(
    ...[slots, from, deadlineMs]: Parameters<Replica['exportSlots']>
  ): ReturnType<Replica['exportSlots']> {
    const refusal = this.#readRefusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#reads.current(deadlineMs).then(() => this.#machine.exportSlots(slots, from));
  }

  watch(request: WatchRequest, sink: WatchSink): WatchHandle {
    return this.#machine.watches.add(request, sink);
  }

  status(): ReplicaStatus {
    return {
      shard: this.shard,
      raft: this.#raft.status(),
      appliedIndex: this.#apply.appliedIndex,
      revision: this.#machine.revision,
      compactRevision: this.#machine.compactRevision,
      queuedCommands: this.#writes.queuedCommands,
      queuedBytes: this.#writes.queuedBytes,
      watchers: this.#machine.watches.count,
      logName: this.#options.log.name,
      storeBytes: this.#measure.bytes,
    };
  }

  transferLeadership(target: MemberId): Promise<void> {
    const { voters } = this.#raft.status();
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    if (!voters.includes(target)) return Promise.reject(new KvError('KV_BAD_TRANSFEREE'));
    if (target === this.#options.self) return Promise.resolve();
    return this.#transfers.wait(target, () => this.#runner.input({ kind: 'transfer', target }));
  }

  stateHash(): ReturnType<Replica['stateHash']> {
    return this.#machine.stateHash();
  }

  async snapshotView(): ReturnType<Replica['snapshotView']> {
    const refusal = this.#readRefusal();
    if (refusal !== undefined) throw refusal;
    return openSnapshotView(this.#options, await this.#machine.view());
  }

  async barrier(deadlineMs: number): Promise<void> {
    const refusal = this.#readRefusal();
    if (refusal !== undefined) throw refusal;
    await this.#reads.current(deadlineMs);
  }

  restore(step: RestoreStep, deadlineMs: number): Promise<void> {
    const host = { refusal: this.#refusal(), writes: this.#writes, machine: this.#machine };
    return logRestoreStep(step, deadlineMs, host);
  }

  onChange(listener: (status: ReplicaStatus) => void): void {
    this.#listeners.push(listener);
  }

  deliver(from: MemberId, payload: unknown): void {
    if (this.#stopped) return;
    const message = parseRaftMessage(payload);
    if (message.ok) this.#onMessage(from, message.value);
    else
      this.#options.logger.warn(
        { problem: message.error },
        'malformed message from a peer dropped',
      );
  }

  #onMessage(from: MemberId, message: RaftMessage): void {
    this.#runner.input({ kind: 'message', from, message });
    // Sent while somebody watches here: the record is in the log already, do not let more gather.
    const isNews = message.kind === 'accepted' && message.index > this.#apply.appliedIndex;
    if (isNews && message.index > this.#raft.accepted.index) this.#runner.hurry();
  }

  peerReachability(peer: MemberId, reachable: boolean): void {
    if (!this.#stopped) this.#runner.input({ kind: 'peer-reachability', peer, reachable });
  }

  wantMembership(desired: Membership): void {
    this.#membership.want(desired);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelTick();
    this.#failAll(() => new KvError('KV_STOPPED'));
    this.#machine.watches.stop(() => new KvError('KV_STOPPED'));
    // Together: the reading of the log may be waiting for room in the apply backlog.
    await Promise.all([this.#runner.stop(), this.#apply.stop()]);
    await this.#options.log.close();
    await this.#options.store.close();
  }

  #writeHost(): ConstructorParameters<typeof WritePath>[0] {
    const { clock, metrics, logger } = this.#options;
    return {
      nowMs: () => clock.nowMs(),
      canPropose: () =>
        this.#raft.canPropose() && this.#apply.appliedIndex === this.#raft.accepted.index,
      isHeld: () => this.#membership.holdsWrites,
      execute: (proposals, isCurrent) => this.#machine.execute(proposals, isCurrent),
      propose: (payload) => this.#runner.input({ kind: 'propose', record: 'batch', payload }),
      confirm: (deadlineMs, done) => this.#reads.barrier(deadlineMs, done),
      broken: (error) => this.#broken(error),
      sealed: (commands) => metrics.batchCommands(this.shard, commands),
      settled: (commands, committed) => {
        if (committed) metrics.proposalCommitted(this.shard, commands);
        else metrics.proposalFailed(this.shard, commands);
        logger.debug({ commands, committed }, 'batch settled');
      },
    };
  }

  #membershipHost(): ConstructorParameters<typeof MembershipDriver>[0] {
    return {
      ...this.#options,
      serves: () => this.#writes.serves && !this.#stopped && this.#haltReport === undefined,
      raft: this.#raft,
      isIdle: () => !this.#writes.busy,
      propose: (payload) => this.#runner.input({ kind: 'propose', record: 'config', payload }),
      handOver: (to) => this.transferLeadership(to),
      resume: () => this.#writes.pump(),
    };
  }

  #handle(effect: ReplicaEffect): void {
    switch (effect.kind) {
      case 'accept':
        this.#apply.enqueue({ ...effect.record, state: effect.state, own: effect.own });
        break;
      case 'proposal':
        if (this.#membership.settle(effect.verdict)) break;
        // `accepted` is answered once applied; see #onApplied.
        if (effect.verdict !== 'accepted') this.#onAbsent(effect.verdict);
        break;
      case 'read-ready':
        this.#reads.ready(effect.readId, effect.index);
        break;
      case 'read-failed':
        this.#reads.failed(effect.readId);
        break;
      case 'leader-ready':
        this.#onLeaderReady(effect.index);
        break;
      case 'role-changed':
        this.#onRoleChanged(effect);
        break;
      case 'transfer-settled':
        this.#transfers.settle(effect.target, effect.moved);
        break;
      case 'fenced':
        this.#options.metrics.fenced(this.shard);
        this.#options.logger.info(
          { offset: effect.offset, reason: effect.reason },
          'record fenced',
        );
        break;
      case 'halted':
        this.#haltReport = effect.report;
        this.#role = 'follower';
        this.#leader = undefined;
        this.#options.logger.error(
          { report: effect.report },
          `shard halted: ${haltText(effect.report)}`,
        );
        this.#failAll(() => this.#halted());
        this.#machine.watches.stop(() => this.#halted());
        this.#changed();
        break;
    }
  }

  #onApplied(records: readonly AcceptedRecord[]): void {
    if (records.some(({ own, kind }) => own && kind === 'batch')) this.#writes.applied();
    this.#membership.pump();
    this.#compactNext();
    if (records.some(({ kind }) => kind === 'config')) this.#changed();
  }

  /** Compacted history is deleted piece by piece between applies, so that nothing stops meanwhile. */
  #compactNext(): void {
    if (this.#compacting || this.#stopped || !this.#machine.compactionPending) return;
    this.#compacting = true;
    this.#apply.exclusive(async () => {
      await this.#machine.compactStep();
      this.#compacting = false;
      this.#compactNext();
    });
  }

  #onAbsent(verdict: 'absent' | 'oversize'): void {
    this.#writes.absent(() => {
      if (verdict === 'oversize')
        return new KvError('KV_REQUEST_TOO_LARGE', 'the log refuses a record of this size');
      return this.#role === 'leader'
        ? new KvError('KV_LOG_UNAVAILABLE')
        : new KvError('KV_DEPOSED');
    });
  }

  #onLeaderReady(index: LogIndex): void {
    this.#readyIndex = index;
    this.#apply.whenApplied(index, () => {
      this.#machine
        .beginLeading()
        .then(() => {
          const current = this.#role === 'leader' && this.#readyIndex === index;
          if (current && !this.#stopped) this.#writes.start();
        })
        .catch((error: unknown) => this.#broken(error));
    });
  }

  #onRoleChanged(effect: Extract<ReplicaEffect, { kind: 'role-changed' }>): void {
    const { role, term, leader } = effect;
    this.#role = role;
    this.#leader = leader;
    if (role !== 'follower') this.#runner.hurry();
    this.#options.logger.info({ role, term, leader: leader?.toString(16) }, 'role changed');
    if (role !== 'leader') this.#writes.stop(() => this.#notLeader());
    this.#changed();
  }

  #refusal(): KvError | undefined {
    if (this.#stopped) return new KvError('KV_STOPPED');
    if (this.#haltReport !== undefined) return this.#halted();
    return this.#role === 'leader' ? undefined : this.#notLeader();
  }

  #readRefusal(): KvError | undefined {
    if (this.#stopped) return new KvError('KV_STOPPED');
    return this.#haltReport === undefined ? undefined : this.#halted();
  }

  #halted(): KvError {
    const report = this.#haltReport;
    return report === undefined ? new KvError('KV_HALTED') : haltError(this.shard, report);
  }

  #notLeader(): KvError {
    return notLeaderError(
      this.shard,
      this.#leader === this.#options.self ? undefined : this.#leader,
    );
  }

  #failAll(error: () => KvError): void {
    this.#writes.abandon(error);
    this.#reads.failAll(error);
    this.#transfers.failAll();
  }

  /** A bug or a broken disk: the shard stops rather than diverges. */
  #broken(error: unknown): void {
    if (this.#stopped) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.logger.error({ detail }, 'replica broke');
    this.#runner.input({ kind: 'halt', reason: 'apply-failed', detail });
  }

  /** All replicas of a process tick in the same turn, so that their heartbeats share one frame per peer. */
  #scheduleTick(): void {
    const { clock, limits } = this.#options;
    const everyMs = limits.heartbeatMs / 2;
    const delayMs = everyMs - (clock.nowMs() % everyMs);
    this.#cancelTick = clock.setTimer(delayMs, () => {
      if (this.#stopped) return;
      this.#scheduleTick();
      this.#runner.input({ kind: 'tick' });
      const nowMs = clock.nowMs();
      this.#writes.expire(nowMs);
      this.#reads.expire(nowMs);
      // Whatever kept a batch back (a transfer that failed, a late answer) may be over.
      this.#writes.pump();
      this.#membership.pump();
      if (this.#writes.serving) this.#autoCompaction?.tick(nowMs);
      this.#measure.tick(nowMs);
      if (nowMs < this.#progressAtMs) return;
      this.#progressAtMs = nowMs + PROGRESS_MS;
      this.#machine.watches.progressTick();
    });
  }

  #changed(): void {
    const status = this.status();
    for (const listener of this.#listeners) listener(status);
  }
}
