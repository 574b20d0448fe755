import { create, type Message } from '@bufbuild/protobuf';
import {
  AlarmRequestSchema,
  DefragmentRequestSchema,
  DowngradeRequestSchema,
  HashKVRequestSchema,
  MemberPromoteRequestSchema,
  MemberRemoveRequestSchema,
  MemberUpdateRequestSchema,
  MoveLeaderRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  CampaignRequestSchema,
  LeaderRequestSchema,
  ProclaimRequestSchema,
  ResignRequestSchema,
} from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import { LockRequestSchema, UnlockRequestSchema } from '@kvorum/wire/gen/v3lockpb/v3lock_pb';
import { bytes, type Choose } from './choose.ts';
import type { MethodName } from './methods.ts';
import type { Operation } from './operation.ts';
import { revision } from './symbols.ts';

type Call = Operation & { readonly kind: 'call' };
type Draw = (choose: Choose) => readonly [method: MethodName, request: Message];

const NOBODY = 0x7777_7777n;

/** Of locks and elections, each with the only lease that ever wants it: nobody waits. Ids that no answer shows differently. */
const NAMED: readonly [readonly [string, bigint], ...(readonly [string, bigint])[]] = [
  ['n', 1001n],
  ['m', 5n],
];

const keyOf = ([name, lease]: readonly [string, bigint]): Uint8Array =>
  bytes(`${name}/${lease.toString(16)}`);

function leaderKey(choose: Choose) {
  const named = choose.random.pick(NAMED);
  const [name, lease] = named;
  if (choose.once(10)) return {};
  const rev = choose.once(3) ? 0n : revision('current', -choose.random.below(4));
  return { leader: { name: bytes(name), key: keyOf(named), rev, lease } };
}

const RECIPES: readonly Draw[] = [
  (choose) => {
    const [name, lease] = choose.random.pick(NAMED);
    return ['lock', create(LockRequestSchema, { name: bytes(name), lease })];
  },
  (choose) => {
    const key = choose.once(8) ? choose.key() : keyOf(choose.random.pick(NAMED));
    return ['unlock', create(UnlockRequestSchema, { key })];
  },
  (choose) => {
    const [name, lease] = choose.random.pick(NAMED);
    const request = { name: bytes(name), lease, value: choose.value() };
    return ['campaign', create(CampaignRequestSchema, request)];
  },
  (choose) => {
    const request = { ...leaderKey(choose), value: choose.value() };
    return ['proclaim', create(ProclaimRequestSchema, request)];
  },
  (choose) => {
    const name = choose.once(8) ? choose.key() : bytes(choose.random.pick(NAMED)[0]);
    return ['leader', create(LeaderRequestSchema, { name })];
  },
  (choose) => ['resign', create(ResignRequestSchema, leaderKey(choose))],
];

/** What is answered without changing anything, or refused. */
const FAULTS: readonly Draw[] = [
  // What is compacted etcd hashes all the same until its background work has removed it.
  (choose) => {
    const asked = choose.random.pick([0n, -1n, revision('current'), revision('current', 1)]);
    return ['hashKV', create(HashKVRequestSchema, { revision: asked })];
  },
  () => ['alarm', create(AlarmRequestSchema)],
  () => ['defragment', create(DefragmentRequestSchema)],
  () => ['moveLeader', create(MoveLeaderRequestSchema, { targetID: NOBODY })],
  (choose) => {
    const version = choose.random.pick(['', 'x', '9.9.9', '3', '3.6.0', '3.7.0']);
    return ['downgrade', create(DowngradeRequestSchema, { action: 0, version })];
  },
  () => ['downgrade', create(DowngradeRequestSchema, { action: 2 })],
  () => {
    const peerURLs = ['http://127.0.0.1:1'];
    return ['memberUpdate', create(MemberUpdateRequestSchema, { ID: NOBODY, peerURLs })];
  },
  () => ['memberPromote', create(MemberPromoteRequestSchema, { ID: NOBODY })],
  () => ['memberRemove', create(MemberRemoveRequestSchema, { ID: NOBODY })],
];

export function recipe(choose: Choose): Call {
  return drawn(choose, RECIPES);
}

export function fault(choose: Choose): Call {
  return drawn(choose, FAULTS);
}

function drawn(choose: Choose, draws: readonly Draw[]): Call {
  const draw = draws[choose.random.below(draws.length)];
  const [method, request] = draw?.(choose) ?? ['alarm', create(AlarmRequestSchema)];
  return { kind: 'call', method, request };
}
