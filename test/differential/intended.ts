import type { TxnRequest } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Traits } from './generate.ts';
import { ANSWER_WITH_ENDED_WATCH, type Difference, type Intended } from './lockstep.ts';
import type { Normal } from './normal-form.ts';

/** A difference that is meant to be. docs/etcd.md has each of them. */
export interface IntendedDifference {
  readonly name: string;
  readonly reason: string;
  /** Versions of the reference that it is seen against; undefined = all. */
  readonly versions?: RegExp;
  /** It ends where the two hold other data from here on. */
  readonly sequence: 'goes on' | 'ends';
  /** As narrow as it can be said. */
  readonly matches: (difference: Difference) => boolean;
}

/** kvd has no Lease service yet. */
const LEASES: boolean = false;
const DUPLICATE_KEY = 'etcdserver: duplicate key given in txn request';

export const INTENDED: readonly IntendedDifference[] = [
  {
    name: 'put-and-open-delete',
    reason:
      'A txn that puts a key and deletes a range without an end (range_end of one zero byte) with that key in it: etcd refuses ' +
      'such a pair, but does not see it when the range has no end, and applies both. kvd refuses it always.',
    sequence: 'ends',
    matches: ({ operation, candidate }) =>
      operation.kind === 'call' &&
      operation.method === 'txn' &&
      textOf(candidate) === DUPLICATE_KEY &&
      deletesWithoutEnd(operation.request as TxnRequest),
  },
  {
    name: 'progress-beside-an-ended-watch',
    reason:
      'When compaction has ended a watch, etcd answers no request for progress of the whole stream any more until the client ' +
      'cancels that watch too. For kvd an ended watch is over.',
    sequence: 'goes on',
    matches: ({ where, reference }) =>
      where === ANSWER_WITH_ENDED_WATCH && reference === 'no answer',
  },
];

function textOf(answer: Normal): Normal | undefined {
  return typeof answer === 'object' && 'text' in answer ? answer['text'] : undefined;
}

function deletesWithoutEnd({ success, failure }: TxnRequest): boolean {
  return [...success, ...failure].some(({ request }) => {
    if (request.case === 'requestTxn') return deletesWithoutEnd(request.value);
    if (request.case !== 'requestDeleteRange') return false;
    const { rangeEnd } = request.value;
    return rangeEnd.length === 1 && rangeEnd[0] === 0;
  });
}

export function intendedFor(version: string): Intended {
  const list = INTENDED.filter(({ versions }) => versions?.test(version) ?? true);
  return (difference) => list.find(({ matches }) => matches(difference))?.sequence;
}

/** What this version of etcd can be asked. */
export function traitsOf(version: string): Traits {
  return { unknownEnums: !version.startsWith('3.4.'), leases: LEASES };
}
