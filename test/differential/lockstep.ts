import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { WatchCreateRequest } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { EventLog, type Expected } from './event-log.ts';
import { type Normal, normalForm } from './normal-form.ts';
import type { Operation } from './operation.ts';
import type { Answer, Position, Subject } from './subject.ts';
import { meaningOf } from './symbols.ts';

/** So often are the streams compared at least, in operations. */
const SETTLE_EVERY = 20;
/** etcd looks every 100 ms after watches that have to catch up; nothing tells when it has, if there was nothing to send. */
const CATCH_UP_MS = 150;

/** The slot of a grant without an id and without a symbol. */
const UNNAMED_LEASE = 99;

/** Where a difference is: the answer to a request for progress, on a stream of which compaction has ended a watch. */
export const ANSWER_WITH_ENDED_WATCH = 'answer, with a watch ended by compaction';

/** Where a difference is: one of the two broke a rule that holds for every stream. */
export const BREACHES = 'rules of streams';

/** What the two systems said of the same thing. */
export interface Observation {
  readonly reference: Normal;
  readonly candidate: Normal;
}

export interface Difference extends Observation {
  /** The operation after which it showed, in the sequence. */
  readonly at: number;
  readonly operation: Operation;
  /** The operation's answer, or what was told to a watch. */
  readonly where: string;
}

/** What holds for a reference of this version. */
export interface Rules {
  readonly intended: Intended;
  /** False: a watch from the compacted revision itself is not asked for. */
  readonly watchesFromCompacted: boolean;
}

export interface Pair {
  readonly reference: Subject;
  readonly candidate: Subject;
}

interface WatchOfRun extends Expected {
  readonly stream: number;
  readonly watchId: bigint;
  /** Its end is told: it was canceled, or its start was compacted. */
  readonly ends: boolean;
  /** Compaction has ended it, and the client has not canceled it. */
  readonly isKept: boolean;
  /** When it has caught up with the past, on this process's monotonic clock. */
  readonly caughtUpMs: number;
}

/**
 * What becomes of the sequence after a difference that is meant to be: it goes on, or it ends, because from here on the two hold
 * other data. Undefined for one that is not meant to be.
 */
export type Intended = (difference: Difference) => 'goes on' | 'ends' | undefined;

/** Sends a sequence to both systems, step by step, and finds the first difference. */
export class Lockstep {
  readonly #pair: Pair;
  readonly #rules: Rules;
  readonly #position: Position = { current: 0, compacted: 0 };
  readonly #log: EventLog;
  #watches: WatchOfRun[] = [];
  #ended = false;

  private constructor(pair: Pair, rules: Rules, log: EventLog) {
    this.#pair = pair;
    this.#rules = rules;
    this.#log = log;
  }

  /** The first difference that is not intended; undefined = there is none. */
  static async run(
    pair: Pair,
    operations: readonly Operation[],
    rules: Rules,
  ): Promise<Difference | undefined> {
    await Promise.all([pair.reference.reset(), pair.candidate.reset()]);
    const log = await EventLog.open(pair.reference);
    try {
      return await new Lockstep(pair, rules, log).#run(operations);
    } finally {
      log.close();
    }
  }

  async #run(operations: readonly Operation[]): Promise<Difference | undefined> {
    for (const [at, operation] of operations.entries()) {
      const last = at === operations.length - 1;
      const found =
        (needsRest(operation) ? await this.#settle(at, operation) : undefined) ??
        (await this.#step(at, operation)) ??
        (last || at % SETTLE_EVERY === 0 ? await this.#settle(at, operation) : undefined);
      if (found !== undefined || this.#ended) return found;
    }
    return undefined;
  }

  async #step(at: number, operation: Operation): Promise<Difference | undefined> {
    if (this.#isUnasked(operation)) return undefined;
    const { reference, candidate } = this.#pair;
    const both = await Promise.all([
      this.#perform(reference, operation),
      this.#perform(candidate, operation),
    ]);
    const [first] = both;
    if (operation.kind === 'cancel') this.#learnCancel(operation.stream, operation.watchId);
    if (first !== undefined) this.#learn(operation, first);
    const ended = operation.kind === 'progress' && this.#hasEnded(operation.stream);
    return this.#compare(at, operation, ended ? ANSWER_WITH_ENDED_WATCH : 'answer', both);
  }

  #isUnasked(operation: Operation): boolean {
    if (this.#rules.watchesFromCompacted || operation.kind !== 'watch') return false;
    const { reference } = this.#pair;
    const { startRevision } = reference.resolved(operation.request, this.#position);
    return reference.relative(startRevision) === this.#position.compacted;
  }

  /** Whether compaction has ended a watch of this stream that the client has not canceled. */
  #hasEnded(stream: number): boolean {
    return this.#watches.some((watch) => watch.stream === stream && watch.isKept);
  }

  async #perform(subject: Subject, operation: Operation): Promise<Normal | undefined> {
    const position = { ...this.#position };
    switch (operation.kind) {
      case 'call': {
        const request = subject.resolved(operation.request, position);
        const slot = slotOf(operation);
        if (operation.method !== 'grant') {
          return answerForm(await subject.call(operation.method, request, operation.as), subject);
        }
        const grant = slot === undefined ? request : { ...request, ID: 0n };
        return answerForm(await subject.grant(grant, slot, operation.as), subject);
      }
      case 'keepAlive':
        return answerForm(await subject.keepAlive(subject.number(operation.id, position)), subject);
      case 'expire':
        return answerForm(
          await subject.expire(subject.number(operation.id, position), operation.keys),
          subject,
        );
      case 'watch':
        return subject
          .stream(operation.stream)
          .watch(subject.resolved(operation.request, position));
      case 'cancel':
        await subject.stream(operation.stream).cancel(operation.watchId);
        return undefined;
      case 'progress':
        return subject.stream(operation.stream).progress();
      case 'halfClose':
        subject.stream(operation.stream).halfClose();
        return undefined;
    }
  }

  /** Takes from the reference's answer where the sequence now is and which watches run. */
  #learn(operation: Operation, answer: Normal): void {
    const current = revisionOf(answer, 'header', 'revision');
    if (current !== undefined) this.#position.current = current;
    if (operation.kind === 'call' && operation.method === 'compact' && current !== undefined) {
      const { revision } = this.#pair.reference.resolved(
        operation.request as typeof operation.request & { revision: bigint },
        this.#position,
      );
      const compacted = this.#pair.reference.relative(revision);
      this.#position.compacted = Math.max(this.#position.compacted, compacted);
    }
    if (operation.kind === 'watch') this.#learnWatch(operation.stream, operation.request, answer);
  }

  #learnWatch(stream: number, request: WatchCreateRequest, answer: Normal): void {
    const created = answer as Readonly<Record<string, Normal>>;
    if (created['created'] !== true || created['canceled'] === true) return;
    const { reference } = this.#pair;
    const { startRevision } = reference.resolved(request, this.#position);
    const after = revisionOf(answer, 'header', 'revision') ?? this.#position.current;
    const start = startRevision === 0n ? after + 1 : reference.relative(startRevision);
    const id = created['watchId'];
    const watchId = typeof id === 'string' ? BigInt(id) : 0n;
    const ends = startRevision !== 0n && start < this.#position.compacted;
    // An id may be used again.
    this.#watches = this.#watches.filter((one) => !isWatch(one, stream, watchId));
    // Nothing of a sequence has a negative revision.
    const until = ends ? -1 : undefined;
    const past = !ends && startRevision !== 0n && start <= this.#position.current;
    const caughtUpMs = past ? performance.now() + CATCH_UP_MS : 0;
    this.#watches.push({ stream, watchId, request, start, until, ends, isKept: ends, caughtUpMs });
  }

  #learnCancel(stream: number, watchId: bigint): void {
    const until = this.#position.current;
    this.#watches = this.#watches.map((watch) => {
      if (!isWatch(watch, stream, watchId)) return watch;
      return watch.ends ? { ...watch, isKept: false } : { ...watch, until, ends: true };
    });
  }

  /** Waits until every watch was told what has happened, and compares what it was told. */
  async #settle(at: number, operation: Operation): Promise<Difference | undefined> {
    if (this.#ended) return undefined;
    const subjects = [this.#pair.reference, this.#pair.candidate];
    if (isCompaction(operation) || operation.kind === 'progress') await this.#caughtUp();
    if (this.#watches.length > 0) await this.#log.reaches(this.#position.current);
    for (const watch of this.#watches) {
      const { stream, watchId, ends } = watch;
      const events = this.#log.count(watch);
      const both = await Promise.all(
        subjects.map(async (subject) => {
          await subject.stream(stream).heard(watchId, events, ends);
          return [...subject.stream(stream).transcript(watchId).entries];
        }),
      );
      const where = `watch ${watchId} of stream ${stream}`;
      const found = this.#compare(at, operation, where, both);
      if (found !== undefined) return found;
    }
    const breaches = subjects.map((subject) =>
      subject.streams().flatMap((stream) => stream.breaches),
    );
    return this.#compare(at, operation, BREACHES, breaches);
  }

  /** A watch that has not caught up when its start is compacted is canceled, and there is no progress: both hang on the time. */
  async #caughtUp(): Promise<void> {
    const silent = this.#watches.filter((watch) => this.#log.count(watch) === 0);
    const leftMs = Math.max(0, ...silent.map((watch) => watch.caughtUpMs)) - performance.now();
    if (leftMs > 0) await pause(leftMs);
  }

  #compare(
    at: number,
    operation: Operation,
    where: string,
    [reference = 'nothing', candidate = 'nothing']: readonly (Normal | undefined)[],
  ): Difference | undefined {
    if (isDeepStrictEqual(reference, candidate)) return undefined;
    const difference = { at, operation, where, reference, candidate };
    const verdict = this.#rules.intended(difference);
    if (verdict === 'ends') this.#ended = true;
    return verdict === undefined ? difference : undefined;
  }
}

function isWatch(watch: WatchOfRun, stream: number, watchId: bigint): boolean {
  return watch.stream === stream && watch.watchId === watchId;
}

/** Before these what watches were told must be complete: afterwards it depends on the time. */
function needsRest(operation: Operation): boolean {
  if (operation.kind === 'call') return isCompaction(operation);
  return operation.kind === 'cancel' || operation.kind === 'progress';
}

function isCompaction(operation: Operation): boolean {
  return operation.kind === 'call' && operation.method === 'compact';
}

function slotOf(operation: Operation): number | undefined {
  if (operation.kind !== 'call' || operation.method !== 'grant') return undefined;
  const { ID } = operation.request as typeof operation.request & { ID: bigint };
  return ID === 0n ? UNNAMED_LEASE : meaningOf(ID)?.plus;
}

function answerForm(answer: Answer, subject: Subject): Normal {
  if (!answer.ok) return { code: answer.code, text: answer.text };
  const form = withoutTime(normalForm(answer.message, subject.numbers));
  if (typeof form !== 'object' || !('hashRevision' in form)) return form;
  // In a hash of the history etcd's is the last compaction that its background work has done.
  return { ...form, compactRevision: 'hidden' };
}

/** The time that a lease has left is another at each of two systems, and etcd 3.4 names its keys in no order. */
function withoutTime(form: Normal): Normal {
  if (typeof form !== 'object' || !('grantedTTL' in form)) return form;
  const keys: unknown = form['keys'];
  const TTL = Number(form['TTL'] ?? '0') >= 0 ? 'runs' : 'gone';
  const sorted = Array.isArray(keys) ? keys.map(String).toSorted() : [];
  return { ...form, TTL, keys: sorted };
}

/** A relative revision somewhere in an answer. */
function revisionOf(answer: Normal, ...path: readonly string[]): number | undefined {
  let at: Normal | undefined = answer;
  for (const name of path) {
    if (typeof at !== 'object' || Array.isArray(at)) return undefined;
    at = (at as Readonly<Record<string, Normal>>)[name];
  }
  const [, digits] = /^base\+(\d+)$/.exec(typeof at === 'string' ? at : '') ?? [];
  return digits === undefined ? undefined : Number(digits);
}
