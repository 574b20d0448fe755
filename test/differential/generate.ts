import { create } from '@bufbuild/protobuf';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseLeasesRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  WatchCreateRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { Random } from '../fuzz/random.ts';
import { Choose, KEYS } from './choose.ts';
import { authBeginning, authChange, authenticate, caller } from './generate-auth.ts';
import { LEASES, lease, putRequest, rangeRequest, txnRequest } from './generate-kv.ts';
import { fault, recipe } from './generate-recipes.ts';
import type { Operation } from './operation.ts';

/** What a sequence may hold, by what the reference can bear. */
export interface Traits {
  /** Values outside of enumerations. etcd 3.4 dies of some. */
  readonly unknownEnums: boolean;
  /** Users and roles, and what came with 3.6. */
  readonly auth: boolean;
}

const STREAMS = 3;
const KIB = 1024;
/** Below and above what a request may have, and below and above what a message may. */
const LARGE = [
  ...([512 * KIB, 700 * KIB, 900 * KIB, 1535 * KIB] as const),
  ...([1537 * KIB, 2047 * KIB, 2049 * KIB] as const),
] as const;
const ZERO = new Uint8Array([0]);
const TTL_MAX = 9_000_000_000n;

type Draw = (choose: Choose, traits: Traits) => Operation;

const call =
  <Request extends Operation & { kind: 'call' }>(
    method: Request['method'],
    request: (choose: Choose, traits: Traits) => Request['request'],
  ): Draw =>
  (choose, traits) => ({ kind: 'call', method, request: request(choose, traits) });

type Weights = readonly (readonly [number, Draw])[];

/** Requests about keys and leases, which anybody may send. Each as often as it stands here. */
const KEYS_AND_LEASES: Weights = [
  [20, call('put', putRequest)],
  [18, call('range', rangeRequest)],
  [20, call('txn', txnRequest)],
  [6, call('deleteRange', deleteRequest)],
  [2, call('compact', compactRequest)],
  [5, call('grant', grantRequest)],
  [2, call('revoke', (choose) => create(LeaseRevokeRequestSchema, { ID: lease(choose) }))],
  [3, call('timeToLive', timeToLiveRequest)],
  [1, call('leases', () => create(LeaseLeasesRequestSchema))],
];

const PLAIN: Weights = [
  ...KEYS_AND_LEASES,
  [7, watch],
  [2, (choose) => ({ kind: 'cancel', stream: stream(choose), watchId: watchId(choose) })],
  [1, (choose) => ({ kind: 'progress', stream: stream(choose) })],
  [1, (choose) => ({ kind: 'keepAlive', id: lease(choose) })],
];

/** Locks and elections have keys of their own, so that ranges here are in the order of keys. */
const RECIPES: Weights = [
  [20, recipe],
  [3, call('grant', (choose) => create(LeaseGrantRequestSchema, { TTL: 100n, ID: named(choose) }))],
  [1, call('revoke', (choose) => create(LeaseRevokeRequestSchema, { ID: named(choose) }))],
  [1, call('deleteRange', deleteRequest)],
  [3, call('range', (choose) => create(RangeRequestSchema, choose.range()))],
  [2, watch],
  [4, fault],
];

const AUTH: Weights = [
  ...KEYS_AND_LEASES.map(([count, draw]): readonly [number, Draw] => [count, asSomebody(draw)]),
  [6, asSomebody(fault)],
  [25, authChange],
  [6, authenticate],
];

/** A sequence, the same for the same seed and traits. */
export function sequence(seed: number, length: number, traits: Traits): Operation[] {
  const choose = new Choose(new Random(seed));
  const kind = choose.random.below(8);
  if (kind === 0 && traits.auth) {
    const beginning = authBeginning(choose);
    return [...beginning, ...drawn(choose, AUTH, { length: length - beginning.length, traits })];
  }
  if (kind === 1 && traits.auth) return drawn(choose, RECIPES, { length, traits });
  const operations = drawn(choose, PLAIN, { length, traits });
  const insert = (rarity: number, part: () => Operation[]): void => {
    const at = choose.random.below(rarity * length);
    if (at >= length) return;
    const parts = part();
    operations.splice(at, parts.length, ...parts);
  };
  insert(3, () => listener(choose, traits));
  insert(6, () => bulk(choose));
  insert(6, () => [expiry(choose)]);
  return operations;
}

function drawn(
  choose: Choose,
  weights: Weights,
  { length, traits }: { readonly length: number; readonly traits: Traits },
): Operation[] {
  const draws = weights.flatMap(([count, draw]) => Array.from({ length: count }, () => draw));
  return Array.from({ length }, () => {
    const draw = draws[choose.random.below(draws.length)] ?? watch;
    return draw(choose, traits);
  });
}

function asSomebody(draw: Draw): Draw {
  return (choose, traits) => {
    const as = caller(choose);
    return { ...draw(choose, traits), ...(as === undefined ? {} : { as }) };
  };
}

const named = (choose: Choose): bigint => choose.random.pick([1001n, 5n]);

/** Some keys on a lease of the shortest time there is. */
function expiry(choose: Choose): Operation {
  const keys = choose.list(4, () => choose.random.pick(KEYS));
  return { kind: 'expire', id: choose.random.pick([77n, ...LEASES]), keys };
}

/** More than one response may hold, told to a watch, and requests about as large as one may be. */
function bulk(choose: Choose): Operation[] {
  const { random } = choose;
  const everything = { key: ZERO, rangeEnd: ZERO };
  const watchAll = create(WatchCreateRequestSchema, {
    ...everything,
    prevKv: !choose.once(4),
    fragment: !choose.once(4),
  });
  const puts = choose.list(6, (): Operation => {
    const value = new Uint8Array(random.pick(LARGE)).fill(0x6c);
    const request = create(PutRequestSchema, {
      key: random.pick(KEYS),
      value,
      prevKv: choose.once(4),
    });
    return { kind: 'call', method: 'put', request };
  });
  const request = create(DeleteRangeRequestSchema, everything);
  return [
    { kind: 'watch', stream: stream(choose), request: watchAll },
    ...puts,
    { kind: 'call', method: 'deleteRange', request },
  ];
}

/** A stream that is asked nothing more: it goes on telling. */
function listener(choose: Choose, traits: Traits): Operation[] {
  return [
    { ...watch(choose, traits), stream: STREAMS },
    { kind: 'halfClose', stream: STREAMS },
  ];
}

function deleteRequest(choose: Choose) {
  return create(DeleteRangeRequestSchema, { ...choose.range(), prevKv: choose.once(2) });
}

function compactRequest(choose: Choose) {
  return create(CompactionRequestSchema, {
    revision: choose.revision(1),
    physical: choose.once(2),
  });
}

/** No short ones: what expires in the middle of a sequence does so at another time each time. */
function grantRequest(choose: Choose) {
  const { random } = choose;
  const TTL = random.pick([3600n, 100n, 5000n, 100_000n, TTL_MAX, TTL_MAX + 1n]);
  return create(LeaseGrantRequestSchema, {
    TTL,
    ID: random.pick(LEASES),
  });
}

function timeToLiveRequest(choose: Choose) {
  return create(LeaseTimeToLiveRequestSchema, { ID: lease(choose), keys: choose.once(2) });
}

function stream(choose: Choose): number {
  return choose.random.below(STREAMS);
}

function watchId(choose: Choose): bigint {
  return choose.random.pick([0n, 0n, 1n, 2n, 3n, 7n, 2n ** 40n, -7n]);
}

function watch(choose: Choose, { unknownEnums }: Traits): Operation & { kind: 'watch' } {
  const { random } = choose;
  const filters = choose.list(choose.once(3) ? 2 : 0, () =>
    unknownEnums && choose.once(20) ? 7 : random.below(2),
  );
  const request = create(WatchCreateRequestSchema, {
    ...choose.range(),
    startRevision: choose.revision(4),
    progressNotify: choose.once(4),
    filters,
    prevKv: choose.once(2),
    watchId: choose.once(3) ? watchId(choose) : 0n,
    fragment: choose.once(4),
  });
  return { kind: 'watch', stream: stream(choose), request };
}
