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

/**
 * What goes wrong with one append.
 *
 * `refused`: absent, and says so. `lost`: never lands, outcome unknown. `late`: outcome unknown now, lands right after
 * the next record of anybody, or after `delayMs` when none comes. `answer-lost`: landed, outcome unknown. `duplicate`: lands
 * twice in a row; answered with either offset. `slow`: lands and is answered after `delayMs`.
 */
export type AppendFault =
  | { readonly kind: 'refused' | 'lost' | 'answer-lost' | 'duplicate' }
  | { readonly kind: 'late' | 'slow'; readonly delayMs: number };

/** Chances of each fault per append, in 1/1000; the rest lands as it should. */
export interface AppendFaultRates {
  readonly refused: number;
  readonly lost: number;
  readonly 'answer-lost': number;
  readonly duplicate: number;
  readonly late: number;
  readonly slow: number;
  /** How long a late or slow append takes at most. */
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
}

const PREFIX = 'raft-log-';
const FAULT_KINDS = ['refused', 'lost', 'answer-lost', 'duplicate', 'late', 'slow'] as const;

const stopped = (): KvError => new KvError('KV_STOPPED', 'the log is closed');
const unreachable = (): KvError => new KvError('KV_LOG_UNAVAILABLE', 'no answer (injected)');
const unknownOutcome = (): KvError =>
  new KvError('KV_TIMEOUT', 'no answer to the append (injected)', { outcome: 'unknown' });

interface LateRecord {
  readonly bytes: Uint8Array;
  readonly cancelTimer: () => void;
}

/** The records of one log, shared by all members. */
class MemoryLog {
  readonly name: LogName;
  #start = 0;
  #entries: LogEntry[] = [];
  readonly #late: LateRecord[] = [];
  readonly #waiting = new Set<() => void>();
  /** Faults for the next appends, first in first out. */
  readonly scripted: AppendFault[] = [];
  problem: string | undefined;

  constructor(name: LogName) {
    this.name = name;
  }

  get bounds(): LogBounds {
    return { start: logOffset(this.#start), end: logOffset(this.#start + this.#entries.length) };
  }

  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** Lands a record; late ones follow right behind it. */
  land(bytes: Uint8Array): LogOffset {
    const offset = this.#push(bytes);
    for (const late of this.#late.splice(0)) {
      late.cancelTimer();
      this.#push(late.bytes);
    }
    this.#wake();
    return offset;
  }

  landLater(bytes: Uint8Array, delayMs: number, clock: Clock): void {
    const late: LateRecord = {
      bytes,
      cancelTimer: clock.setTimer(delayMs, () => {
        this.#late.splice(this.#late.indexOf(late), 1);
        this.#push(bytes);
        this.#wake();
      }),
    };
    this.#late.push(late);
  }

  truncate(before: number): void {
    const count = Math.min(Math.max(0, before - this.#start), this.#entries.length);
    this.#entries = this.#entries.slice(count);
    this.#start += count;
  }

  /** Puts other records in the place of everything from `from` on. */
  rewrite(from: number, records: readonly Uint8Array[]): void {
    const { start, end } = this.bounds;
    assert(from >= start && from <= end, `${this.name}: nothing to rewrite at ${from}`);
    this.#entries = this.#entries.slice(0, from - start);
    for (const bytes of records) this.#push(bytes);
    this.#wake();
  }

  readFrom(from: number, bytesMax: number): readonly LogEntry[] {
    const out: LogEntry[] = [];
    let bytes = 0;
    for (let at = from - this.#start; at < this.#entries.length; at += 1) {
      const entry = this.#entries[at] as LogEntry;
      if (out.length > 0 && bytes + entry.bytes.length > bytesMax) break;
      out.push(entry);
      bytes += entry.bytes.length;
    }
    return out;
  }

  /** Calls `callback` at the next change; the returned function forgets it. */
  onChange(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  #push(bytes: Uint8Array): LogOffset {
    const offset = this.bounds.end;
    this.#entries.push({ offset, bytes: bytes.slice() });
    return offset;
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of waiting) callback();
  }
}

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
  readonly #logs = new Map<LogName, MemoryLog>();
  readonly #unavailable = new Set<string>();
  #allUnavailable = false;
  #rates: AppendFaultRates | undefined;
  #scale = 0;

  constructor(options: MemoryLogBrokerOptions) {
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#appendMs = options.appendMs ?? [0, 0];
    this.#readMs = options.readMs ?? [0, 0];
  }

  /** The logs as one member sees them; `member` is the name that faults refer to. */
  forMember(member: string): SharedLogs {
    return new MemorySharedLogs(this, member);
  }

  /** Gives the next append to `log`, whoever makes it, this fault; several calls queue up. */
  failNextAppend(log: LogName, fault: AppendFault): void {
    this.log(log).scripted.push(fault);
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
    return [...this.log(log).entries];
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

  /** @internal */
  create(name: LogName): void {
    this.#logs.set(name, new MemoryLog(name));
  }

  /** @internal */
  isUnavailable(member: string): boolean {
    return this.#allUnavailable || this.#unavailable.has(member);
  }

  /** @internal */
  async append(name: LogName, member: string, record: Uint8Array): Promise<AppendOutcome> {
    if (this.isUnavailable(member))
      return { kind: 'absent', error: unreachable(), oversize: false };
    const limit = this.#limits.recordBytesMax;
    if (record.length > limit) return oversize(record.length, limit);
    const bytes = record.slice();
    const fault = this.#nextFault(name);
    const slowMs = fault?.kind === 'slow' ? fault.delayMs : 0;
    await this.#sleep(this.#draw(this.#appendMs) + slowMs);
    const log = this.find(name);
    if (log === undefined || this.isUnavailable(member)) {
      return { kind: 'unknown', error: unknownOutcome() };
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

  #settle(log: MemoryLog, bytes: Uint8Array, fault: AppendFault | undefined): AppendOutcome {
    const unknown: AppendOutcome = { kind: 'unknown', error: unknownOutcome() };
    switch (fault?.kind) {
      case undefined:
      case 'slow':
        return { kind: 'appended', offset: log.land(bytes) };
      case 'refused':
        return { kind: 'absent', error: unreachable(), oversize: false };
      case 'lost':
        return unknown;
      case 'late':
        log.landLater(bytes, fault.delayMs, this.#clock);
        return unknown;
      case 'answer-lost':
        log.land(bytes);
        return unknown;
      case 'duplicate': {
        const offsets = [log.land(bytes), log.land(bytes)] as const;
        return {
          kind: 'appended',
          offset: this.#rng.integer(0, 2) === 0 ? offsets[0] : offsets[1],
        };
      }
    }
  }

  #nextFault(name: LogName): AppendFault | undefined {
    const scripted = this.find(name)?.scripted.shift();
    if (scripted !== undefined || this.#rates === undefined || this.#scale === 0) return scripted;
    let roll = this.#rng.integer(0, 1000);
    for (const kind of FAULT_KINDS) {
      roll -= this.#rates[kind];
      if (roll >= 0) continue;
      if (kind !== 'late' && kind !== 'slow') return { kind };
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
      this.#broker.create(name);
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
      const { bounds } = log;
      if (from < bounds.start || from > bounds.end) return { kind: 'out-of-range', bounds };
      const waitMs = deadlineMs - this.#broker.nowMs();
      const { aborted } = options.signal;
      if (from < bounds.end || aborted || waitMs <= 0) {
        const entries = aborted ? [] : log.readFrom(from, options.bytesMax);
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
    return log.bounds;
  }

  async truncate(before: LogOffset): Promise<void> {
    if (this.#closed.signal.aborted || this.#broker.isUnavailable(this.#member)) return;
    this.#broker.find(this.name)?.truncate(before);
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }
}
