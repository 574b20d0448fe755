import {
  assert,
  fromHex,
  leaderId,
  logIndex,
  logOffset,
  memberId,
  toHex,
  term as toTerm,
  utf8,
} from '@kvorum/base';
import { type RaftEffect, truncationFloor, ZERO_HASH } from '@kvorum/raft';
import type { DataDrivenCommand } from '@kvorum/testkit';
import {
  Cluster,
  ELECTION_MS_MAX,
  type Envelope,
  membershipPayload,
  recordOf,
  type SimMember,
} from './cluster.ts';
import { describeEffect, describePayload } from './describe.ts';

type Args = DataDrivenCommand['args'];

/** How a member's disk and log behave in a trace until told otherwise. */
interface Manners {
  append: 'ok' | 'hold' | 'landed-unknown' | 'lost-unknown' | 'absent';
  reads: boolean;
  persists: boolean;
}

const RUN_STEP_MS = 50;
const QUIET_KINDS: ReadonlySet<string> = new Set([
  'persist-hard-state',
  'send',
  'follow-log',
  'stop-following',
]);

/**
 * A cluster driven by the commands of a trace file. Writes to disk, reads of the log and appends happen at once unless
 * `set` says otherwise; messages move only by `deliver`, `drop` and `run`.
 */
export class TraceHarness {
  #cluster: Cluster | undefined;
  readonly #manners = new Map<number, Manners>();
  readonly #isolated = new Set<number>();
  #out: string[] = [];
  #quiet = false;

  run(command: DataDrivenCommand): string {
    this.#out = [];
    this.#quiet = command.name === 'run' || command.name === 'elect';
    if (command.name === 'cluster') this.#create(command.args);
    else this.#dispatch(command.name, command.args);
    if (command.name !== 'state' && command.name !== 'log') this.#settleDown();
    return this.#out.join('\n');
  }

  #create(args: Args): void {
    this.#manners.clear();
    this.#isolated.clear();
    const voters = number(args, 'voters');
    const learners = Number(args['learners'] ?? 0);
    for (let id = 1; id <= voters + learners; id += 1) {
      this.#manners.set(id, { append: 'ok', reads: true, persists: true });
    }
    // Member 1 has the shortest time-outs, then member 2 and so on.
    const random = (id: number, from: number, to: number): number =>
      from === 0 ? 0 : from + Math.floor(((to - from) * (id - 1)) / (voters + learners));
    this.#cluster = new Cluster({
      voters,
      learners,
      random,
      onEffect: (member, effect) => this.#note(member, effect),
    });
  }

  #dispatch(name: string, args: Args): void {
    const cluster = this.#get();
    const handler = COMMANDS[name];
    if (handler !== undefined) {
      handler(cluster, args);
      return;
    }
    switch (name) {
      case 'set':
        this.#set(args);
        return;
      case 'deliver':
        this.#deliver(args);
        return;
      case 'drop':
        cluster.net = cluster.net.filter((envelope) => !matches(envelope, args));
        return;
      case 'isolate':
        this.#isolated.add(number(args, 'member'));
        return;
      case 'heal':
        this.#isolated.clear();
        return;
      case 'run':
        this.#runFor(number(args, 'ms'), args);
        return;
      case 'elect':
        this.#elect(cluster.member(number(args, 'member')));
        return;
      case 'state':
        for (const member of cluster.members.values()) this.#out.push(describeMember(member));
        return;
      case 'can-change':
        this.#out.push(String(cluster.member(number(args, 'member')).raft.canChangeMembership()));
        return;
      case 'floor':
        this.#out.push(describeFloor(cluster, args));
        return;
      case 'log':
        this.#out.push(...describeLog(cluster));
        return;
      default:
        assert(false, `unknown command ${name}`);
    }
  }

  #set(args: Args): void {
    for (const id of ids(args['member'] ?? '')) {
      const manners = this.#mannersOf(id);
      if (args['append'] !== undefined) manners.append = appendManner(args['append']);
      if (args['reads'] !== undefined) manners.reads = args['reads'] === 'yes';
      if (args['persists'] !== undefined) manners.persists = args['persists'] === 'yes';
    }
  }

  /** Delivers what is queued now, not what the deliveries cause; `all` goes on until nothing is left. */
  #deliver(args: Args): void {
    const cluster = this.#get();
    let rest = 'all' in args ? 20 : 1;
    while (rest > 0 && cluster.net.some((envelope) => matches(envelope, args))) {
      rest -= 1;
      const moving = cluster.net.filter((envelope) => matches(envelope, args));
      if (!('keep' in args)) cluster.net = cluster.net.filter((one) => !moving.includes(one));
      for (const envelope of moving) {
        const cut = this.#isolated.has(envelope.from) || this.#isolated.has(envelope.to);
        if (!cut) cluster.deliver(envelope);
      }
      this.#settleDown();
    }
  }

  #runFor(ms: number, args: Args): void {
    const cluster = this.#get();
    const end = cluster.nowMs + ms;
    while (cluster.nowMs < end) {
      cluster.nowMs += RUN_STEP_MS;
      for (const member of cluster.members.values()) {
        if (args['member'] === undefined || ids(args['member']).includes(member.id)) {
          cluster.tick(member);
        }
      }
      this.#settleDown();
      this.#deliver({ all: '' });
    }
  }

  /** Only this member's election timer runs out. */
  #elect(member: SimMember): void {
    const cluster = this.#get();
    cluster.nowMs += 2 * ELECTION_MS_MAX;
    cluster.tick(member);
    this.#settleDown();
    this.#deliver({ all: '' });
  }

  /** Completes disk writes, appends and reads as the manners allow, until nothing moves. */
  #settleDown(): void {
    const cluster = this.#get();
    let moved = true;
    while (moved) {
      moved = false;
      for (const member of cluster.members.values()) {
        const manners = this.#mannersOf(member.id);
        while (manners.persists && member.outbox.length > 0) cluster.persist(member);
        if (member.append !== undefined && manners.append !== 'hold') {
          moved = true;
          settle(cluster, member, manners.append);
        }
        while (manners.reads && cluster.poll(member, 100)) moved = true;
      }
    }
  }

  #mannersOf(id: number): Manners {
    const known = this.#manners.get(id);
    if (known !== undefined) return known;
    const manners: Manners = { append: 'ok', reads: true, persists: true };
    this.#manners.set(id, manners);
    return manners;
  }

  #note(member: SimMember, effect: RaftEffect): void {
    if (this.#quiet && QUIET_KINDS.has(effect.kind)) return;
    this.#out.push(`${member.id} ${describeEffect(effect)}`);
  }

  #get(): Cluster {
    assert(this.#cluster !== undefined, 'a trace starts with cluster');
    return this.#cluster;
  }
}

type Handler = (cluster: Cluster, args: Args) => void;

const COMMANDS: Readonly<Record<string, Handler>> = {
  tick: (cluster, args) => {
    cluster.nowMs += number(args, 'ms');
    for (const member of chosen(cluster, args)) cluster.tick(member);
  },
  propose: (cluster, args) => {
    const member = cluster.member(number(args, 'member'));
    const voters = args['voters'];
    if (voters === undefined) {
      const payload = utf8(args['data'] ?? '');
      cluster.step(member, { kind: 'propose', record: 'batch', payload });
    } else {
      const payload = membershipPayload(ids(voters), ids(args['learners'] ?? ''));
      cluster.step(member, { kind: 'propose', record: 'config', payload });
    }
  },
  read: (cluster, args) => {
    const readId = number(args, 'id');
    cluster.step(cluster.member(number(args, 'member')), { kind: 'read', readId });
  },
  accepted: (cluster, args) => {
    // What a member says that errs, or that a network delivers late.
    const [from, to] = [number(args, 'from'), number(args, 'to')];
    const [term, index] = [toTerm(number(args, 'term')), logIndex(number(args, 'index'))];
    cluster.deliver({ from, to, message: { kind: 'accepted', term, index } });
  },
  transfer: (cluster, args) => {
    const target = memberId(BigInt(number(args, 'target')));
    cluster.step(cluster.member(number(args, 'member')), { kind: 'transfer', target });
  },
  watched: (cluster, args) => {
    for (const member of chosen(cluster, args)) {
      cluster.step(member, { kind: 'eager', eager: true });
    }
  },
  durable: (cluster, args) => {
    const pin = args['pin'] === undefined ? undefined : logOffset(Number(args['pin']));
    const offset = logOffset(number(args, 'offset'));
    for (const member of chosen(cluster, args)) {
      cluster.step(member, { kind: 'durable', offset, pin });
    }
  },
  'await-snapshot': (cluster, args) => {
    cluster.step(cluster.member(number(args, 'member')), { kind: 'await-snapshot' });
  },
  peer: (cluster, args) => {
    const peer = memberId(BigInt(number(args, 'peer')));
    const reachable = args['reachable'] === 'yes';
    for (const member of chosen(cluster, args)) {
      cluster.step(member, { kind: 'peer-reachability', peer, reachable });
    }
  },
  'log-reachable': (cluster, args) => {
    const reachable = 'yes' in args;
    for (const member of chosen(cluster, args)) {
      cluster.step(member, { kind: 'log-reachable', reachable });
    }
  },
  'out-of-range': (cluster, args) => {
    const [start, end] = [logOffset(number(args, 'start')), logOffset(number(args, 'end'))];
    cluster.step(cluster.member(number(args, 'member')), { kind: 'log-out-of-range', start, end });
  },
  settle: (cluster, args) => {
    settle(cluster, cluster.member(number(args, 'member')), args['outcome'] ?? 'ok');
  },
  land: (cluster, args) => {
    cluster.land(cluster.member(number(args, 'member')));
  },
  'land-in-flight': (cluster, args) => {
    // The record is in the log for everybody to read; its answer is still under way.
    const { append } = cluster.member(number(args, 'member'));
    assert(append !== undefined, 'no append in flight');
    cluster.write(append);
  },
  'append-answer': (cluster, args) => {
    // An answer with an offset of its own choice: what a deduplicating producer or a shrunken log would give.
    const member = cluster.member(number(args, 'member'));
    const digest = member.append?.digest ?? new Uint8Array(0);
    member.append = undefined;
    const outcome = { kind: 'appended', offset: logOffset(number(args, 'offset')) } as const;
    cluster.step(member, { kind: 'append-settled', outcome, digest });
  },
  forge: (cluster, args) => forge(cluster, args),
  rewrite: (cluster, args) => {
    cluster.log.length = number(args, 'from');
  },
  truncate: (cluster, args) => {
    cluster.logStart = number(args, 'start');
  },
  crash: (cluster, args) => {
    for (const member of chosen(cluster, args)) cluster.crash(member);
  },
  restart: (cluster, args) => {
    for (const member of chosen(cluster, args)) {
      cluster.restart(member, { wipeVotes: 'wipe-votes' in args });
    }
  },
  generation: (cluster, args) => {
    // The shard map says so; members see it when they open their replica anew.
    cluster.generation = number(args, 'is');
  },
  genesis: (cluster, args) => {
    cluster.genesis(cluster.member(number(args, 'member')), ids(args['voters'] ?? ''));
  },
  install: (cluster, args) => {
    const source = cluster.member(number(args, 'from'));
    for (const member of chosen(cluster, args)) cluster.install(member, source);
  },
  halt: (cluster, args) => {
    const [reason, detail] = [args['reason'] ?? '', args['detail'] ?? ''];
    cluster.step(cluster.member(number(args, 'member')), { kind: 'halt', reason, detail });
  },
};

function settle(cluster: Cluster, member: SimMember, how: string): void {
  if (how === 'ok') cluster.settle(member, 'appended', true);
  else if (how === 'landed-unknown') cluster.settle(member, 'unknown', true);
  else if (how === 'lost-unknown') cluster.settle(member, 'unknown', false);
  else if (how === 'oversize') {
    const digest = member.append?.digest ?? new Uint8Array(0);
    member.append = undefined;
    const outcome = { kind: 'absent', oversize: true } as const;
    cluster.step(member, { kind: 'append-settled', outcome, digest });
  } else cluster.settle(member, 'absent', false);
}

function forge(cluster: Cluster, args: Args): void {
  const offset = logOffset(cluster.log.length);
  if ('unreadable' in args) {
    cluster.write({ offset, unreadable: 'unknown-version' });
    return;
  }
  const [member, boot] = (args['leader'] ?? '1.1').split('.');
  const hex = (text: string | undefined): string => (text ?? '1').padStart(16, '0');
  const kind = args['kind'] === 'barrier' ? 'barrier' : 'batch';
  const record = {
    term: toTerm(number(args, 'term')),
    seq: Number(args['seq'] ?? 0),
    prevHash: fromHex(args['prev'] ?? '') ?? ZERO_HASH,
    kind,
    payload: utf8(args['data'] ?? ''),
  } as const;
  const made = recordOf(record, leaderId(`${hex(member)}${hex(boot)}`));
  const shardUid = args['shard'] === undefined ? made.shardUid : utf8(args['shard']);
  cluster.write({ ...made, shardUid, generation: Number(args['generation'] ?? 0) });
}

function number(args: Args, name: string): number {
  const value = Number(args[name]);
  assert(Number.isSafeInteger(value), `argument ${name} is not a number`);
  return value;
}

function ids(list: string): readonly number[] {
  return list === '' ? [] : list.split(',').map(Number);
}

function chosen(cluster: Cluster, args: Args): readonly SimMember[] {
  const { member } = args;
  if (member === undefined) return [...cluster.members.values()];
  return ids(member).map((id) => cluster.member(id));
}

function matches(envelope: Envelope, args: Args): boolean {
  const { from, to, kind } = args;
  if (from !== undefined && Number(from) !== envelope.from) return false;
  if (to !== undefined && Number(to) !== envelope.to) return false;
  return kind === undefined || kind === envelope.message.kind;
}

function appendManner(text: string): Manners['append'] {
  const manners = ['ok', 'hold', 'landed-unknown', 'lost-unknown', 'absent'] as const;
  const found = manners.find((manner) => manner === text);
  assert(found !== undefined, `unknown append manner ${text}`);
  return found;
}

function describeMember(member: SimMember): string {
  if (!member.up) return `${member.id} down`;
  const { role, term, leader, accepted, proposalOpen, halted, awaitingSnapshot } =
    member.raft.status();
  const flags = [
    proposalOpen ? ' open' : '',
    member.follow === undefined ? '' : ' following',
    awaitingSnapshot === undefined ? '' : ` awaits-snapshot=${awaitingSnapshot}`,
    halted === undefined ? '' : ` halted=${halted.reason}`,
  ].join('');
  const history = `index=${accepted.index} offset=${accepted.offset} hash=${toHex(accepted.chainHash.slice(0, 4))}`;
  return `${member.id} ${role} term=${term} leader=${leader ?? '-'} ${history}${flags}`;
}

function describeFloor(cluster: Cluster, args: Args): string {
  const member = cluster.member(number(args, 'member'));
  const excluded = ids(args['excluded'] ?? '').map((id) => memberId(BigInt(id)));
  const self = memberId(BigInt(member.id));
  const found = truncationFloor(member.raft.status(), self, excluded);
  if (found === undefined) return 'nothing may be truncated';
  return `floor=${found.floor} excluded=${found.excluded.join(',') || 'nobody'}`;
}

function describeLog(cluster: Cluster): readonly string[] {
  return cluster.log.map((record) => {
    if ('unreadable' in record) return `${record.offset} ${record.unreadable}`;
    const { offset, kind, term, seq, payload } = record;
    const leader = `${Number(`0x${record.leaderId.slice(8, 16)}`)}.${Number(`0x${record.leaderId.slice(24)}`)}`;
    return `${offset} ${kind} term=${term} leader=${leader} seq=${seq}${describePayload(kind, payload)}`;
  });
}
