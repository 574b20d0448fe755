import type { RequestOp, TxnRequest } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Traits } from './generate.ts';
import {
  ANSWER_WITH_ENDED_WATCH,
  BREACHES,
  type Difference,
  type Intended,
  type Rules,
} from './lockstep.ts';
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

const OLD = /^3\.4\./;
const COMPACTED = 'etcdserver: mvcc: required revision has been compacted';
const FUTURE = 'etcdserver: mvcc: required revision is a future revision';
const KEY_NOT_FOUND = 'etcdserver: key not found';
const LEASE_NOT_FOUND = 'etcdserver: requested lease not found';
const DUPLICATE_KEY = 'etcdserver: duplicate key given in txn request';

const PERMISSION_DENIED = 'etcdserver: permission denied';
const REFUSALS = [
  'etcdserver: user name is empty',
  PERMISSION_DENIED,
  'etcdserver: invalid auth token',
];
/** What is wrong with a request whatever the data are. */
const FAULTS = [
  DUPLICATE_KEY,
  KEY_NOT_FOUND,
  'etcdserver: key is not provided',
  'etcdserver: value is provided',
  'etcdserver: lease is provided',
  'etcdserver: too many operations in txn request',
  'etcdserver: invalid sort option',
];

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
      field(candidate, 'text') === DUPLICATE_KEY &&
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
  {
    name: 'refused-before-looked-at',
    reason:
      'A faulty request of somebody who may not send it: etcd looks for faults that no data are needed for first, kvd asks who ' +
      'it is before it looks at anything.',
    sequence: 'goes on',
    matches: ({ operation, reference, candidate }) =>
      operation.kind === 'call' &&
      REFUSALS.includes(field(candidate, 'text')) &&
      FAULTS.includes(field(reference, 'text')),
  },
  {
    name: 'empty-txn-of-nobody',
    reason:
      'A txn that touches no key, of somebody who is nobody: etcd answers it, kvd asks who it is before it looks at anything.',
    sequence: 'goes on',
    matches: ({ operation, candidate }) =>
      operation.kind === 'call' &&
      operation.method === 'txn' &&
      REFUSALS.includes(field(candidate, 'text')) &&
      touchesNothing(operation.request as TxnRequest),
  },
  {
    name: 'permission-of-an-empty-range',
    reason:
      'A range whose end is not above its key holds no key. etcd allows or refuses it by what its tree of permissions makes of ' +
      'such an interval, kvd by where it begins.',
    sequence: 'ends',
    matches: ({ operation, reference, candidate }) =>
      operation.kind === 'call' &&
      [field(reference, 'text'), field(candidate, 'text')].includes(PERMISSION_DENIED) &&
      hasEmptyRange(operation.request),
  },
  {
    name: 'auth-status-is-open',
    reason:
      'Whether authorization is enabled: etcd 3.6 tells only root, later versions and kvd everybody.',
    sequence: 'goes on',
    matches: ({ operation, reference }) =>
      operation.kind === 'call' &&
      operation.method === 'authStatus' &&
      REFUSALS.includes(field(reference, 'text')),
  },
  {
    name: 'progress-3.4',
    reason:
      'etcd 3.4.23 answers every request for progress at once. Later versions, and kvd, do when the stream has watches, all ' +
      'of them have caught up and the start of each has come.',
    versions: OLD,
    sequence: 'goes on',
    matches: ({ operation, candidate }) =>
      operation.kind === 'progress' && candidate === 'no answer',
  },
  {
    name: 'progress-too-far-3.4',
    reason: 'Since it answers at once, events that are older may still come.',
    versions: OLD,
    sequence: 'goes on',
    matches: ({ where, reference, candidate }) =>
      where === BREACHES &&
      Array.isArray(candidate) &&
      candidate.length === 0 &&
      Array.isArray(reference) &&
      reference.every((one) => typeof one === 'string' && one.includes('after progress up to')),
  },
  {
    name: 'two-faults-3.4',
    reason:
      'A txn with two faults that only the data show: etcd 3.4 looks at all its puts before its ranges, later versions and kvd at ' +
      'its operations in their order. Nothing is applied either way.',
    versions: OLD,
    sequence: 'goes on',
    matches: ({ operation, reference, candidate }) =>
      operation.kind === 'call' &&
      operation.method === 'txn' &&
      [KEY_NOT_FOUND, LEASE_NOT_FOUND].includes(field(reference, 'text')) &&
      [COMPACTED, FUTURE].includes(field(candidate, 'text')),
  },
  {
    name: 'negative-start-3.4',
    reason:
      'A watch from a negative revision: etcd 3.4 creates it and cancels it as compacted, later versions and kvd refuse it in ' +
      'one response.',
    versions: OLD,
    sequence: 'ends',
    matches: ({ operation, candidate }) =>
      operation.kind === 'watch' &&
      field(candidate, 'watchId') === '-1' &&
      field(candidate, 'cancelReason') === COMPACTED,
  },
];

/** A text of an answer; empty when it has none of this name. */
function field(answer: Normal, name: string): string {
  if (typeof answer !== 'object' || Array.isArray(answer)) return '';
  const value = (answer as Readonly<Record<string, Normal>>)[name];
  return typeof value === 'string' ? value : '';
}

/** Whether a request, or anything nested in it, names a range that ends where it begins or before. */
function hasEmptyRange(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasEmptyRange);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  if ('key' in value && 'rangeEnd' in value) {
    const { key, rangeEnd } = value as { readonly key: Uint8Array; readonly rangeEnd: Uint8Array };
    const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
    if (rangeEnd.length > 0 && !isOpen && Buffer.compare(rangeEnd, key) <= 0) return true;
  }
  return Object.values(value).some(hasEmptyRange);
}

function touchesNothing({ compare, success, failure }: TxnRequest): boolean {
  const isNothing = ({ request }: RequestOp): boolean =>
    request.case === undefined || (request.case === 'requestTxn' && touchesNothing(request.value));
  return compare.length === 0 && [...success, ...failure].every(isNothing);
}

function deletesWithoutEnd({ success, failure }: TxnRequest): boolean {
  return [...success, ...failure].some(({ request }) => {
    if (request.case === 'requestTxn') return deletesWithoutEnd(request.value);
    if (request.case !== 'requestDeleteRange') return false;
    const { rangeEnd } = request.value;
    return rangeEnd.length === 1 && rangeEnd[0] === 0;
  });
}

export function rulesFor(version: string): Rules {
  const list = INTENDED.filter(({ versions }) => versions?.test(version) ?? true);
  const intended: Intended = (difference) =>
    list.find(({ matches }) => matches(difference))?.sequence;
  // Since 3.4.34 and 3.5.16 compaction keeps a deletion at the compacted revision itself.
  return { intended, watchesFromCompacted: !OLD.test(version) };
}

/** What this version of etcd can be asked: 3.4 dies of unknown values of enumerations. */
export function traitsOf(version: string): Traits {
  return { unknownEnums: !OLD.test(version), auth: !OLD.test(version) };
}
