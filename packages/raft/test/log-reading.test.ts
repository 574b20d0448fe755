import { leaderId, logOffset, term } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { LOG_BEGIN, type LogPosition, LogReading, type ReadRecord } from '../src/index.ts';

const UID = new Uint8Array(16).fill(7);
const A = leaderId('a'.repeat(32));
const B = leaderId('b'.repeat(32));

/** Not a hash, but as good here: what came before and the digest, mixed. */
const chain = (hash: Uint8Array, digest: Uint8Array): Uint8Array =>
  hash.map((byte, i) => (byte * 31 + (digest[i % digest.length] ?? 0) + i) & 0xff);
const context = { shardUid: UID, generation: 0, chain };

/** Writes a log as leaders do, and remembers what replicas accept. */
class Log {
  readonly records: ReadRecord[] = [];
  #hash: Uint8Array = LOG_BEGIN.chainHash;
  /** What each leader last knew: one that is deposed has not read on. */
  readonly #seen = new Map<string, Uint8Array>();

  append(
    kind: 'barrier' | 'batch',
    by: { readonly term: number; readonly leader: typeof A; readonly seq: number },
    accepted = true,
  ): this {
    const digest = new Uint8Array(32).fill(this.records.length + 1);
    const prevHash =
      kind === 'barrier' ? new Uint8Array(32) : (this.#seen.get(by.leader) ?? this.#hash);
    this.records.push({
      offset: logOffset(this.records.length),
      digest,
      shardUid: UID,
      generation: 0,
      term: term(by.term),
      leaderId: by.leader,
      seq: by.seq,
      prevHash,
      kind,
      payload: new Uint8Array(0),
    });
    if (accepted) {
      this.#hash = chain(this.#hash, digest);
      this.#seen.set(by.leader, this.#hash);
    }
    return this;
  }
}

/** A deposed leader's record lands behind its successor's barrier. */
const log = new Log()
  .append('barrier', { term: 1, leader: A, seq: 0 })
  .append('batch', { term: 1, leader: A, seq: 1 })
  .append('batch', { term: 1, leader: A, seq: 2 })
  .append('barrier', { term: 2, leader: B, seq: 0 })
  .append('batch', { term: 1, leader: A, seq: 3 }, false)
  .append('batch', { term: 2, leader: B, seq: 1 })
  .append('batch', { term: 2, leader: B, seq: 2 })
  .append('batch', { term: 2, leader: B, seq: 2 }, false).records;

function verdicts(from: number, position: LogPosition | undefined): string[] {
  const reading = new LogReading(context, position);
  return log.slice(from).map((record) => reading.next(record).kind);
}

const ALL = [
  'accepted',
  'accepted',
  'accepted',
  'accepted',
  'ignored',
  'accepted',
  'accepted',
  'ignored',
];

describe('reading a log', () => {
  it('from its begin judges as replicas do', () => {
    expect(verdicts(0, LOG_BEGIN)).toEqual(ALL);
  });

  it('from a position kept goes on there', () => {
    for (let from = 0; from <= log.length; from += 1) {
      const reading = new LogReading(context, LOG_BEGIN);
      for (const record of log.slice(0, from)) reading.next(record);
      expect(verdicts(from, reading.position)).toEqual(ALL.slice(from));
    }
  });

  it('from anywhere knows once a record proves the one before it, and is never wrong', () => {
    for (let from = 0; from < log.length; from += 1) {
      const found = verdicts(from, undefined);
      for (const [i, verdict] of found.entries()) {
        if (verdict !== 'unknown') expect([from + i, verdict]).toEqual([from + i, ALL[from + i]]);
      }
    }
    expect(verdicts(1, undefined)).toEqual(['unknown', ...ALL.slice(2)]);
    expect(verdicts(3, undefined)).toEqual(['unknown', 'unknown', ...ALL.slice(5)]);
  });

  it('names what replicas halt on, and finds its way again', () => {
    const reading = new LogReading(context, LOG_BEGIN);
    const [barrier, first, second] = log;
    if (barrier === undefined || first === undefined || second === undefined) throw new Error();
    reading.next(barrier);
    expect(reading.next(second)).toEqual({ kind: 'halts', reason: 'seq-gap' });
    expect(reading.position).toBeUndefined();
    expect(reading.next(first).kind).toBe('unknown');
    expect(reading.next(second).kind).toBe('accepted');
    expect(reading.next({ offset: logOffset(9), unreadable: 'malformed' }).kind).toBe('halts');
  });
});

it('reads a later generation of a log from its genesis on', () => {
  const of = (record: Partial<ReadRecord>): ReadRecord => ({
    offset: logOffset(0),
    digest: new Uint8Array(32).fill(1),
    shardUid: UID,
    generation: 1,
    term: term(4),
    leaderId: A,
    seq: 0,
    prevHash: new Uint8Array(32).fill(9),
    kind: 'genesis',
    payload: new Uint8Array(0),
    ...record,
  });
  const reading = new LogReading({ ...context, generation: 1 }, undefined);
  const digest = new Uint8Array(32).fill(2);
  const begun = chain(new Uint8Array(32).fill(9), new Uint8Array(32).fill(1));
  expect(reading.next(of({}))).toEqual({ kind: 'accepted' });
  const again = reading.next(of({ offset: logOffset(1), leaderId: B }));
  expect(again).toEqual({ kind: 'ignored', reason: 'duplicate' });
  const barrier = { kind: 'barrier', term: term(5), leaderId: B, digest } as const;
  expect(reading.next(of({ ...barrier, offset: logOffset(2) })).kind).toBe('accepted');
  const prevHash = chain(begun, digest);
  const batch = of({ ...barrier, kind: 'batch', seq: 1, prevHash, offset: logOffset(3) });
  expect(reading.next(batch).kind).toBe('accepted');
  const old = reading.next(of({ generation: 0, offset: logOffset(4) }));
  expect(old).toEqual({ kind: 'halts', reason: 'wrong-generation' });
});
