import {
  type Compare,
  fromUtf8,
  type KeyValue,
  type KvError,
  type KvRequest,
  type KvResponse,
  type LeaseId,
  type Limits,
  prefixEnd,
  RANGE_END_OPEN,
  type RangeRequest,
  type SessionTag,
  type TxnOp,
  type TxnRequest,
  utf8,
  type WatchEvent,
  type WatchFilter,
} from '@kvorum/base';
import {
  attachedKey,
  attachmentsOf,
  decodeLeaseMark,
  isReadOnly,
  LEASE_MARK_KEY,
  type LeaseCommand,
  type Proposal,
  type RevokeStage,
  validate,
} from '@kvorum/mvcc';
import type { DataDrivenCommand } from '@kvorum/testkit';
import { TestReplica } from './harness.ts';

type Args = Record<string, string>;

function number(args: Args, name: string): number | undefined {
  return args[name] === undefined ? undefined : Number(args[name]);
}

function rangeOf(args: Args): { key: Uint8Array; rangeEnd?: Uint8Array } {
  const key = utf8(args['key'] ?? '');
  if (args['prefix'] !== undefined) return { key, rangeEnd: prefixEnd(key) };
  if (args['from-key'] !== undefined) return { key, rangeEnd: RANGE_END_OPEN };
  if (args['end'] !== undefined) return { key, rangeEnd: utf8(args['end']) };
  return { key };
}

function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function flag(args: Args, name: string): true | undefined {
  return args[name] === undefined ? undefined : true;
}

function parseRange(args: Args): RangeRequest {
  return defined({
    op: 'range' as const,
    ...rangeOf(args),
    limit: number(args, 'limit'),
    revision: number(args, 'rev'),
    sortOrder: args['order'],
    sortTarget: args['sort'],
    keysOnly: flag(args, 'keys-only'),
    countOnly: flag(args, 'count-only'),
    minModRevision: number(args, 'min-mod'),
    maxModRevision: number(args, 'max-mod'),
    minCreateRevision: number(args, 'min-create'),
    maxCreateRevision: number(args, 'max-create'),
  }) as RangeRequest;
}

function lease(args: Args): LeaseId | undefined {
  return args['lease'] === undefined ? undefined : (BigInt(args['lease']) as LeaseId);
}

/** An operation from its words; nested txns only inside `txn` blocks. */
export function parseOp(name: string, args: Args): TxnOp {
  if (name === 'get') return parseRange(args);
  if (name === 'del') {
    return defined({
      op: 'delete-range' as const,
      ...rangeOf(args),
      prevKv: flag(args, 'prev-kv'),
    }) as TxnOp;
  }
  return defined({
    op: 'put' as const,
    key: utf8(args['key'] ?? ''),
    value: utf8(args['value'] ?? ''),
    lease: lease(args),
    prevKv: flag(args, 'prev-kv'),
    ignoreValue: flag(args, 'ignore-value'),
    ignoreLease: flag(args, 'ignore-lease'),
  }) as TxnOp;
}

const RESULTS: Record<string, Compare['result']> = {
  '=': 'equal',
  '!=': 'not-equal',
  '>': 'greater',
  '<': 'less',
};

function parseCompare(words: Args): Compare {
  const target = words['target'] ?? 'value';
  const given = words['to'] ?? '0';
  const value =
    target === 'value' ? utf8(given) : target === 'lease' ? BigInt(given) : Number(given);
  const result = RESULTS[words['is'] ?? ''] ?? 'equal';
  return { ...rangeOf(words), result, target, value } as Compare;
}

/** Lines `if …`, `then …`, `else …`; two spaces deeper is a nested txn opened by `then txn` or `else txn`. */
export function parseTxn(lines: readonly string[]): TxnRequest {
  const compare: Compare[] = [];
  const success: TxnOp[] = [];
  const failure: TxnOp[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    const { name, args } = words(lines[i] ?? '');
    if (name === 'if') {
      compare.push(parseCompare(args));
      continue;
    }
    const branch = name === 'else' ? failure : success;
    const op = Object.keys(args)[0] ?? '';
    if (op !== 'txn') {
      branch.push(parseOp(op, args));
      continue;
    }
    const inner: string[] = [];
    while (lines[i + 1]?.startsWith('  ') === true) {
      i += 1;
      inner.push((lines[i] ?? '').slice(2));
    }
    branch.push(parseTxn(inner));
  }
  return { op: 'txn', compare, success, failure };
}

export function words(line: string): { name: string; args: Args } {
  const parts = line.trim().match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  const args: Args = {};
  for (const part of parts.slice(1)) {
    const equals = part.indexOf('=');
    if (equals < 0) args[part] = '';
    else args[part.slice(0, equals)] = part.slice(equals + 1).replace(/^"|"$/g, '');
  }
  return { name: parts[0] ?? '', args };
}

function leaseIds(args: Args): LeaseId[] {
  return (args['ids'] ?? '').split(',').map((text) => BigInt(text) as LeaseId);
}

/** A command about leases; undefined when the words are none. */
export function parseLeaseCommand(name: string, args: Args): LeaseCommand | undefined {
  const op = 'lease';
  const term = number(args, 'term') ?? 1;
  switch (name) {
    case 'grant':
      return { op, action: 'grant', id: leaseIds(args)[0] as LeaseId, ttlSeconds: 60 };
    case 'revoke': {
      const stage = (args['stage'] ?? 'alone') as RevokeStage;
      return { op, action: 'revoke', ids: leaseIds(args), stage, term };
    }
    case 'admit': {
      const leases = leaseIds(args).map((id) => ({ id, ttlSeconds: 60 }));
      return { op, action: 'admit', leases, permit: { term, seq: number(args, 'seq') ?? 0 } };
    }
    case 'drop': {
      const floor = number(args, 'floor') ?? 0;
      return { op, action: 'drop', ids: leaseIds(args), term, floor };
    }
    default:
      return undefined;
  }
}

export function parseRequest(name: string, args: Args, input: string): KvRequest {
  if (name === 'txn') return parseTxn(input === '' ? [] : input.split('\n'));
  if (name === 'compact') return { op: 'compact', revision: Number(args['rev']) };
  return parseOp(name, args) as KvRequest;
}

function showKv(kv: KeyValue): string {
  const lease = kv.lease === 0n ? '' : ` lease=${kv.lease}`;
  const value = fromUtf8(kv.value);
  const { createRevision, modRevision, version } = kv;
  const shown = value.length > 40 ? `${value.slice(0, 8)}…(${value.length})` : value;
  return `${fromUtf8(kv.key)}=${shown} create=${createRevision} mod=${modRevision} version=${version}${lease}`;
}

export function showResponse(response: KvResponse, indent = ''): string[] {
  const head = `${indent}${response.op} rev=${response.revision}`;
  switch (response.op) {
    case 'range': {
      const more = response.more ? ' more' : '';
      return [`${head} count=${response.count}${more}`, ...kvLines(response.kvs, indent)];
    }
    case 'put':
      return [head, ...(response.prevKv ? [`${indent}  prev ${showKv(response.prevKv)}`] : [])];
    case 'delete-range':
      return [`${head} deleted=${response.deleted}`, ...kvLines(response.prevKvs, indent)];
    case 'txn':
      return [
        `${head} ${response.succeeded ? 'succeeded' : 'failed'}`,
        ...response.responses.flatMap((inner) => showResponse(inner, `${indent}  `)),
      ];
    case 'compact':
      return [head];
  }
}

function kvLines(kvs: readonly KeyValue[], indent: string): string[] {
  return kvs.map((kv) => `${indent}  ${showKv(kv)}`);
}

export function showError(error: KvError): string {
  return `error ${error.code}: ${error.message}`;
}

export function showEvent(event: WatchEvent): string {
  const prev = event.prevKv === undefined ? '' : ` prev ${showKv(event.prevKv)}`;
  if (event.type === 'delete') {
    return `  delete ${fromUtf8(event.kv.key)} mod=${event.kv.modRevision}${prev}`;
  }
  return `  put ${showKv(event.kv)}${prev}`;
}

function tagOf(args: Args): SessionTag | undefined {
  if (args['client'] === undefined) return undefined;
  return {
    clientId: args['client'].padStart(32, '0'),
    seq: Number(args['seq']),
    ackedThrough: Number(args['acked'] ?? 0),
    retry: args['retry'] !== undefined,
  };
}

/** The commands of a script and what they print. */
export class Script {
  replica: TestReplica;
  private out: string[] = [];
  private readonly full = new Set<number>();

  constructor(limits: Partial<Limits> = {}) {
    this.replica = this.open(limits);
  }

  handle = ({ name, args, input }: DataDrivenCommand): string => {
    this.out = [];
    const command = this.commands[name];
    if (command === undefined) this.request(name, args, input);
    else command(args, input);
    return this.out.join('\n');
  };

  private readonly commands: Record<string, (args: Args, input: string) => void> = {
    open: (args) => {
      const limits = Object.entries(args).map(([key, value]) => [key, Number(value)]);
      this.replica = this.open(Object.fromEntries(limits) as Partial<Limits>);
    },
    batch: (_, input) => this.batch(input.split('\n')),
    leases: (args) => {
      const known = this.replica.run(this.replica.engine.leases());
      for (const { id, isEnding } of known) {
        const { gte, lt } = attachmentsOf(id);
        const scan = { kind: 'scan', gte, lt, limit: 100, bytesMax: 10_000 } as const;
        const rows = this.replica.store.answer(scan) as readonly (readonly Uint8Array[])[];
        const keys = rows.map(([key]) => fromUtf8(attachedKey(key as Uint8Array)));
        this.out.push(`${id}${isEnding === true ? ' ending' : ''}: ${keys.join(' ')}`.trim());
      }
      if (args['mark'] !== undefined) this.out.push(`mark ${this.leaseMark()}`);
    },
    physical: (args) => {
      const steps = number(args, 'steps') ?? Number.POSITIVE_INFINITY;
      this.out.push(`deleted ${this.replica.compactPhysically(steps)} rows`);
    },
    rows: () => this.rows(),
    restart: () => this.replica.restart(),
    advance: (args) => {
      this.replica.nowMs += Number(args['ms']);
    },
    sessions: () => this.out.push(`sessions ${this.replica.engine.sessionCount}`),
    hash: () => this.out.push(this.replica.run(this.replica.engine.stateHash()).hash),
    watch: (args) => this.watch(args),
    cancel: (args) => this.out.push(String(this.replica.hub.cancel(Number(args['id'])))),
    'catch-up': () => this.replica.catchUp(),
    full: (args) => this.full.add(Number(args['id'])),
    drain: (args) => {
      this.full.delete(Number(args['id']));
      this.replica.hub.resume(Number(args['id']));
    },
    progress: (args) => {
      const ids = (args['ids'] ?? '').split(',').map(Number);
      this.out.push(`progress ${this.replica.hub.progress(ids) ?? 'not synced'}`);
    },
    tick: () => this.replica.hub.progressTick(),
  };

  private open(limits: Partial<Limits>): TestReplica {
    return new TestReplica(limits, {
      deliver: (id, batch) => {
        if (this.full.has(id)) {
          this.out.push(`watch ${id}: refused`);
          return false;
        }
        this.out.push(`watch ${id}: rev=${batch.revision}`, ...batch.events.map(showEvent));
        return true;
      },
      moved: (id) => this.out.push(`watch ${id}: moved`),
      cancelled: (id, compactRevision) => {
        this.out.push(`watch ${id}: cancelled compactRevision=${compactRevision}`);
      },
    });
  }

  private leaseMark(): string {
    const row = this.replica.store.get(LEASE_MARK_KEY);
    const mark = row === undefined ? undefined : decodeLeaseMark(row);
    return mark?.ok === true ? `term=${mark.value.term} floor=${mark.value.floor}` : 'none';
  }

  private request(name: string, args: Args, input: string): void {
    const command = parseLeaseCommand(name, args);
    if (command !== undefined) {
      this.propose([{ request: command }]);
      return;
    }
    const request = parseRequest(name, args, input);
    const fault = validate(request, this.replica.limits);
    const { engine } = this.replica;
    if (fault !== undefined) {
      this.out.push(showError(fault));
    } else if (request.op === 'range') {
      const result = this.replica.run(engine.range(request));
      this.out.push(...(result.ok ? showResponse(result.value) : [showError(result.error)]));
    } else if (request.op === 'txn' && isReadOnly(request)) {
      const result = this.replica.run(engine.readTxn(request));
      this.out.push(...(result.ok ? showResponse(result.value) : [showError(result.error)]));
    } else {
      this.propose([{ request, ...defined({ session: tagOf(args) }) } as Proposal]);
    }
  }

  private batch(lines: readonly string[]): void {
    this.propose(
      lines.map((line) => {
        const { name, args } = words(line);
        const request = parseLeaseCommand(name, args) ?? parseRequest(name, args, '');
        return { request, ...defined({ session: tagOf(args) }) } as Proposal;
      }),
    );
  }

  private propose(proposals: readonly Proposal[]): void {
    const before = this.out;
    this.out = [];
    const results = this.replica.batch(proposals);
    const delivered = this.out;
    this.out = before;
    for (const result of results) {
      this.out.push(...(result.ok ? showResponse(result.response) : [showError(result.error)]));
    }
    if (this.replica.lastPayload === undefined) this.out.push('(nothing logged)');
    this.out.push(...delivered);
  }

  private rows(): void {
    const counts = new Map<string, number>();
    for (const text of this.replica.store.keys()) {
      const prefix = String.fromCharCode(Number.parseInt(text.slice(0, 2), 16));
      counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
    }
    this.out.push([...counts].map(([prefix, count]) => `${prefix}:${count}`).join(' '));
  }

  private watch(args: Args): void {
    const filters = args['filters']?.split(',') as readonly WatchFilter[] | undefined;
    const { hub, engine } = this.replica;
    const request = defined({
      ...rangeOf(args),
      startRevision: number(args, 'rev'),
      prevKv: flag(args, 'prev-kv'),
      progressNotify: flag(args, 'progress'),
      filters,
    }) as Parameters<typeof hub.add>[1];
    const added = hub.add(Number(args['id']), request, engine.revision);
    const compacted = added.ok ? undefined : added.error.details.compactRevision;
    const detail = compacted === undefined ? '' : ` (compactRevision=${compacted})`;
    this.out.push(
      added.ok ? `created from ${added.value.startRevision}` : showError(added.error) + detail,
    );
  }
}
