import { assert, isKvError, KvError, type Limits, type Revision } from '@kvorum/base';
import type { Proposal } from '@kvorum/mvcc';
import type { Command, CommandResult } from './api.ts';
import { answerFailed, CommandQueue } from './command-queue.ts';
import { Gathering } from './gathering.ts';

const FULFILLED: Promise<void> = Promise.resolve();

/** One batch's commands executed against the applied state; not yet accepted by the log. */
export interface ExecutedBatch {
  /** Undefined when nothing changes: no record is needed, but the answers still need proof of leadership. */
  readonly payload: Uint8Array | undefined;
  readonly results: readonly CommandResult[];
}

/** A payload made outside the engine (a restore), to be logged as it is in a batch of its own. */
export interface Prepared {
  readonly deadlineMs: number;
  /** Made when its turn has come, on the state that everything before it led to. Throws a KvError to refuse. */
  readonly make: () => Uint8Array;
  readonly done: (result: CommandResult) => void;
}

export interface WritePathHost {
  readonly nowMs: () => number;
  readonly setTimer: (delayMs: number, callback: () => void) => () => void;
  /** The core can take a proposal and everything accepted so far is applied. */
  readonly canPropose: () => boolean;
  /** Another kind of record goes first: no new batch meanwhile. */
  readonly isHeld: () => boolean;
  /** Undefined when `isCurrent` stopped holding on the way: the state may have moved under the batch. */
  readonly execute: (
    proposals: readonly Proposal[],
    isCurrent: () => boolean,
  ) => Promise<ExecutedBatch | undefined>;
  readonly propose: (payload: Uint8Array) => void;
  /** Calls back once the applied state is proven current, or with the reason why it could not be. */
  readonly confirm: (deadlineMs: number, done: (error: KvError | undefined) => void) => void;
  /** A commands' computation broke an invariant: the shard must stop. */
  readonly broken: (error: unknown) => void;
  readonly sealed: (commands: number) => void;
  readonly settled: (commands: number, committed: boolean) => void;
}

interface OpenBatch {
  readonly commands: readonly Pick<Command, 'deadlineMs' | 'done'>[];
  readonly results: readonly CommandResult[];
  /** Commands already answered at their deadline. */
  readonly answered: Set<number>;
}

/**
 * Commands in, one batch in flight: queue, seal, execute, propose, answer.
 *
 * Order: a command is answered after its record is accepted *and* applied (`applied`), or when it is certain that it
 * never will be (`absent`), or at its deadline with what is known then.
 */
export class WritePath {
  readonly #host: WritePathHost;
  readonly #limits: Limits;
  readonly #queue: CommandQueue;
  readonly #gathering: Gathering;
  /** Ends the wait for more commands; undefined while there is none. */
  #endWait: (() => void) | undefined;
  #serving = false;
  #busy = false;
  #prepared: Prepared[] = [];
  /** Counts leaderships: a batch executed under an earlier one must not be proposed under a later one. */
  #leadership = 0;
  #abandoned = false;
  /** Commands of the batch that is being executed: in no queue and not logged yet. */
  #sealed: readonly Command[] = [];
  #open: OpenBatch | undefined;

  constructor(host: WritePathHost, limits: Limits) {
    this.#host = host;
    this.#limits = limits;
    this.#queue = new CommandQueue(limits);
    this.#gathering = new Gathering(limits);
  }

  get queuedCommands(): number {
    return this.#queue.length;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** This leadership may seal batches. */
  get serves(): boolean {
    return this.#serving;
  }

  /** A batch is being executed, proposed or confirmed. */
  get busy(): boolean {
    return this.#busy;
  }

  /** This replica leads, with its barrier applied. */
  get serving(): boolean {
    return this.#serving;
  }

  submit(command: Command): void {
    if (!this.#queue.push(command)) {
      const error = new KvError('KV_TOO_MANY_REQUESTS', 'the write queue of this shard is full', {
        details: { limit: this.#limits.shardQueueBytesMax, actual: this.#queue.bytes },
      });
      answerFailed(command, error);
      return;
    }
    this.pump();
  }

  /** The caller sends the next one only after this one is done: few wait at any time. */
  submitPrepared(prepared: Prepared): void {
    this.#prepared.push(prepared);
    this.pump();
  }

  /** Leadership with an applied barrier: batches may be sealed. */
  start(): void {
    this.#serving = true;
    this.#leadership += 1;
    this.pump();
  }

  /** Leadership is gone: what waits was never logged. An open proposal stays open until the log judges it. */
  stop(error: () => KvError): void {
    this.#serving = false;
    this.#queue.failAll(error);
    this.#endWait?.();
    this.#endWait = undefined;
    for (const prepared of this.#prepared.splice(0)) answerFailed(prepared, error());
  }

  /** Seals and runs the next batch when there is one and nothing is in flight. */
  pump(): void {
    const waits = this.#queue.length > 0 || this.#prepared.length > 0;
    if (this.#busy || !this.#serving || !waits) return;
    if (this.#host.isHeld() || !this.#host.canPropose()) return;
    if (this.#prepared.length === 0 && this.#gathers()) return;
    this.#seal();
  }

  /** Whether more commands are awaited for the next batch; then a timer ends that. */
  #gathers(): boolean {
    const isComplete =
      this.#gathering.isComplete(this.#queue.length) ||
      this.#queue.bytes >= this.#limits.recordBytesTarget;
    if (isComplete) return false;
    if (this.#endWait !== undefined) return true;
    const leftMs = this.#gathering.leftMs(this.#host.nowMs());
    if (leftMs <= 0) return false;
    this.#endWait = this.#host.setTimer(leftMs, () => {
      this.#endWait = undefined;
      this.pump();
    });
    return true;
  }

  /** The next batch awaits those who are answered now. */
  #gather(answered: number): void {
    this.#gathering.settled(this.#host.nowMs(), answered, this.#queue.length);
  }

  #seal(): void {
    this.#endWait?.();
    this.#endWait = undefined;
    this.#busy = true;
    // One turn of the microtask queue gathers what arrives in the same frame. Node's queueMicrotask would make an object of async_hooks
    // for it and run that one's hooks.
    void FULFILLED.then(() => {
      this.#run().catch((error: unknown) => this.#host.broken(error));
    });
  }

  /** The open proposal's record is accepted and applied. */
  applied(): void {
    if (this.#abandoned) return;
    const open = this.#take();
    this.#gather(open.commands.length);
    open.commands.forEach((command, i) => {
      if (!open.answered.has(i)) command.done(open.results[i] as CommandResult);
    });
    this.#host.settled(open.commands.length, true);
    this.pump();
  }

  /** The open proposal is certainly not in the log. */
  absent(error: () => KvError): void {
    if (this.#abandoned) return;
    const open = this.#take();
    open.commands.forEach((command, i) => {
      if (!open.answered.has(i)) answerFailed(command, error());
    });
    this.#host.settled(open.commands.length, false);
    this.pump();
  }

  /** The shard stops for good: what was logged with an unknown outcome is answered so. */
  abandon(error: () => KvError): void {
    this.stop(error);
    this.#abandoned = true;
    for (const command of this.#takeSealed()) answerFailed(command, error());
    const open = this.#open;
    this.#open = undefined;
    open?.commands.forEach((command, i) => {
      if (!open.answered.has(i)) {
        answerFailed(
          command,
          new KvError('KV_LEADER_CHANGED', 'the shard stopped', { outcome: 'unknown' }),
        );
      }
    });
  }

  expire(nowMs: number): void {
    this.#queue.expire(nowMs);
    const open = this.#open;
    open?.commands.forEach((command, i) => {
      if (command.deadlineMs > nowMs || open.answered.has(i)) return;
      open.answered.add(i);
      answerFailed(command, new KvError('KV_TIMEOUT', 'the log has not confirmed the write yet'));
    });
  }

  async #run(): Promise<void> {
    const prepared = this.#prepared.shift();
    if (prepared !== undefined) {
      this.#runPrepared(prepared);
      return;
    }
    const commands = this.#queue.seal(this.#host.nowMs());
    if (commands.length === 0) {
      this.#busy = false;
      this.pump();
      return;
    }
    this.#host.sealed(commands.length);
    this.#gathering.sealed(this.#host.nowMs());
    await this.#runBatch(commands);
  }

  #runPrepared(prepared: Prepared): void {
    let payload: Uint8Array;
    try {
      // A turn has passed since the pump: leadership may be gone.
      if (!this.#serving || !this.#host.canPropose()) throw new KvError('KV_DEPOSED');
      if (prepared.deadlineMs <= this.#host.nowMs()) throw new KvError('KV_DEADLINE');
      payload = prepared.make();
    } catch (error) {
      if (!isKvError(error)) throw error;
      this.#busy = false;
      answerFailed(prepared, error);
      this.pump();
      return;
    }
    const response = { op: 'compact', revision: 0 as Revision } as const;
    this.#open = {
      commands: [prepared],
      results: [{ ok: true, response }],
      answered: new Set(),
    };
    this.#host.propose(payload);
  }

  async #runBatch(commands: readonly Command[]): Promise<void> {
    const leadership = this.#leadership;
    const leads = (): boolean => this.#serving && leadership === this.#leadership;
    const isCurrent = (): boolean => leads() && this.#host.canPropose();
    this.#sealed = commands;
    const executed = await this.#host.execute(commands.map(asProposal), isCurrent);
    const unanswered = this.#takeSealed();
    if (this.#abandoned) return;
    if (executed === undefined || !isCurrent()) {
      this.#busy = false;
      for (const command of unanswered) answerFailed(command, new KvError('KV_DEPOSED'));
      this.pump();
    } else if (executed.payload === undefined) {
      this.#confirm(commands, executed.results, leads);
    } else if (executed.payload.length > this.#limits.recordBytesMax) {
      this.#refuse(unanswered, executed.payload.length);
    } else {
      this.#open = { commands, results: executed.results, answered: new Set() };
      this.#host.propose(executed.payload);
    }
  }

  /** The engine keeps within the limit; should it ever not, these commands fail instead of the shard. */
  #refuse(commands: readonly Command[], bytes: number): void {
    this.#busy = false;
    const details = { limit: this.#limits.recordBytesMax, actual: bytes };
    const error = new KvError('KV_TOO_MANY_REQUESTS', 'the batch exceeds a log record', {
      details,
    });
    for (const command of commands) answerFailed(command, error);
    this.pump();
  }

  /** Answers that rest on reads alone (failed compares, deletes of nothing) must not come from a deposed leader. */
  #confirm(
    commands: readonly Command[],
    results: readonly CommandResult[],
    leads: () => boolean,
  ): void {
    const deadlineMs = commands.reduce(
      (latest, command) => Math.max(latest, command.deadlineMs),
      0,
    );
    this.#host.confirm(deadlineMs, (fault) => {
      // Proof given to a follower by the next leader says nothing about the state these results were read from.
      const error = fault ?? (leads() ? undefined : new KvError('KV_DEPOSED'));
      this.#busy = false;
      this.#gather(commands.length);
      commands.forEach((command, i) => {
        if (error === undefined) command.done(results[i] as CommandResult);
        else answerFailed(command, error);
      });
      this.pump();
    });
  }

  #takeSealed(): readonly Command[] {
    const sealed = this.#sealed;
    this.#sealed = [];
    return sealed;
  }

  #take(): OpenBatch {
    const open = this.#open;
    assert(open !== undefined, 'a proposal was settled that was not open');
    this.#open = undefined;
    this.#busy = false;
    return open;
  }
}

function asProposal({ request, session, origin, mapVersion }: Command): Proposal {
  return { request, session, origin, ...(mapVersion === undefined ? {} : { mapVersion }) };
}
