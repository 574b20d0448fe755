import { equalBytes, logIndex, toHex } from '@kvorum/base';
import type { FencedReason, HaltReport } from './effect.ts';
import { decodeGenesis, type Genesis } from './genesis.ts';
import type { AcceptedState, ReadRecord, UnreadableRecord } from './input.ts';

export interface FilterContext {
  readonly shardUid: Uint8Array;
  readonly generation: number;
  /** chainHash' = chain(chainHash, digest of the accepted record). */
  readonly chain: (chainHash: Uint8Array, digest: Uint8Array) => Uint8Array;
}

export type Judgement =
  | { readonly kind: 'accept'; readonly state: AcceptedState }
  | { readonly kind: 'ignore'; readonly state: AcceptedState; readonly reason: FencedReason }
  /** The generation stands on another history than this replica's. */
  | { readonly kind: 'install'; readonly genesis: Genesis }
  | { readonly kind: 'halt'; readonly report: HaltReport };

/**
 * The acceptance filter: judges the next record of the log. The whole safety argument: every
 * replica runs this same function
 * over the same records in offset order, so all accept the same history whatever late leaders
 * append.
 *
 * @param state - after every record below `record.offset`.
 * @returns `accept` and `ignore` carry the state after the record; `halt` = log and replica
 * contradict each other.
 *
 * Source: DESIGN §3; reference/kafka-log.md §2.2.
 */
export function judge(
  state: AcceptedState,
  record: ReadRecord | UnreadableRecord,
  context: FilterContext,
): Judgement {
  if ('unreadable' in record) {
    return refuse(state, record, 'unreadable-record', ['a known record', record.unreadable]);
  }
  if (!equalBytes(record.shardUid, context.shardUid)) {
    const found = toHex(record.shardUid);
    return refuse(state, record, 'wrong-shard', [toHex(context.shardUid), found]);
  }
  if (record.generation !== context.generation) {
    const found = String(record.generation);
    return refuse(state, record, 'wrong-generation', [String(context.generation), found]);
  }
  if (state.generation !== context.generation) return judgeFirst(state, record, context);
  // The first one of the generation has decided what it stands on.
  if (record.kind === 'genesis') return ignore(state, record, 'duplicate');
  return record.kind === 'barrier'
    ? judgeBarrier(state, record, context)
    : judgeBatch(state, record, context);
}

/**
 * The first record of a generation above 0 that a replica of an earlier one meets. It goes on from its own state only when that is the
 * very history that the generation stands on; with any other, also a longer one, it needs the state of a replica that does.
 */
function judgeFirst(state: AcceptedState, record: ReadRecord, context: FilterContext): Judgement {
  if (record.kind !== 'genesis') {
    const found = `a ${record.kind} of term ${record.term}`;
    return refuse(state, record, 'genesis-missing', ['the genesis record', found]);
  }
  const genesis = decodeGenesis(record.payload);
  if (!genesis.ok) {
    return refuse(state, record, 'unreadable-record', ['a known record', genesis.error]);
  }
  const isOwn = genesis.value.index === state.index && equalBytes(record.prevHash, state.chainHash);
  return isOwn ? accept(state, record, context) : { kind: 'install', genesis: genesis.value };
}

function judgeBarrier(state: AcceptedState, record: ReadRecord, context: FilterContext): Judgement {
  if (record.term > state.term) return accept(state, record, context);
  const again = record.term === state.term && record.leaderId === state.leaderId;
  return ignore(state, record, again ? 'duplicate' : 'stale-barrier');
}

function judgeBatch(state: AcceptedState, record: ReadRecord, context: FilterContext): Judgement {
  if (record.term > state.term || state.leaderId === '') {
    // A leader appends nothing but its barrier before it has seen that barrier accepted, which stands below then and has set
    // `state.term`, whatever this replica heard from its peers. So the barrier has vanished; ignoring the record, and every later
    // one of its leader, would leave this replica behind for good without anybody noticing, and let it be elected so.
    const found = `a ${record.kind} of term ${record.term}`;
    return refuse(state, record, 'barrier-missing', [`the barrier of term ${record.term}`, found]);
  }
  if (record.term < state.term) return ignore(state, record, 'old-term');
  if (record.leaderId !== state.leaderId) return ignore(state, record, 'other-leader');
  if (record.seq <= state.seq) return ignore(state, record, 'duplicate');
  if (record.seq !== state.seq + 1) {
    // seq n+1 goes out only after n was judged, so records have vanished below this one.
    return refuse(state, record, 'seq-gap', [String(state.seq + 1), String(record.seq)]);
  }
  if (!equalBytes(record.prevHash, state.chainHash)) {
    const found = toHex(record.prevHash);
    return refuse(state, record, 'chain-mismatch', [toHex(state.chainHash), found]);
  }
  return accept(state, record, context);
}

function accept(state: AcceptedState, record: ReadRecord, context: FilterContext): Judgement {
  return {
    kind: 'accept',
    state: {
      generation: context.generation,
      offset: record.offset,
      index: logIndex(state.index + 1),
      term: record.term,
      leaderId: record.leaderId,
      seq: record.kind === 'barrier' || record.kind === 'genesis' ? 0 : record.seq,
      chainHash: context.chain(state.chainHash, record.digest),
      lastOffset: record.offset,
      lastDigest: record.digest,
    },
  };
}

function ignore(state: AcceptedState, record: ReadRecord, reason: FencedReason): Judgement {
  return { kind: 'ignore', reason, state: { ...state, offset: record.offset } };
}

function refuse(
  state: AcceptedState,
  record: ReadRecord | UnreadableRecord,
  reason: HaltReport['reason'],
  [expected, found]: readonly [expected: string, found: string],
): Judgement {
  const detail = `record at offset ${record.offset}: ${reason}`;
  const { index } = state;
  return {
    kind: 'halt',
    report: { reason, detail, offset: record.offset, index, expected, found },
  };
}
