import {
  KvError,
  type LogIndex,
  type LogOffset,
  type MemberId,
  type RangeRequest,
  type ShardId,
  type TxnRequest,
  type WatchRequest,
} from '@kvorum/base';
import { isSerializable } from '@kvorum/mvcc';
import type { Membership, Raft, RaftInput } from '@kvorum/raft';
import { AlignedTicker } from './aligned-ticker.ts';
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
import { BackgroundCompaction } from './background-compaction.ts';
import { appendReport, batchReports, reportFenced } from './batch-reports.ts';
import { answerFailed } from './command-queue.ts';
import { EffectRunner, type ReplicaEffect } from './effect-runner.ts';
import type { GenesisWriter } from './genesis-writer.ts';
import { haltText, textOf } from './halt-error.ts';
import { LogKeeping } from './log-keeping.ts';
import { MembershipDriver } from './membership-driver.ts';
import { MessageStamp } from './message-stamp.ts';
import { emptyGroup, ReadPath } from './read-path.ts';
import { isRecoveryQuestion } from './recovery-report.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { createRaft } from './replica-raft.ts';
import { logRestoreStep } from './restore-steps.ts';
import { type ShardLeases, shardLeasesOf } from './shard-leases.ts';
import type { ShellHost, ShellParts } from './shell-parts.ts';
import { openSnapshotView } from './snapshot-view.ts';
import { commandFault } from './space.ts';
import { Standing } from './standing.ts';
import type { StateMachine } from './state-machine.ts';
import { StoreMeasure } from './store-measure.ts';
import { Transfers } from './transfers.ts';
import { WritePath } from './write-path.ts';

/** A replica between two installs, on one store. Once it needs a snapshot it serves nobody any more. */
export class ReplicaShell {
  readonly shard: ShardId;
  readonly leases: ShardLeases;
  readonly #options: ReplicaOptions;
  readonly #raft: Raft;
  readonly #runner: EffectRunner;
  readonly #machine: StateMachine;
  readonly #apply: ApplyLoop;
  readonly #writes: WritePath;
  readonly #reads: ReadPath;
  readonly #host: ShellHost;
  readonly #keeping: LogKeeping;
  readonly #measure: StoreMeasure;
  readonly #standing: Standing;
  readonly #transfers = new Transfers();
  readonly #autoCompaction: AutoCompaction | undefined;
  readonly #membership: MembershipDriver;
  readonly #compaction: BackgroundCompaction;
  readonly #genesis: GenesisWriter | undefined;
  readonly #stamp: MessageStamp;
  readonly #ticker: AlignedTicker;
  #followed = false;
  /** Index of the own barrier of the current leadership. */
  #readyIndex: LogIndex | undefined;

  constructor({ options, hard, membership, machine, host, genesis }: ShellParts) {
    this.shard = options.shard;
    this.#options = options;
    this.#machine = machine;
    this.#host = host;
    this.#measure = new StoreMeasure(options);
    this.#standing = new Standing(options.shard, options.self);
    this.#genesis = genesis;
    this.#stamp = new MessageStamp(options.generation);
    const { clock, limits } = options;
    this.#ticker = new AlignedTicker(clock, limits.heartbeatMs / 2, (nowMs) => this.#tick(nowMs));
    const accepted = machine.acceptedState;
    if (accepted.generation !== options.generation) this.#awaitHistory();
    machine.onBroken((error) => this.#broken(error));
    machine.watches.onWatched((eager) => this.#runner.input({ kind: 'eager', eager }));
    this.#raft = createRaft(options, membership, { hard, accepted });
    this.#apply = new ApplyLoop(
      {
        write: (records) => this.#write(records),
        applied: (records) => this.#onApplied(records),
        broken: (error) => this.#broken(error),
      },
      accepted.index,
      limits,
    );
    const parts = { machine, apply: this.#apply, standing: this.#standing };
    this.#compaction = new BackgroundCompaction(parts, options);
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
    this.#keeping = new LogKeeping({
      options,
      machine,
      raft: () => this.#raft.status(),
      follows: () => this.#standing.follows,
      tell: (offset, pin) => this.#runner.input({ kind: 'durable', offset, pin }),
      broken: (error) => this.#broken(error),
    });
    this.#membership = new MembershipDriver(this.#membershipHost());
    this.leases = shardLeasesOf(options, machine, {
      submit: (command) => this.#enqueue(command),
      confirm: (deadlineMs) => this.barrier(deadlineMs),
      notLeading: () => this.#standing.writeRefusal() ?? new KvError('KV_NO_LEADER'),
    });
    this.#autoCompaction = autoCompactionOf(options, machine, (command) => this.submit(command));
    this.#runner = new EffectRunner({
      ...options,
      raft: this.#raft,
      send: (to, message) => options.transport.send(to, this.#stamp.stamp(message)),
      handle: (effect) => this.#handle(effect),
      room: () => this.#apply.room(),
      patient: () =>
        this.#standing.role === 'follower' && !this.#apply.isAwaited && machine.watches.count === 0,
      seen: (offset, bytes) => this.#keeping.seen(offset, bytes),
      appended: appendReport(options),
      broken: (error) => this.#broken(error),
      appendsAfter: () => genesis?.done,
    });
  }

  start(): void {
    this.#genesis?.start((error) => this.#broken(error));
    this.#runner.start();
    this.#ticker.start();
    this.#compaction.next();
  }

  submit(command: Command): void {
    const fault = this.#standing.writeRefusal() ?? commandFault(this.#options, command.request);
    if (fault === undefined) this.leases.submit(command);
    else answerFailed(command, fault);
  }

  /** A command may have waited for its lease: who leads may have changed. */
  #enqueue(command: Command): void {
    const refusal = this.#standing.writeRefusal();
    if (refusal === undefined) this.#writes.submit(command);
    else answerFailed(command, refusal);
  }

  get(key: Uint8Array, deadlineMs: number, done: (result: GetResult) => void): void {
    const refusal = this.#standing.readRefusal();
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
    if (isSerializable(request) && !this.#standing.stopped && !this.#standing.awaiting) {
      this.#reads.serveNow({ ...emptyGroup(), reads: [read] });
      return;
    }
    const refusal = this.#standing.readRefusal();
    if (refusal !== undefined) done({ ok: false, error: refusal });
    else this.#reads.read(read);
  }

  slotStatus(): ReturnType<Replica['slotStatus']> {
    return this.#machine.slotStatus();
  }

  exportSlots(
    ...[slots, from, deadlineMs]: Parameters<Replica['exportSlots']>
  ): ReturnType<Replica['exportSlots']> {
    return this.barrier(deadlineMs).then(() => this.#machine.exportSlots(slots, from));
  }

  /** Answers a request of the shard's replica on another member. */
  async answer(from: MemberId, payload: unknown): Promise<unknown> {
    if (isRecoveryQuestion(payload)) return this.recoveryReport();
    if (this.#standing.stopped) throw new KvError('KV_STOPPED');
    return this.#keeping.answer(from, payload);
  }

  async recoveryReport(): ReturnType<Replica['recoveryReport']> {
    if (this.#standing.stopped) throw new KvError('KV_STOPPED');
    return this.#machine.recoveryReport(this.#standing, this.#raft.history(), this.#options.clock);
  }

  /** These voters' disks no longer hold the log. */
  excludeFromTruncation(members: readonly MemberId[]): void {
    this.#keeping.exclude(members);
  }

  /** From now on it waits for a snapshot; or it halts, since nobody holds what the log has lost. */
  step(input: Extract<RaftInput, { kind: 'await-snapshot' | 'halt' }>): void {
    this.#runner.input(input);
  }

  watch(request: WatchRequest, sink: WatchSink): WatchHandle {
    return this.#machine.watches.add(request, sink);
  }

  status(): ReplicaStatus {
    const raft = this.#raft.status();
    return {
      shard: this.shard,
      raft: this.#standing.halt === undefined ? raft : { ...raft, halted: this.#standing.halt },
      appliedIndex: this.#apply.appliedIndex,
      revision: this.#machine.revision,
      compactRevision: this.#machine.compactRevision,
      queuedCommands: this.#writes.queuedCommands,
      queuedBytes: this.#writes.queuedBytes,
      watchers: this.#machine.watches.count,
      phase: this.#standing.awaiting ? 'installing' : 'following',
      install: undefined,
      snapshotsSending: this.#keeping.snapshotsSending,
      truncation: this.#keeping.truncation,
      logName: this.#options.log.name,
      storeBytes: this.#measure.bytes,
      leases: this.leases.count,
    };
  }

  transferLeadership(target: MemberId): Promise<void> {
    const refusal = this.#standing.writeRefusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const { self } = this.#options;
    const { voters } = this.#raft.status();
    const begin = (): void => this.#runner.input({ kind: 'transfer', target });
    return this.#transfers.to(target, { voters, self }, begin);
  }

  stateHash(): ReturnType<Replica['stateHash']> {
    return this.#machine.stateHash();
  }

  async snapshotView(): ReturnType<Replica['snapshotView']> {
    const refusal = this.#standing.readRefusal();
    if (refusal !== undefined) throw refusal;
    return openSnapshotView(this.#options, await this.#machine.view());
  }

  async barrier(deadlineMs: number): Promise<void> {
    const refusal = this.#standing.readRefusal();
    if (refusal !== undefined) throw refusal;
    await this.#reads.current(deadlineMs);
  }

  restore(step: RestoreStep, deadlineMs: number): Promise<void> {
    const refusal = this.#standing.writeRefusal();
    return logRestoreStep(step, deadlineMs, {
      refusal,
      writes: this.#writes,
      machine: this.#machine,
    });
  }

  deliver(from: MemberId, payload: unknown): void {
    if (this.#standing.stopped) return;
    const message = this.#stamp.read(payload, this.#options.logger);
    if (message === undefined) return;
    this.#runner.input({ kind: 'message', from, message });
    // Sent while somebody watches here: the record is in the log already, do not let more gather.
    const isNews = message.kind === 'accepted' && message.index > this.#apply.appliedIndex;
    if (isNews && message.index > this.#raft.accepted.index) this.#runner.hurry();
  }

  peerReachability(peer: MemberId, reachable: boolean): void {
    if (!this.#standing.stopped) this.#runner.input({ kind: 'peer-reachability', peer, reachable });
  }

  wantMembership(desired: Membership): void {
    this.#membership.want(desired);
  }

  /** The store could not be exchanged: this replica stands still for good, though it was stopped for the exchange. */
  die(error: unknown): void {
    const detail = textOf(error);
    this.#standing.fail(detail, this.#raft.status().accepted);
    this.#options.logger.error({ detail }, 'replica broke');
    this.#host.changed();
  }

  /** Fails what waits and resolves when nothing touches log or store any more; both stay open. */
  async stop(): Promise<void> {
    if (this.#standing.stopped) return;
    this.#standing.stopped = true;
    this.#ticker.stop();
    this.#failAll(() => new KvError('KV_STOPPED'));
    this.#machine.watches.stop(() => new KvError('KV_STOPPED'));
    // Together: the reading of the log may be waiting for room in the apply backlog.
    await Promise.all([
      this.#genesis?.stop(),
      this.#runner.stop(),
      this.#apply.stop(),
      this.#keeping.stop(),
    ]);
  }

  #writeHost(): ConstructorParameters<typeof WritePath>[0] {
    return {
      nowMs: () => this.#options.clock.nowMs(),
      setTimer: (delayMs, callback) => this.#options.clock.setTimer(delayMs, callback),
      canPropose: () =>
        this.#raft.canPropose() && this.#apply.appliedIndex === this.#raft.accepted.index,
      isHeld: () => this.#membership.holdsWrites,
      execute: (proposals, isCurrent) => this.#machine.execute(proposals, isCurrent),
      propose: (payload) => this.#runner.input({ kind: 'propose', record: 'batch', payload }),
      confirm: (deadlineMs, done) => this.#reads.barrier(deadlineMs, done),
      broken: (error) => this.#broken(error),
      ...batchReports(this.#options),
    };
  }

  #membershipHost(): ConstructorParameters<typeof MembershipDriver>[0] {
    return {
      ...this.#options,
      serves: () => this.#writes.serves && this.#standing.follows,
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
        reportFenced(this.#options, effect);
        break;
      case 'snapshot-needed':
        this.#onSnapshotNeeded(effect.start);
        break;
      case 'halted':
        this.#standing.halt = effect.report;
        this.#standing.role = 'follower';
        this.#standing.leader = undefined;
        this.#options.logger.error(
          { report: effect.report },
          `shard halted: ${haltText(effect.report)}`,
        );
        this.#keeping.stopGiving();
        this.#failAll(() => this.#standing.halted());
        this.#machine.watches.stop(() => this.#standing.halted());
        this.#host.changed();
        break;
    }
  }

  async #write(records: readonly AcceptedRecord[]): Promise<void> {
    await this.#machine.write(records);
    if (!this.#followed) this.#host.followed();
    this.#followed = true;
    this.#keeping.applied(records.reduce((bytes, { payload }) => bytes + payload.length, 0));
  }

  #onSnapshotNeeded(start: LogOffset): void {
    const { accepted } = this.#raft.status();
    this.#options.logger.warn(
      { start, next: accepted.offset + 1 },
      'the log starts above what this replica needs: it installs a snapshot',
    );
    this.#keeping.stopGiving();
    this.#failAll(() => this.#standing.notLeader());
    this.#awaitHistory();
    this.#host.changed();
    this.#host.snapshotNeeded();
  }

  /** What it holds may be no part of the shard's history. */
  #awaitHistory(): void {
    this.#standing.awaiting = true;
    this.#machine.watches.stop(() => this.#standing.notLeader());
  }

  #onApplied(records: readonly AcceptedRecord[]): void {
    if (records.some(({ own, kind }) => own && kind === 'batch')) this.#writes.applied();
    if (records.some(({ kind }) => kind === 'genesis')) {
      this.#standing.awaiting = false;
      this.#machine.watches.reopen();
      this.#host.changed();
    }
    this.#membership.pump();
    this.#compaction.next();
    if (records.some(({ kind }) => kind === 'config')) this.#host.changed();
  }

  #onAbsent(verdict: 'absent' | 'oversize'): void {
    this.#writes.absent(() => {
      if (verdict === 'oversize')
        return new KvError('KV_REQUEST_TOO_LARGE', 'the log refuses a record of this size');
      return this.#standing.role === 'leader'
        ? new KvError('KV_LOG_UNAVAILABLE')
        : new KvError('KV_DEPOSED');
    });
  }

  #onLeaderReady(index: LogIndex): void {
    this.#readyIndex = index;
    this.#apply.whenApplied(index, () => {
      this.#machine
        .beginLeading()
        .then((leases) => {
          const current = this.#standing.role === 'leader' && this.#readyIndex === index;
          if (!current || this.#standing.stopped) return;
          this.leases.lead(this.#raft.status().term, leases);
          this.#writes.start();
        })
        .catch((error: unknown) => this.#broken(error));
    });
  }

  #onRoleChanged(effect: Extract<ReplicaEffect, { kind: 'role-changed' }>): void {
    const { role, term, leader } = effect;
    this.#standing.role = role;
    this.#standing.leader = leader;
    if (role !== 'follower') this.#runner.hurry();
    this.#options.logger.info({ role, term, leader: leader?.toString(16) }, 'role changed');
    if (role !== 'leader') {
      this.leases.stop();
      this.#writes.stop(() => this.#standing.notLeader());
    }
    this.#host.changed();
  }

  #failAll(error: () => KvError): void {
    this.leases.stop();
    this.#writes.abandon(error);
    this.#reads.failAll(error);
    this.#transfers.failAll();
  }

  /** A bug or a broken disk: the shard stops rather than diverges. */
  #broken(error: unknown): void {
    if (this.#standing.stopped) return;
    const detail = textOf(error);
    this.#options.logger.error({ detail }, 'replica broke');
    this.#runner.input({ kind: 'halt', reason: 'apply-failed', detail });
  }

  #tick(nowMs: number): void {
    this.#runner.input({ kind: 'tick' });
    this.#writes.expire(nowMs);
    this.#reads.expire(nowMs);
    // Whatever kept a batch back (a transfer that failed, a late answer) may be over.
    this.#writes.pump();
    this.#keeping.tick(nowMs);
    this.#membership.pump();
    this.leases.tick(nowMs);
    if (this.#writes.serving) this.#autoCompaction?.tick(nowMs);
    this.#measure.tick(nowMs, this.#writes.serving);
    this.#machine.watches.tick(nowMs);
  }
}
