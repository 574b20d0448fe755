import {
  type Compare,
  DEFAULT_LIMITS,
  type LeaseId,
  leaseId,
  RANGE_END_OPEN,
  type RangeRequest,
  type SessionTag,
  type TxnOp,
  type TxnRequest,
  toHex,
  utf8,
  type WatchFilter,
  type WriteRequest,
} from '@kvorum/base';
import {
  attachmentKey,
  decodeHead,
  type LeaseCommand,
  type StoredRow,
  validate,
} from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { countInputs, fuzz } from '../../../test/fuzz/fuzz.ts';
import {
  expectSameAfterCompaction,
  expectSameBatch,
  expectSameRange,
  expectSameReadTxn,
  KEYS,
  key,
  revision,
  txnOf,
  value,
  type Watched,
  Watchers,
} from './beside-model.ts';
import { TestReplica } from './harness.ts';
import { Model } from './model.ts';

const LEASES: readonly LeaseId[] = [leaseId(7n), leaseId(-1n)];
const MISSING_LEASE = leaseId(8n);
const CLIENTS = ['1', '2', '3'].map((digit) => digit.repeat(32));

const end = fc.constantFrom(
  ...[new Uint8Array(0), new Uint8Array(0), new Uint8Array(0), ...KEYS, RANGE_END_OPEN],
);
const mostlyZero = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: revision },
);
const rarely = fc.nat(4).map((n) => n === 0);

const range: fc.Arbitrary<RangeRequest> = fc.record({
  op: fc.constant('range' as const),
  key,
  rangeEnd: end,
  limit: fc.integer({ min: -1, max: 3 }),
  revision: mostlyZero,
  sortOrder: fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const),
  sortTarget: fc.constantFrom(...(['key', 'key', 'version', 'create', 'mod', 'value'] as const)),
  keysOnly: rarely,
  countOnly: rarely,
  minModRevision: mostlyZero,
  maxModRevision: mostlyZero,
  minCreateRevision: mostlyZero,
  maxCreateRevision: mostlyZero,
});
const put: fc.Arbitrary<TxnOp> = fc
  .record({
    key,
    value,
    prevKv: rarely,
    ignoreValue: rarely,
    ignoreLease: rarely,
    lease: fc.constantFrom(leaseId(0n), leaseId(0n), leaseId(0n), ...LEASES, MISSING_LEASE),
  })
  .map((fields) => ({
    op: 'put' as const,
    ...fields,
    value: fields.ignoreValue ? new Uint8Array(0) : fields.value,
    lease: fields.ignoreLease ? leaseId(0n) : fields.lease,
  }));
const remove = fc.record({
  op: fc.constant('delete-range' as const),
  key,
  rangeEnd: end,
  prevKv: fc.boolean(),
});
const result = fc.constantFrom(...(['equal', 'greater', 'less', 'not-equal'] as const));
const compare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({
    key,
    rangeEnd: end,
    result,
    target: fc.constantFrom('version' as const, 'create' as const, 'mod' as const),
    value: fc.integer({ min: 0, max: 12 }),
  }),
  fc.record({ key, rangeEnd: end, result, target: fc.constant('value' as const), value }),
  fc.record({
    key,
    rangeEnd: end,
    result,
    target: fc.constant('lease' as const),
    value: fc.constantFrom(leaseId(0n), ...LEASES),
  }),
);
const flat: fc.Arbitrary<TxnOp> = fc.oneof(put, remove, range);
const write: fc.Arbitrary<WriteRequest> = fc.oneof(
  { weight: 5, arbitrary: put as fc.Arbitrary<WriteRequest> },
  { weight: 2, arbitrary: remove },
  {
    weight: 4,
    arbitrary: txnOf(
      compare,
      fc.oneof({ weight: 5, arbitrary: flat }, { weight: 1, arbitrary: txnOf(compare, flat) }),
    ),
  },
  { weight: 1, arbitrary: revision.map((at) => ({ op: 'compact' as const, revision: at })) },
);
const tag: fc.Arbitrary<SessionTag | undefined> = fc.option(
  fc.record({
    clientId: fc.constantFrom(...CLIENTS),
    seq: fc.integer({ min: 1, max: 12 }),
    ackedThrough: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 6 })),
    retry: rarely,
  }),
  { nil: undefined },
);

const lease: fc.Arbitrary<LeaseCommand> = fc.oneof(
  fc.constantFrom(...LEASES).map((id) => ({
    op: 'lease' as const,
    action: 'grant' as const,
    id,
    ttlSeconds: 60,
  })),
  fc.subarray([...LEASES, MISSING_LEASE], { minLength: 1 }).map((ids) => ({
    op: 'lease' as const,
    action: 'revoke' as const,
    ids,
    stage: 'alone' as const,
    term: 1,
  })),
);

interface Write {
  readonly request: WriteRequest | LeaseCommand;
  readonly session: SessionTag | undefined;
}
const sent: fc.Arbitrary<Write> = fc.oneof(
  { weight: 7, arbitrary: fc.record({ request: write, session: tag }) },
  { weight: 1, arbitrary: lease.map((request) => ({ request, session: undefined })) },
);
type Plain = 'fill' | 'drain' | 'catch-up' | 'physical' | 'restart' | 'check-follower';
type Step =
  | { readonly kind: 'batch'; readonly writes: readonly Write[] }
  | { readonly kind: 'range'; readonly range: RangeRequest }
  | { readonly kind: 'read-txn'; readonly txn: TxnRequest }
  | {
      readonly kind: 'watch';
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
      readonly start: number;
      readonly filters: readonly WatchFilter[];
    }
  | { readonly kind: Plain };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      writes: fc.array(sent, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('range' as const), range }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('read-txn' as const), txn: txnOf(compare, range) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('watch' as const),
      key,
      rangeEnd: end,
      start: fc.integer({ min: 0, max: 40 }),
      filters: fc.constantFrom<readonly WatchFilter[]>([], [], ['no-put'], ['no-delete']),
    }),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom<Plain[]>('fill', 'drain', 'catch-up', 'physical', 'restart', 'check-follower')
      .map((kind) => ({ kind })),
  },
);

interface StepWatched extends Watched {
  readonly request: Extract<Step, { kind: 'watch' }>;
}

/** A leader and a follower beside the model; the leader's process may end and start again. */
class Trio {
  readonly model = new Model();
  readonly follower = new TestReplica();
  readonly watchers = new Watchers<StepWatched>();
  readonly leader = new TestReplica({}, this.watchers.sink);

  constructor() {
    for (const replica of [this.leader, this.follower]) {
      replica.store.scanRowsMax = 2;
    }
    const grants = LEASES.map((id) => ({
      request: { op: 'lease', action: 'grant', id, ttlSeconds: 60 } as const,
      session: undefined,
    }));
    this.batch(grants);
  }

  run(steps: readonly Step[]): void {
    for (const one of steps) this.step(one);
    this.watchers.drain(this.leader.hub);
    this.leader.catchUp();
    for (const { request, start, events, cancelled } of this.watchers.all.values()) {
      const expected = this.model.watch(request, start, request.filters);
      expect(events).toEqual(cancelled ? expected.slice(0, events.length) : expected);
    }
    this.checkFollower();
  }

  private step(one: Step): void {
    const { leader, model } = this;
    countInputs(one.kind === 'batch' ? one.writes.length : 1);
    switch (one.kind) {
      case 'batch':
        this.batch(
          one.writes.filter(
            ({ request }) =>
              request.op === 'lease' || validate(request, DEFAULT_LIMITS) === undefined,
          ),
        );
        return;
      case 'range':
        expectSameRange(leader, model, one.range);
        return;
      case 'read-txn':
        expectSameReadTxn(leader, model, one.txn);
        return;
      case 'watch':
        this.watch(this.watchers.all.size, one, one.start);
        return;
      default:
        this.plain(one.kind);
    }
  }

  private plain(kind: Plain): void {
    const { leader } = this;
    switch (kind) {
      case 'fill':
        this.watchers.full = true;
        return;
      case 'drain':
        this.watchers.drain(this.leader.hub);
        return;
      case 'catch-up':
        leader.catchUp();
        return;
      case 'physical':
        expectSameAfterCompaction(leader);
        return;
      case 'restart':
        this.restart();
        return;
      case 'check-follower':
        this.checkFollower();
    }
  }

  private batch(writes: readonly Write[]): void {
    const { leader, model, follower } = this;
    const results = leader.batch(
      writes.map(({ request, session }) =>
        session === undefined ? { request } : { request, session },
      ),
    );
    if (leader.lastPayload !== undefined) follower.apply(leader.lastPayload);
    const expected = writes.map(({ request, session }) =>
      request.op === 'lease' ? model.lease(request) : model.tagged(request, session),
    );
    expectSameBatch(leader, model, results, expected);
  }

  private watch(id: number, request: StepWatched['request'], startRevision: number): boolean {
    const { hub, engine } = this.leader;
    const { key, rangeEnd, filters } = request;
    const added = hub.add(id, { key, rangeEnd, filters, startRevision }, engine.revision);
    if (!added.ok) return false;
    const start = added.value.startRevision;
    if (!this.watchers.all.has(id)) {
      const fresh = { request, start, events: [], lastRevision: start - 1, cancelled: false };
      this.watchers.all.set(id, fresh);
    }
    return true;
  }

  /** Watchers come back and go on behind what they have seen. */
  private restart(): void {
    this.leader.restart();
    for (const [id, watched] of this.watchers.all) {
      if (watched.cancelled) continue;
      watched.cancelled = !this.watch(id, watched.request, watched.lastRevision + 1);
    }
  }

  private checkFollower(): void {
    const { leader, follower } = this;
    expectAttached(leader);
    expect(follower.run(follower.engine.stateHash())).toEqual(
      leader.run(leader.engine.stateHash()),
    );
  }
}

/** What hangs on leases, as their rows say, is what the keys say. */
function expectAttached(replica: TestReplica): void {
  const rowsOf = (prefix: string): readonly StoredRow[] => {
    const [gte, lt] = [utf8(prefix), utf8(String.fromCharCode(prefix.charCodeAt(0) + 1))];
    replica.store.scanRowsMax = Number.POSITIVE_INFINITY;
    const scan = { kind: 'scan', gte, lt, limit: 10_000, bytesMax: 10_000_000 } as const;
    const rows = replica.store.answer(scan) as readonly StoredRow[];
    replica.store.scanRowsMax = 2;
    return rows;
  };
  const attached = rowsOf('k').flatMap(([storeKey, value]) => {
    const { lease: id } = decodeHead(value);
    return id === 0n ? [] : [toHex(attachmentKey(id, storeKey.subarray(1)))];
  });
  expect(rowsOf('a').map(([storeKey]) => toHex(storeKey))).toEqual(attached.sort());
}

describe('engine', () => {
  fuzz(
    'answers as the model through sessions, leases, compactions, watches and restarts; a follower has the same',
    80,
    fc.property(fc.array(step, { minLength: 1, maxLength: 50, size: 'max' }), (steps) => {
      new Trio().run(steps);
    }),
  );
});
