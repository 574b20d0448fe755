import {
  assert,
  concatBytes,
  equalBytes,
  fromUtf8,
  type LeaderId,
  type LogIndex,
  type LogOffset,
  leaderId,
  logIndex,
  logOffset,
  type MemberId,
  memberId,
  term,
  utf8,
} from '@kvorum/base';
import {
  type AcceptedState,
  type AppendSettled,
  decodeGenesis,
  decodeMembership,
  emptyAcceptedState,
  encodeGenesis,
  encodeMembership,
  type HardState,
  Raft,
  type RaftEffect,
  type RaftInput,
  type RaftMessage,
  type ReadRecord,
  type UnreadableRecord,
} from '@kvorum/raft';

export type LogRecord = ReadRecord | UnreadableRecord;
type AppendEffect = Extract<RaftEffect, { kind: 'append' }>;

export interface Envelope {
  readonly from: number;
  readonly to: number;
  readonly message: RaftMessage;
}

/** What the "disk" of a member keeps over a crash. */
interface Disk {
  hard: HardState;
  accepted: AcceptedState;
  membership: { readonly voters: readonly MemberId[]; readonly learners: readonly MemberId[] };
  configIndex: LogIndex;
}

export interface SimMember {
  readonly id: number;
  readonly disk: Disk;
  raft: Raft;
  /** Of the log that its process reads. */
  generation: number;
  leaderId: LeaderId;
  bootCount: number;
  up: boolean;
  /** Next offset to read while following. */
  follow: number | undefined;
  /** The append in flight. */
  append: ReadRecord | undefined;
  /** Appends of unknown outcome that may still land. */
  readonly zombies: ReadRecord[];
  /** Writes under way and the messages held behind them. */
  readonly outbox: (HardState | Envelope)[];
}

export interface ClusterOptions {
  readonly voters: number;
  readonly learners: number;
  readonly random: (member: number, fromInclusive: number, toExclusive: number) => number;
  readonly onEffect: (member: SimMember, effect: RaftEffect) => void;
}

export const HEARTBEAT_MS = 100;
export const ELECTION_MS_MIN = 1000;
export const ELECTION_MS_MAX = 2000;
export const SHARD_UID: Uint8Array = utf8('shard');

/** A cluster of raft cores around one simulated log; nothing moves unless a test moves it. */
export class Cluster {
  nowMs = 0;
  /** Of the log that members which start now read. */
  generation = 0;
  readonly #logs: LogRecord[][] = [[]];
  logStart = 0;
  readonly members = new Map<number, SimMember>();
  net: Envelope[] = [];
  readonly #options: ClusterOptions;

  constructor(options: ClusterOptions) {
    this.#options = options;
    const ids = Array.from({ length: options.voters + options.learners }, (_, at) => at + 1);
    const membership = {
      voters: ids.slice(0, options.voters).map((id) => memberId(BigInt(id))),
      learners: ids.slice(options.voters).map((id) => memberId(BigInt(id))),
    };
    for (const id of ids) this.addMember(id, membership);
  }

  /** The log of the present generation. */
  get log(): LogRecord[] {
    return this.#logOf(this.generation);
  }

  #logOf(generation: number): LogRecord[] {
    this.#logs[generation] ??= [];
    return this.#logs[generation];
  }

  addMember(id: number, membership: Disk['membership']): void {
    const hard = { term: term(0), vote: undefined };
    const disk: Disk = {
      hard,
      accepted: emptyAcceptedState(),
      membership,
      configIndex: logIndex(0),
    };
    const boot = leaderIdOf(id, 1);
    const member: SimMember = {
      id,
      disk,
      generation: this.generation,
      leaderId: boot,
      raft: this.#createRaft(id, boot, disk),
      bootCount: 1,
      up: true,
      follow: undefined,
      append: undefined,
      zombies: [],
      outbox: [],
    };
    this.members.set(id, member);
    this.#run(member, member.raft.start());
  }

  member(id: number): SimMember {
    const member = this.members.get(id);
    assert(member !== undefined, `no member ${id}`);
    return member;
  }

  step(member: SimMember, input: RaftInput): void {
    if (!member.up) return;
    const effects = member.raft.step(input, this.nowMs);
    member.raft.checkInvariants();
    this.#run(member, effects);
  }

  tick(member: SimMember): void {
    this.step(member, { kind: 'tick' });
  }

  deliver(envelope: Envelope): void {
    const { from, to, message } = envelope;
    const member = this.members.get(to);
    // The shell drops what comes from another generation.
    if (member !== undefined && this.members.get(from)?.generation === member.generation) {
      this.step(member, { kind: 'message', from: memberId(BigInt(from)), message });
    }
  }

  /** Completes the oldest write and releases the messages behind it. */
  persist(member: SimMember): void {
    const [first] = member.outbox;
    if (first === undefined || 'message' in first) return;
    member.outbox.shift();
    member.disk.hard = first;
    let next = member.outbox[0];
    while (next !== undefined && 'message' in next) {
      member.outbox.shift();
      this.net.push(next);
      next = member.outbox[0];
    }
    this.step(member, { kind: 'hard-state-persisted', ...first });
  }

  /** Reads up to `max` records for a following member. */
  poll(member: SimMember, max: number): boolean {
    if (!member.up || member.follow === undefined) return false;
    const from = member.follow;
    const log = this.#logOf(member.generation);
    const logStart = member.generation === this.generation ? this.logStart : 0;
    if (from < logStart || from > log.length) {
      const [start, end] = [logOffset(logStart), logOffset(log.length)];
      this.step(member, { kind: 'log-out-of-range', start, end });
      return true;
    }
    const records = log.slice(from, from + max);
    if (records.length === 0) return false;
    const nextOffset = logOffset(from + records.length);
    member.follow = nextOffset;
    this.step(member, { kind: 'records', records, nextOffset });
    return true;
  }

  /** Answers the append in flight; `lands` = the record is written to the log now. */
  settle(member: SimMember, kind: 'appended' | 'unknown' | 'absent', lands: boolean): void {
    const record = member.append;
    if (record === undefined) return;
    member.append = undefined;
    let outcome: AppendSettled;
    if (kind === 'appended') outcome = { kind, offset: this.write(record, member.generation) };
    else if (kind === 'absent') outcome = { kind, oversize: false };
    else outcome = { kind };
    if (kind === 'unknown') {
      if (lands) this.write(record, member.generation);
      else member.zombies.push(record);
    }
    this.step(member, { kind: 'append-settled', outcome, digest: record.digest });
  }

  /** An earlier append of unknown outcome reaches the log after all. */
  land(member: SimMember): LogOffset | undefined {
    const record = member.zombies.shift();
    return record === undefined ? undefined : this.write(record, member.generation);
  }

  write(record: LogRecord, generation = this.generation): LogOffset {
    const log = this.#logOf(generation);
    const offset = logOffset(log.length);
    log.push({ ...record, offset });
    return offset;
  }

  crash(member: SimMember): void {
    if (!member.up) return;
    member.up = false;
    member.outbox.length = 0;
    member.follow = undefined;
    if (member.append !== undefined) member.zombies.push(member.append);
    member.append = undefined;
  }

  restart(member: SimMember, options: { readonly wipeVotes: boolean }): void {
    this.crash(member);
    if (options.wipeVotes) member.disk.hard = { term: term(0), vote: undefined };
    member.bootCount += 1;
    member.up = true;
    member.leaderId = leaderIdOf(member.id, member.bootCount);
    member.generation = this.generation;
    member.raft = this.#createRaft(member.id, member.leaderId, member.disk);
    this.#run(member, member.raft.start());
  }

  /** What the shell of a chosen member does: it begins the present generation with the state on its disk. */
  genesis(member: SimMember, voters: readonly number[]): void {
    const { accepted, hard } = member.disk;
    const payload = encodeGenesis({
      parentGeneration: accepted.generation,
      parentOffset: accepted.offset,
      index: accepted.index,
      membership: { voters: voters.map((id) => memberId(BigInt(id))), learners: [] },
      writeSet: new Uint8Array(0),
    });
    const record = {
      kind: 'genesis',
      term: term(Math.max(1, hard.term)),
      seq: 0,
      prevHash: accepted.chainHash,
      payload,
    } as const;
    this.write({ ...recordOf(record, member.leaderId), generation: this.generation });
  }

  /** Another process puts a copy of another member's state in place of this one's. */
  install(member: SimMember, source: SimMember): void {
    const { accepted, configIndex, membership } = source.disk;
    Object.assign(member.disk, { accepted, configIndex, membership });
    this.restart(member, { wipeVotes: false });
  }

  #createRaft(id: number, boot: LeaderId, disk: Disk): Raft {
    const { random } = this.#options;
    const config = {
      self: memberId(BigInt(id)),
      leaderId: boot,
      shardUid: SHARD_UID,
      generation: this.generation,
      ...disk.membership,
      configIndex: disk.configIndex,
      heartbeatMs: HEARTBEAT_MS,
      electionMsMin: ELECTION_MS_MIN,
      electionMsMax: ELECTION_MS_MAX,
      firstElectionMs: random(id, ELECTION_MS_MIN, ELECTION_MS_MAX),
      random: (from: number, to: number) => random(id, from, to),
      chain: toyChain,
    };
    return new Raft(config, disk, this.nowMs);
  }

  #run(member: SimMember, effects: readonly RaftEffect[]): void {
    for (const effect of effects) {
      this.#carryOut(member, effect);
      this.#options.onEffect(member, effect);
    }
  }

  #carryOut(member: SimMember, effect: RaftEffect): void {
    switch (effect.kind) {
      case 'persist-hard-state':
        member.outbox.push({ term: effect.term, vote: effect.vote });
        return;
      case 'send': {
        const { message, after } = effect;
        const envelope = { from: member.id, to: Number(effect.to), message };
        const waits = after === 'persist' && member.outbox.length > 0;
        (waits ? member.outbox : this.net).push(envelope);
        return;
      }
      case 'append':
        assert(member.append === undefined, 'two appends in flight');
        member.append = {
          ...recordOf(effect.record, member.leaderId),
          generation: member.generation,
        };
        return;
      case 'follow-log':
        member.follow = effect.from;
        return;
      case 'stop-following':
        member.follow = undefined;
        return;
      case 'accept':
        member.disk.accepted = effect.state;
        if (effect.record.kind === 'config') {
          const decoded = decodeMembership(effect.record.payload);
          assert(decoded.ok, 'accepted config decodes');
          member.disk.membership = decoded.value;
          member.disk.configIndex = effect.state.index;
        }
        if (effect.record.kind === 'genesis') {
          const decoded = decodeGenesis(effect.record.payload);
          assert(decoded.ok, 'accepted genesis decodes');
          member.disk.membership = decoded.value.membership;
          member.disk.configIndex = effect.state.index;
        }
        return;
      case 'halted':
        member.follow = undefined;
        return;
      default:
        return;
    }
  }
}

function leaderIdOf(id: number, boot: number): LeaderId {
  const hex = (value: number): string => value.toString(16).padStart(16, '0');
  return leaderId(`${hex(id)}${hex(boot)}`);
}

/** A record as it would be read back; its digest is its own text, so that traces are readable. */
export function recordOf(record: AppendEffect['record'], leader: LeaderId): ReadRecord {
  const name = `${leader.slice(15, 16)}.${leader.slice(31)}`;
  const digest = concatBytes(
    utf8(`${record.kind} ${name} t${record.term} s${record.seq} `),
    record.payload,
    record.prevHash,
  );
  const offset = logOffset(-1);
  return { ...record, offset, digest, shardUid: SHARD_UID, generation: 0, leaderId: leader };
}

/** A toy chain of two bytes (FNV-1a folded): short enough to read in a trace. */
export function toyChain(chainHash: Uint8Array, digest: Uint8Array): Uint8Array {
  let hash = 0x811c9dc5;
  for (const byte of concatBytes(chainHash, digest)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return new Uint8Array([hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255]);
}

export function membershipPayload(
  voters: readonly number[],
  learners: readonly number[],
): Uint8Array {
  const ids = (list: readonly number[]): MemberId[] => list.map((id) => memberId(BigInt(id)));
  return encodeMembership({ voters: ids(voters), learners: ids(learners) });
}

export function payloadText(payload: Uint8Array): string {
  return fromUtf8(payload);
}

export function samePayload(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b);
}
