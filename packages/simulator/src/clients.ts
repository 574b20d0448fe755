import {
  formatId,
  type KvError,
  type Origin,
  originOf,
  type SessionTag,
  type ShardId,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { CommandResult, Replica } from '@kvorum/replica';
import type { Audit } from './audit.ts';
import { describeOp, describeOutcome, type History, type Op, type Outcome } from './history.ts';
import type { SimMember } from './member.ts';
import { fixedRouting, type Routing } from './moves/routing.ts';
import { found, keyOf, listRequest, outcomeOf, pastRequest, writeRequest } from './requests.ts';
import type { World } from './world.ts';

const LINK_MS_MAX = 5;
const THINK_MS_MAX = 120;
const BACKOFF_MS_MAX = 300;
const TIMEOUT_MS = [500, 2000, 5000] as const;
/** Of a thousand requests to members, and of answers from them. */
const LOST_PER_MILLE = 5;
/** Others are stuck somewhere for up to this long: another attempt may overtake them. */
const STUCK_MS_MAX = 6000;

export interface ClientParts {
  readonly world: World;
  readonly history: History;
  readonly audit: Audit;
  readonly keys: number;
  /** Of a thousand requests and answers, so many are stuck for a while. */
  readonly stuckPerMille: number;
  /** By default nothing moves. */
  readonly routing?: Routing;
}

/**
 * The session cannot tell any more. KV_SESSION_EXPIRED also comes when no command of the session was ever decided: the shard cannot
 * know that.
 */
const LAST_WORDS: ReadonlySet<string> = new Set(['KV_RESULT_DROPPED', 'KV_SESSION_EXPIRED']);

/** Asking again changes nothing: the shard is halted, or its session table is full of others. */
const HOPELESS: ReadonlySet<string> = new Set(['KV_HALTED', 'KV_TOO_MANY_REQUESTS']);

/** Answer of one attempt; `code` names the error. `decided`: by the shard's log, which has not the key any more. */
type Answer = Outcome & { readonly decided?: boolean };

/** The exactly-once session of a client with one shard. */
class Session {
  readonly #clientId: string;
  readonly #open = new Set<number>();
  #seq = 0;

  constructor(clientId: string) {
    this.#clientId = clientId;
  }

  begin(): number {
    this.#seq += 1;
    this.#open.add(this.#seq);
    return this.#seq;
  }

  end(seq: number): void {
    this.#open.delete(seq);
  }

  tag(seq: number, retry: boolean): SessionTag {
    const ackedThrough = Math.min(...this.#open) - 1;
    return { clientId: this.#clientId, seq, ackedThrough, retry };
  }
}

/**
 * A client of the simulated cluster: several lanes, each with one operation at a time. With a session it sends a write again until it
 * knows the outcome, wherever leadership went; without one it takes the first answer.
 */
export class SimClient {
  readonly name: string;
  readonly #parts: ClientParts;
  readonly #rng: Rng;
  readonly #sessions: ReadonlyMap<ShardId, Session> | undefined;
  readonly #lastSeen = new Map<string, string | undefined>();
  readonly #hints = new Map<ShardId, SimMember>();
  #values = 0;
  #issuing = true;
  #busyLanes = 0;
  #stuck = 0;
  readonly #routing: Routing;

  /** Every other one has a name: both forms of a record are replayed everywhere. */
  readonly #origin: Origin | undefined;

  constructor(parts: ClientParts, index: number, rng: Rng) {
    this.#parts = parts;
    this.#rng = rng;
    this.#routing = parts.routing ?? fixedRouting(parts.world);
    this.name = `c${index}`;
    this.#origin = index % 2 === 0 ? originOf('', this.name) : undefined;
    const withSession = rng.integer(0, 3) > 0;
    const clientId = (index + 1).toString(16).padStart(32, '0');
    const sessions = parts.world.shards.map((shard) => [shard, new Session(clientId)] as const);
    this.#sessions = withSession ? new Map(sessions) : undefined;
  }

  get idle(): boolean {
    return this.#busyLanes === 0 && this.#stuck === 0;
  }

  start(): void {
    for (let lane = this.#rng.integer(1, 4); lane > 0; lane -= 1) {
      this.#busyLanes += 1;
      void this.#lane();
    }
  }

  /** Begins nothing new; what is open is brought to its end. */
  finish(): void {
    this.#issuing = false;
  }

  async #lane(): Promise<void> {
    while (this.#issuing) {
      await this.#sleep(this.#rng.integer(0, THINK_MS_MAX));
      const { groups } = this.#routing;
      const shard = groups[this.#rng.integer(0, groups.length)] as ShardId;
      await this.#operate(shard, this.#draw(shard));
    }
    this.#busyLanes -= 1;
  }

  #draw(shard: ShardId): Op {
    const { keys } = this.#parts;
    const key = keyOf(shard, this.#rng.integer(0, keys));
    const roll = this.#rng.integer(0, 100);
    if (roll < 35) return { kind: 'put', key, value: this.#value() };
    if (roll < 50) {
      return { kind: 'swap', key, expected: this.#lastSeen.get(key), value: this.#value() };
    }
    if (roll < 55) return { kind: 'delete', key };
    if (roll < 62 && keys > 1) {
      const other = keyOf(shard, (Number(key.split('/k')[1]) + 1) % keys);
      return { kind: 'pair', keys: [key, other], value: this.#value() };
    }
    if (roll < 90) return { kind: 'get', key };
    if (roll < 95) return { kind: 'list', stale: false };
    if (roll < 96) return { kind: 'list', stale: true };
    const status = this.#leaderOf(this.#routing.shardOf(shard))?.status();
    const revision = status?.revision ?? 1;
    if (roll < 98) {
      // What compaction may remove lies just above and below the revision that it leaves readable.
      const edge = this.#rng.integer(0, 2) === 0 ? (status?.compactRevision ?? 1) : undefined;
      const at = edge ?? revision - this.#rng.integer(0, 40);
      return { kind: 'past', key, revision: Math.max(1, at) };
    }
    return { kind: 'compact', revision: Math.max(1, revision - this.#rng.integer(0, 30)) };
  }

  #leaderOf(shard: ShardId): Replica | undefined {
    return this.#parts.world.leader(shard)?.replica(shard);
  }

  #value(): string {
    this.#values += 1;
    return `${this.name}.${this.#values}`;
  }

  async #operate(shard: ShardId, op: Op): Promise<void> {
    const { history, world } = this.#parts;
    const record = history.begin(this.name, shard, op, world.clock.nowMs());
    world.trace.line(this.name, `#${record.id} ${describeOp(op)}`);
    const request = writeRequest(op);
    const outcome =
      request === undefined ? await this.#read(shard, op) : await this.#write(shard, op, request);
    history.finish(record, outcome);
    world.trace.line(this.name, `#${record.id} ${describeOutcome(outcome)}`);
    this.#learn(op, outcome);
  }

  /** Remembers values for later swaps: right ones, so that they succeed now and then. */
  #learn(op: Op, outcome: Outcome): void {
    if (outcome.kind !== 'ok' || op.kind === 'list') return;
    if (op.kind === 'compact' || op.kind === 'past') return;
    if (op.kind === 'pair') {
      for (const key of op.keys) this.#lastSeen.set(key, op.value);
    } else if (op.kind === 'put' || (op.kind === 'swap' && outcome.changed)) {
      this.#lastSeen.set(op.key, op.value);
    } else {
      this.#lastSeen.set(op.key, outcome.found.get(op.key)?.split('@')[0]);
    }
  }

  async #write(group: ShardId, op: Op, request: WriteRequest): Promise<Outcome> {
    for (;;) {
      const shard = this.#routing.shardOf(group);
      const answer = await this.#writeTo(shard, op, request);
      // It was never, and will never be, decided there: it is a new write for the shard that has the key now.
      const again = answer.kind !== 'ok' && answer.decided === true && this.#issuing;
      if (!again) return answer;
      await this.#sleep(this.#rng.integer(0, BACKOFF_MS_MAX));
    }
  }

  async #writeTo(shard: ShardId, op: Op, request: WriteRequest): Promise<Answer> {
    const session = op.kind === 'compact' ? undefined : this.#sessions?.get(shard);
    if (session === undefined) {
      return this.#attempt(shard, (replica, member, done) => {
        this.#submit(replica, member, { request, session: undefined }, done);
      });
    }
    const seq = session.begin();
    let doubtful: Outcome | undefined;
    for (let attempt = 1; ; attempt += 1) {
      const tag = session.tag(seq, attempt > 1);
      const answer = await this.#attempt(shard, (replica, member, done) => {
        this.#submit(replica, member, { request, session: tag }, done);
      });
      const decided = answer.kind !== 'ok' && answer.decided === true;
      const final =
        answer.kind === 'ok' ||
        decided ||
        LAST_WORDS.has(answer.code) ||
        this.#givesUp(attempt, answer.code);
      if (answer.kind === 'unknown') doubtful = answer;
      if (final) {
        session.end(seq);
        // An attempt that certainly failed says nothing about an earlier one that may have landed.
        return answer.kind === 'failed' && !decided ? (doubtful ?? answer) : answer;
      }
      await this.#sleep(this.#rng.integer(0, BACKOFF_MS_MAX));
    }
  }

  /** Now and then it has had enough; at the end of a run also of what will not get better. */
  #givesUp(attempt: number, code: string): boolean {
    if (!this.#issuing && HOPELESS.has(code)) return true;
    return attempt > 1 && this.#rng.integer(0, 40) === 0;
  }

  #submit(
    replica: Replica,
    member: SimMember,
    command: { readonly request: WriteRequest; readonly session: SessionTag | undefined },
    done: (answer: Answer) => void,
  ): void {
    replica.submit({
      origin: this.#origin,
      ...command,
      deadlineMs: member.nowMs() + this.#timeout(),
      bytes: 64,
      done: (result) => done(this.#answer(replica.shard, result)),
    });
  }

  async #read(group: ShardId, op: Op): Promise<Outcome> {
    const shard = this.#routing.shardOf(group);
    return this.#attempt(shard, (replica, member, done) => {
      const deadlineMs = member.nowMs() + this.#timeout();
      if (op.kind === 'get') {
        replica.get(utf8(op.key), deadlineMs, (result) => {
          const kvs = result.ok && result.kv !== undefined ? [result.kv] : [];
          if (!result.ok) done(this.#failure(result.error));
          else {
            const { revision } = result;
            done({ kind: 'ok', revision, changed: false, found: found(kvs) });
          }
        });
      } else {
        const request =
          op.kind === 'past'
            ? pastRequest(op.key, op.revision)
            : listRequest(group, op.kind === 'list' && op.stale);
        replica.read(request, deadlineMs, (result) => done(this.#answer(shard, result)));
      }
    });
  }

  #answer(shard: ShardId, result: CommandResult): Answer {
    if (result.ok) return outcomeOf(result.response);
    const { leader } = result.error.details;
    const hint = this.#parts.world.members.find((member) => formatId(member.id) === leader);
    if (hint !== undefined) this.#hints.set(shard, hint);
    return this.#failure(result.error);
  }

  /** One request over a link that delays and loses, to a member that may be down, paused or gone before it answers. */
  #attempt(
    shard: ShardId,
    act: (replica: Replica, member: SimMember, done: (answer: Answer) => void) => void,
  ): Promise<Answer> {
    const { audit, world } = this.#parts;
    const member = this.#choose(shard);
    return new Promise((resolve) => {
      let answered = false;
      const answer = (outcome: Answer): void => {
        if (answered) return;
        answered = true;
        cancelTimeout();
        if (outcome.kind !== 'ok') this.#hints.delete(shard);
        resolve(outcome);
      };
      const cancelTimeout = world.clock.setTimer(this.#timeout() + 1000, () =>
        answer({ kind: 'unknown', code: 'client timeout' }),
      );
      const deliver = (): void => {
        const taken = member.call(shard, (replica) => {
          const audited = audit.begin(member, `${this.name} at ${world.clock.nowMs()}`);
          act(replica, member, (outcome) => {
            audited();
            this.#travel(() => answer(outcome));
          });
        });
        if (!taken) answer({ kind: 'failed', code: 'connection refused' });
      };
      this.#travel(deliver);
    });
  }

  #failure(error: KvError): Answer {
    const kind = error.outcome === 'not-applied' ? 'failed' : 'unknown';
    if (error.code !== 'KV_WRONG_SHARD') return { kind, code: error.code };
    this.#routing.refresh();
    return { kind, code: error.code, decided: error.details.slot !== undefined };
  }

  #travel(arrive: () => void): void {
    const { stuckPerMille, world } = this.#parts;
    const { clock } = world;
    const roll = this.#rng.integer(0, 1000) - LOST_PER_MILLE;
    if (roll < 0) return;
    if (roll >= stuckPerMille) {
      clock.setTimer(this.#rng.integer(0, LINK_MS_MAX + 1), arrive);
      return;
    }
    this.#stuck += 1;
    clock.setTimer(this.#rng.integer(0, STUCK_MS_MAX + 1), () => {
      this.#stuck -= 1;
      arrive();
    });
  }

  #choose(shard: ShardId): SimMember {
    const { members } = this.#parts.world;
    const hint = this.#hints.get(shard);
    if (hint !== undefined && this.#rng.integer(0, 10) > 0) return hint;
    return members[this.#rng.integer(0, members.length)] as SimMember;
  }

  #timeout(): number {
    return TIMEOUT_MS[this.#rng.integer(0, TIMEOUT_MS.length)] ?? TIMEOUT_MS[0];
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.world.clock.setTimer(ms, resolve);
    });
  }
}
