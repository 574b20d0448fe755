import { create } from '@bufbuild/protobuf';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseLeasesRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  WatchCreateRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { Random } from '../fuzz/random.ts';
import { Choose } from './choose.ts';
import { LEASES, lease, putRequest, rangeRequest, txnRequest } from './generate-kv.ts';
import type { Operation } from './operation.ts';

/** What a sequence may hold, by what the reference can bear. */
export interface Traits {
  /** Values outside of enumerations. etcd 3.4 dies of some. */
  readonly unknownEnums: boolean;
}

const STREAMS = 3;
const TTL_MAX = 9_000_000_000n;

type Draw = (choose: Choose, traits: Traits) => Operation;

const call =
  <Request extends Operation & { kind: 'call' }>(
    method: Request['method'],
    request: (choose: Choose, traits: Traits) => Request['request'],
  ): Draw =>
  (choose, traits) => ({ kind: 'call', method, request: request(choose, traits) });

/** Each as often as it stands here. */
const WEIGHTS: readonly (readonly [number, Draw])[] = [
  [20, call('put', putRequest)],
  [18, call('range', rangeRequest)],
  [20, call('txn', txnRequest)],
  [6, call('deleteRange', deleteRequest)],
  [2, call('compact', compactRequest)],
  [7, watch],
  [2, (choose) => ({ kind: 'cancel', stream: stream(choose), watchId: watchId(choose) })],
  [1, (choose) => ({ kind: 'progress', stream: stream(choose) })],
  [5, call('grant', grantRequest)],
  [2, call('revoke', (choose) => create(LeaseRevokeRequestSchema, { ID: lease(choose) }))],
  [3, call('timeToLive', timeToLiveRequest)],
  [1, call('leases', () => create(LeaseLeasesRequestSchema))],
  [1, (choose) => ({ kind: 'keepAlive', id: lease(choose) })],
];

/** A sequence, the same for the same seed and traits. */
export function sequence(seed: number, length: number, traits: Traits): Operation[] {
  const choose = new Choose(new Random(seed));
  const draws = WEIGHTS.flatMap(([count, draw]) => Array.from({ length: count }, () => draw));
  const operations = Array.from({ length }, () => {
    const draw = draws[choose.random.below(draws.length)] ?? watch;
    return draw(choose, traits);
  });
  const at = choose.random.below(3 * length);
  return at < length ? operations.toSpliced(at, 2, ...listener(choose, traits)) : operations;
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
