import { assert, equalBytes, logIndex, logOffset, term } from '@kvorum/base';
import { type FilterContext, judge } from './filter.ts';
import type { AcceptedState, ReadRecord, UnreadableRecord } from './input.ts';

/** Records looked back on to find out what was in force. */
const WINDOW_MAX = 64;
const HASH_BYTES = 32;
const EMPTY = new Uint8Array(0);

/** What a reader of the log can say of a record; `unknown` = it began to read too late to tell. */
export type LogVerdict =
  | { readonly kind: 'accepted' | 'unknown' }
  | { readonly kind: 'ignored' | 'halts'; readonly reason: string };

/** What the filter needs to go on. */
export type LogPosition = Pick<AcceptedState, 'term' | 'leaderId' | 'seq' | 'chainHash'>;

/** Before the first record of a log. */
export const LOG_BEGIN: LogPosition = {
  term: term(0),
  leaderId: '' as LogPosition['leaderId'],
  seq: 0,
  chainHash: new Uint8Array(HASH_BYTES),
};

/**
 * Judges records as replicas do, for whoever reads a log beside them: from its begin, from a position kept, or from anywhere.
 *
 * From anywhere works because a leader sends its record `seq` only after it has seen its record `seq - 1` accepted: the later one
 * proves the earlier one, and with it all that the filter needs from there on.
 */
export class LogReading {
  readonly #context: FilterContext;
  #position: LogPosition | undefined;
  /** The last records read while the position is unknown. */
  #window: ReadRecord[] = [];

  constructor(context: FilterContext, position: LogPosition | undefined) {
    this.#context = context;
    this.#position = position;
  }

  /** After the last record judged; undefined = not known yet. */
  get position(): LogPosition | undefined {
    return this.#position;
  }

  /** The next record of the log. */
  next(record: ReadRecord | UnreadableRecord): LogVerdict {
    if (this.#isGenesis(record)) {
      const { term, leaderId, prevHash, digest } = record;
      const chainHash = this.#context.chain(prevHash, digest);
      this.#position = { term, leaderId, seq: 0, chainHash };
      return { kind: 'accepted' };
    }
    if (this.#position === undefined && !('unreadable' in record)) this.#prove(record);
    if (this.#position !== undefined) return this.#judge(record, this.#position);
    if (!('unreadable' in record)) {
      this.#window.push(record);
      if (this.#window.length > WINDOW_MAX) this.#window.shift();
      return { kind: 'unknown' };
    }
    return { kind: 'halts', reason: record.unreadable };
  }

  /** The one that has decided on what a generation stands; it says all that the filter needs. */
  #isGenesis(record: ReadRecord | UnreadableRecord): record is ReadRecord {
    if ('unreadable' in record || record.kind !== 'genesis' || record.offset !== 0) return false;
    const { generation, shardUid } = this.#context;
    return record.generation === generation && equalBytes(record.shardUid, shardUid);
  }

  #judge(record: ReadRecord | UnreadableRecord, position: LogPosition): LogVerdict {
    const { generation } = this.#context;
    const judgement = judge({ ...BEFORE, ...position, generation }, record, this.#context);
    assert(judgement.kind !== 'install', 'a position is of the generation that is read');
    if (judgement.kind === 'halt') {
      // Replicas stop here. A reader goes on and finds out anew what is in force.
      this.#position = undefined;
      this.#window = [];
      return { kind: 'halts', reason: judgement.report.reason };
    }
    this.#position = judgement.state;
    return judgement.kind === 'accept'
      ? { kind: 'accepted' }
      : { kind: 'ignored', reason: judgement.reason };
  }

  /** Whether `record` proves one of the window: then everything after that one can be judged. */
  #prove(record: ReadRecord): void {
    const at = this.#window.findLastIndex(
      ({ term: at, leaderId, seq }) =>
        at === record.term && leaderId === record.leaderId && seq === record.seq - 1,
    );
    const proven = this.#window[at];
    if (record.kind === 'barrier' || proven === undefined) return;
    this.#position = {
      term: proven.term,
      leaderId: proven.leaderId,
      seq: proven.seq,
      chainHash: record.prevHash,
    };
    const since = this.#window.slice(at + 1);
    this.#window = [];
    for (const later of since) {
      if (this.#position !== undefined) this.#judge(later, this.#position);
    }
  }
}

const BEFORE: Omit<AcceptedState, 'generation'> = {
  ...LOG_BEGIN,
  offset: logOffset(-1),
  index: logIndex(0),
  lastOffset: logOffset(-1),
  lastDigest: EMPTY,
};
