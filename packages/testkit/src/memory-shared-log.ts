import {
  assert,
  DEFAULT_LIMITS,
  KvError,
  type Limits,
  type LogOffset,
  logOffset,
  logTopic,
} from '@kvorum/base';
import type {
  AppendOutcome,
  Clock,
  LogBounds,
  LogEntry,
  LogName,
  LogSpec,
  ReadOutcome,
  Rng,
  SharedLog,
  SharedLogs,
} from '@kvorum/ports';
import { MemoryLog } from './memory-log.ts';

/**
 * What goes wrong with one append.
 *
 * `refused`: absent, and says so. `lost`: never lands, outcome unknown. `late`: outcome unknown now, lands right after
 * the next record of anybody, or after `delayMs` when none comes. `stray`: outcome unknown now, lands after `delayMs`, whatever
 * came meanwhile. `answer-lost`: landed, outcome unknown. `duplicate`: lands twice in a row; answered with either offset. `slow`:
 * lands and is answered after `delayMs`.
 */
export type AppendFault =
  | { readonly kind: 'refused' | 'lost' | 'answer-lost' | 'duplicate' }
  | { readonly kind: 'late' | 'stray' | 'slow'; readonly delayMs: number };

/** Chances of each fault per append, in 1/1000; the rest lands as it should. */
export interface AppendFaultRates {
  readonly refused: number;
  readonly lost: number;
  readonly 'answer-lost': number;
  readonly duplicate: number;
  readonly late: number;
  readonly stray: number;
  readonly slow: number;
  /** How long a late, stray or slow append takes at most. */
  readonly delayMsMax: number;
}

export interface MemoryLogBrokerOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits?: Limits;
  /** Time until an append lands, uniform in [fromInclusive, toInclusive]; default no time at all. */
  readonly appendMs?: readonly [fromInclusive: number, toInclusive: number];
  /** Time until a waiting reader sees a new record; default no time at all. */
  readonly readMs?: readonly [fromInclusive: number, toInclusive: number];
  /** Time until a landed record is readable and acknowledged; default no time at all. */
  readonly replicationMs?: readonly [fromInclusive: number, toInclusive: number];
  /** An append whose record is not committed by then is answered with an unknown outcome; default 2000. */
  readonly appendTimeoutMs?: number;
}

const PREFIX = 'raft-log-';
const FAULT_KINDS = [
  'refused',
  'lost',
  'answer-lost',
  'duplicate',
  'late',
  'stray',
  'slow',
] as const;
const APPEND_TIMEOUT_MS = 2000;
/** Of a hundred appends while too few replicas are in sync: they had been accepted before that was noticed. */
const AFTER_APPEND_PERCENT = 30;

const stopped = (): KvError => new KvError('KV_STOPPED', 'the log is closed');
const unreachable = (): KvError => new KvError('KV_LOG_UNAVAILABLE', 'no answer (injected)');
const absent = (): AppendOutcome => ({ kind: 'absent', error: unreachable(), oversize: false });
const unknown = (): AppendOutcome => ({
  kind: 'unknown',
  error: new KvError('KV_TIMEOUT', 'no answer to the append (injected)', { outcome: 'unknown' }),
});

/**
 * The shared log of a whole simulated cluster, with every fault of a real one on demand. All time and chance come from the two ports, so a
 * run under a seed repeats. Offsets start at 0.
 */
export class MemoryLogBroker {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #limits: Limits;
  readonly #appendMs: readonly [number, number];
  readonly #readMs: readonly [number, number];
  readonly #replicationMs: readonly [number, number];
  readonly #appendTimeoutMs: number;
  readonly #logs = new Map<LogName, MemoryLog>();
  /** Faults for the next appends, first in first out. */
  readonly #scripted = new Map<LogName, AppendFault[]>();
  readonly #unavailable = new Set<string>();
  /** Members that are served by a broker cut off from the others, with the ends it shows. */
  readonly #stale = new Map<string, Map<LogName, number>>();
  #allUnavailable = false;
  #rates: AppendFaultRates | undefined;
  #scale = 0;

  constructor(options: MemoryLogBrokerOptions) {
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#appendMs = options.appendMs ?? [0, 0];
    this.#readMs = options.readMs ?? [0, 0];
    this.#replicationMs = options.replicationMs ?? [0, 0];
    this.#appendTimeoutMs = options.appendTimeoutMs ?? APPEND_TIMEOUT_MS;
  }

  /** The logs as one member sees them; `member` is the name that faults refer to. */
  forMember(member: string): SharedLogs {
    return new MemorySharedLogs(this, member);
  }

  /** Gives the next append to `log`, whoever makes it, this fault; several calls queue up. */
  failNextAppend(log: LogName, fault: AppendFault): void {
    const scripted = this.#scripted.get(log);
    if (scripted === undefined) this.#scripted.set(log, [fault]);
    else scripted.push(fault);
  }

  /** Chances for appends without a scripted fault; undefined ends them. */
  setAppendFaultRates(rates: AppendFaultRates | undefined): void {
    this.#rates = rates;
    this.#scale = rates === undefined ? 0 : FAULT_KINDS.reduce((sum, kind) => sum + rates[kind], 0);
    assert(this.#scale <= 1000, `fault rates add up to ${this.#scale} of 1000`);
  }

  /** Cuts one member, or all of them, off from the log, or lets them back. */
  setUnavailable(unavailable: boolean, member?: string): void {
    if (member === undefined) this.#allUnavailable = unavailable;
    else if (unavailable) this.#unavailable.add(member);
    else this.#unavailable.delete(member);
  }

  /**
   * Serves one member from a broker that was cut off from the others and does not know it: it shows the log as it was then, and what
   * is sent to it is lost with an unknown outcome.
   */
  setStale(stale: boolean, member: string): void {
    if (stale) this.#stale.set(member, new Map());
    else this.#stale.delete(member);
  }

  /**
   * Another broker leads the partition: waiting appends end with an unknown outcome. Readers see `hiddenCount` records less than
   * before for `hiddenMs`; of the records that were not committed `kept` survive.
   */
  changeLeader(
    log: LogName,
    change: { readonly kept: number; readonly hiddenCount: number; readonly hiddenMs: number },
  ): void {
    this.find(log)?.changeLeader(change);
  }

  /** Too few replicas are in sync, or enough again: appends are refused, or land without being committed. */
  setIsrBelowMin(log: LogName, below: boolean): void {
    this.find(log)?.setIsrBelowMin(below);
  }

  /** Deletes the head, as retention or an operator would. */
  truncateHead(log: LogName, before: LogOffset): void {
    this.log(log).truncate(before);
  }

  /** Loses the records from `from` on and puts others in their place, as an unclean election would. */
  rewriteTail(log: LogName, from: LogOffset, records: readonly Uint8Array[] = []): void {
    this.log(log).rewrite(from, records);
  }

  /** Deletes a log with all its records; a later open with `create` starts an empty one of that name. */
  deleteLog(log: LogName): void {
    this.#logs.delete(log);
  }

  /** What `verify` reports for this log; undefined ends it. */
  setProblem(log: LogName, problem: string | undefined): void {
    this.log(log).problem = problem;
  }

  /** Every record now in the log, for checkers. */
  records(log: LogName): readonly LogEntry[] {
    const { start, end } = this.log(log).bounds;
    return this.log(log).history.entries.slice(start, end);
  }

  /** Every committed record since offset 0, also those deleted from the head; a live view, below `end`. */
  history(log: LogName): { readonly entries: readonly LogEntry[]; readonly end: number } {
    return this.#logs.get(log)?.history ?? { entries: [], end: 0 };
  }

  /** As a reader finds them now; undefined while there is no such log. */
  bounds(log: LogName): LogBounds | undefined {
    return this.#logs.get(log)?.bounds;
  }

  /** @internal */
  log(name: LogName): MemoryLog {
    const log = this.#logs.get(name);
    assert(log !== undefined, `no such log: ${name}`);
    return log;
  }

  /** @internal */
  find(name: LogName): MemoryLog | undefined {
    return this.#logs.get(name);
  }

  /** An empty log of that name, in the place of any other. */
  createLog(name: LogName): void {
    const replicationMs = (): number => this.#draw(this.#replicationMs);
    this.#logs.set(name, new MemoryLog({ name, clock: this.#clock, replicationMs }));
  }

  /** @internal */
  isUnavailable(member: string): boolean {
    return this.#allUnavailable || this.#unavailable.has(member);
  }

  /** @internal What this member's broker shows. */
  boundsFor(log: MemoryLog, member: string): LogBounds {
    const { start, end } = log.bounds;
    const shown = this.#stale.get(member);
    if (shown === undefined) return { start, end };
    const known = shown.get(log.name) ?? end;
    shown.set(log.name, known);
    return { start, end: logOffset(Math.max(start, Math.min(known, end))) };
  }

  /** @internal */
  async append(name: LogName, member: string, record: Uint8Array): Promise<AppendOutcome> {
    if (this.isUnavailable(member)) return absent();
    const limit = this.#limits.recordBytesMax;
    if (record.length > limit) return oversize(record.length, limit);
    const bytes = record.slice();
    const fault = this.#nextFault(name);
    const slowMs = fault?.kind === 'slow' ? fault.delayMs : 0;
    await this.#sleep(this.#draw(this.#appendMs) + slowMs);
    const log = this.find(name);
    if (log === undefined || this.isUnavailable(member)) return unknown();
    if (this.#stale.has(member)) {
      await this.#sleep(this.#appendTimeoutMs);
      return unknown();
    }
    return this.#settle(log, bytes, fault);
  }

  /** @internal Ends at the next change of the log, after `waitMs`, or with a signal. */
  async waitForChange(
    log: MemoryLog,
    waitMs: number,
    signals: readonly AbortSignal[],
  ): Promise<void> {
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        cancelTimer();
        forget();
        for (const signal of signals) signal.removeEventListener('abort', finish);
        resolve();
      };
      const cancelTimer = this.#clock.setTimer(waitMs, finish);
      const forget = log.onChange(finish);
      for (const signal of signals) signal.addEventListener('abort', finish);
    });
    await this.#sleep(this.#draw(this.#readMs));
  }

  /** @internal */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  async #settle(
    log: MemoryLog,
    bytes: Uint8Array,
    fault: AppendFault | undefined,
  ): Promise<AppendOutcome> {
    if (log.isrBelowMin) {
      if (this.#rng.integer(0, 100) >= AFTER_APPEND_PERCENT) return absent();
      log.land(bytes);
      return unknown();
    }
    switch (fault?.kind) {
      case undefined:
      case 'slow':
        return this.#acknowledge(log, log.land(bytes));
      case 'refused':
        return absent();
      case 'lost':
        return unknown();
      case 'late':
      case 'stray':
        log.landLater(bytes, fault.delayMs, fault.kind === 'stray');
        return unknown();
      case 'answer-lost':
        log.land(bytes);
        return unknown();
      case 'duplicate': {
        const offsets = [log.land(bytes), log.land(bytes)] as const;
        return this.#acknowledge(log, this.#rng.integer(0, 2) === 0 ? offsets[0] : offsets[1]);
      }
    }
  }

  async #acknowledge(log: MemoryLog, offset: LogOffset): Promise<AppendOutcome> {
    const committed = await log.acknowledged(offset, this.#appendTimeoutMs);
    return committed ? { kind: 'appended', offset } : unknown();
  }

  #nextFault(name: LogName): AppendFault | undefined {
    const scripted = this.#scripted.get(name)?.shift();
    if (scripted !== undefined || this.#rates === undefined || this.#scale === 0) return scripted;
    let roll = this.#rng.integer(0, 1000);
    for (const kind of FAULT_KINDS) {
      roll -= this.#rates[kind];
      if (roll >= 0) continue;
      if (kind !== 'late' && kind !== 'stray' && kind !== 'slow') return { kind };
      return { kind, delayMs: this.#rng.integer(0, this.#rates.delayMsMax + 1) };
    }
    return undefined;
  }

  #draw([fromInclusive, toInclusive]: readonly [number, number]): number {
    return toInclusive === 0 ? 0 : this.#rng.integer(fromInclusive, toInclusive + 1);
  }

  async #sleep(delayMs: number): Promise<void> {
    if (delayMs === 0) return;
    await new Promise<void>((resolve) => {
      this.#clock.setTimer(delayMs, resolve);
    });
  }
}

function oversize(actual: number, limit: number): AppendOutcome {
  const error = new KvError('KV_REQUEST_TOO_LARGE', `a log record of ${actual} bytes`, {
    details: { actual, limit },
  });
  return { kind: 'absent', error, oversize: true };
}

class MemorySharedLogs implements SharedLogs {
  readonly #broker: MemoryLogBroker;
  readonly #member: string;
  readonly #open = new Set<MemberLog>();

  constructor(broker: MemoryLogBroker, member: string) {
    this.#broker = broker;
    this.#member = member;
  }

  async open(spec: LogSpec, options: { readonly create: boolean }): Promise<SharedLog> {
    const name = logTopic(PREFIX, spec.shard, spec.generation);
    if (this.#broker.isUnavailable(this.#member)) throw unreachable();
    if (this.#broker.find(name) === undefined) {
      if (!options.create) throw new KvError('KV_LOG_MISCONFIGURED', `${name} does not exist`);
      this.#broker.createLog(name);
    }
    const log = new MemberLog(this.#broker, this.#member, name);
    this.#open.add(log);
    return log;
  }

  async verify(): Promise<readonly { readonly log: LogName; readonly problem: string }[]> {
    const names = [...new Set([...this.#open].map((log) => log.name))].sort();
    return names.flatMap((log) => {
      const problem = this.#broker.find(log)?.problem;
      return problem === undefined ? [] : [{ log, problem }];
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((log) => log.close()));
  }
}

class MemberLog implements SharedLog {
  readonly name: LogName;
  readonly #broker: MemoryLogBroker;
  readonly #member: string;
  readonly #closed = new AbortController();

  constructor(broker: MemoryLogBroker, member: string, name: LogName) {
    this.#broker = broker;
    this.#member = member;
    this.name = name;
  }

  async append(record: Uint8Array): Promise<AppendOutcome> {
    if (this.#closed.signal.aborted) return { kind: 'absent', error: stopped(), oversize: false };
    return this.#broker.append(this.name, this.#member, record);
  }

  async read(
    from: LogOffset,
    options: { readonly bytesMax: number; readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<ReadOutcome> {
    const deadlineMs = this.#broker.nowMs() + options.waitMs;
    for (;;) {
      if (this.#closed.signal.aborted) return { kind: 'unavailable', error: stopped() };
      const log = this.#broker.find(this.name);
      if (log === undefined || this.#broker.isUnavailable(this.#member)) {
        return { kind: 'unavailable', error: unreachable() };
      }
      const bounds = this.#broker.boundsFor(log, this.#member);
      const { start } = bounds;
      // Between the high-water mark and the end of the log there is nothing to read yet, which proves nothing.
      if (from < start || from > log.logEnd) return { kind: 'out-of-range', bounds: log.bounds };
      const waitMs = deadlineMs - this.#broker.nowMs();
      const { aborted } = options.signal;
      if (from < bounds.end || aborted || waitMs <= 0) {
        const entries = aborted ? [] : log.readFrom(from, options.bytesMax, bounds.end);
        return { kind: 'records', entries, end: bounds.end };
      }
      await this.#broker.waitForChange(log, waitMs, [options.signal, this.#closed.signal]);
    }
  }

  async bounds(): Promise<LogBounds | { readonly kind: 'unavailable'; readonly error: KvError }> {
    const log = this.#broker.find(this.name);
    if (this.#closed.signal.aborted) return { kind: 'unavailable', error: stopped() };
    if (log === undefined || this.#broker.isUnavailable(this.#member)) {
      return { kind: 'unavailable', error: unreachable() };
    }
    return this.#broker.boundsFor(log, this.#member);
  }

  async truncate(before: LogOffset): Promise<void> {
    if (this.#closed.signal.aborted || this.#broker.isUnavailable(this.#member)) return;
    this.#broker.find(this.name)?.truncate(before);
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }
}
