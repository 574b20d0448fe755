import { setTimeout as pause } from 'node:timers/promises';
import type { KvRequest } from '@kvorum/base';
import { connect, type KvorumClient } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import { type Door, viaMember } from './at-member.ts';
import { type Group, KeySpace, learn, PREFIX } from './key-space.ts';
import { pick } from './links.ts';
import { type Answered, nowMs, type Recorder } from './recorder.ts';
import * as requests from './requests.ts';
import { type Mark, type Timelines, Watcher } from './watcher.ts';

export interface LoadOptions {
  /** One a member, in their order. */
  readonly endpoints: readonly string[];
  readonly rng: Rng;
  readonly recorder: Recorder;
  readonly opsPerSecond: number;
  readonly timelines: Timelines;
  /** Of its user, where authorization is enabled. */
  readonly token: string | undefined;
}

/** How a worker writes: how long it waits, and whether a session makes its retries exactly-once. */
interface Temper {
  readonly name: string;
  readonly workers: number;
  readonly timeoutMs: number;
  readonly session: boolean;
  /** Does nothing but read: writes that wait must not hide how reads do. */
  readonly readsOnly?: boolean;
  /** Sends everything to any member, which has to see to it wherever it is led. */
  readonly anywhere?: boolean;
}

const TEMPERS: readonly Temper[] = [
  { name: 'patient', workers: 10, timeoutMs: 20_000, session: true },
  { name: 'impatient', workers: 3, timeoutMs: 800, session: true },
  { name: 'sessionless', workers: 3, timeoutMs: 4000, session: false },
  { name: 'anywhere', workers: 4, timeoutMs: 3000, session: false, anywhere: true },
  // One a shard: see #work.
  { name: 'reader', workers: 4, timeoutMs: 1000, session: false, readsOnly: true },
];
const WORKERS: number = TEMPERS.reduce((sum, { workers }) => sum + workers, 0);
const CLIENTS_PER_TEMPER = 2;
/** Of the hundred parts of the mix (see #draw), those from here on read. */
const FIRST_READ = 66;
const MEMBER_READ_MS = 2000;
/** After an operation that failed: many of unknown outcome on one key make the search for an order long. */
const BACK_OFF_MS = 400;
/** Events of one watch before its watcher opens another. */
const REOPEN_AFTER = 400;
/** Slots move to another shard within that time. */
const AWAY_MS = 3000;
/** Time for watchers to hear of everything, and for operations to end, once nothing is broken any more. */
const CATCH_UP_MS = 30_000;
const POLL_MS = 100;

/** Somebody who does one thing at a time. */
interface Worker {
  readonly name: string;
  readonly client: KvorumClient;
  readonly shard: string;
  readonly temper: Temper;
}

/** An operation to be sent. */
interface Task {
  readonly group: Group;
  readonly process: string;
  readonly request: KvRequest;
  readonly timeoutMs: number;
}

/** Clients and watchers of a cluster; everything they do and see is recorded. */
export class Load {
  readonly watchers: Watcher[] = [];
  readonly #options: LoadOptions;
  readonly #clients: KvorumClient[] = [];
  readonly #workers: Promise<void>[] = [];
  /** Shard → newest revision that somebody was told of. */
  readonly #revisions = new Map<string, number>();
  #keys: KeySpace | undefined;
  #lastValue = 0;
  #lastProcess = 0;
  #running = true;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get shards(): readonly string[] {
    return this.#keySpace().shards;
  }

  async start(): Promise<void> {
    this.#keys = new KeySpace(await this.#connect('planner'), this.#options.rng);
    await this.#keys.open();
    await this.#startWatchers();
    for (const temper of TEMPERS) {
      const { name, session } = temper;
      const clients = await Promise.all(
        Array.from({ length: CLIENTS_PER_TEMPER }, (_, i) =>
          this.#connect(`${name}${i}`, { session }),
        ),
      );
      for (let i = 0; i < temper.workers; i += 1) {
        const client = clients[i % clients.length];
        // A shard each: one that stands still must not hold up the load of the others.
        const shard = this.shards[this.#workers.length % this.shards.length];
        if (client === undefined || shard === undefined) continue;
        this.#workers.push(this.#work({ name: `${name}${i}`, client, shard, temper }));
      }
    }
  }

  /** One put of a key of the shard; whether it was acknowledged. */
  async writeOnce(client: KvorumClient, shard: string, timeoutMs: number): Promise<boolean> {
    const group = await this.#keySpace().pick(shard);
    const request = requests.put(pick(this.#options.rng, group.keys), this.#value());
    const process = this.#newProcess('probe');
    return (await this.#viaClient(client, { group, process, request, timeoutMs })) !== undefined;
  }

  /** One linearizable read of a key of the shard at a member, whatever its role there; whether it was answered. */
  async readOnce(member: number, shard: string, timeoutMs: number): Promise<boolean> {
    const group = await this.#keySpace().pick(shard);
    const process = this.#newProcess('probe');
    return (await this.#readAtMember(member, { group, process, timeoutMs })) !== undefined;
  }

  /** Ends the load, lets the watchers catch up and ends them. Answers what did not end or was not seen in time. */
  async stop(): Promise<readonly string[]> {
    this.#running = false;
    const problems: string[] = [];
    const ended = Promise.all(this.#workers).then(() => true);
    if (!(await Promise.race([ended, pause(CATCH_UP_MS, false)]))) {
      problems.push(`operations never ended: ${this.#options.recorder.open.join('; ')}`);
    }
    const marks = await this.#mark(problems);
    const untilMs = nowMs() + CATCH_UP_MS;
    for (const watcher of this.watchers) {
      while (this.#isBehind(watcher, marks) && nowMs() < untilMs && !watcher.failure) {
        await pause(POLL_MS);
      }
      if (watcher.failure !== undefined) problems.push(`watch ended by itself: ${watcher.failure}`);
      else if (this.#isBehind(watcher, marks)) problems.push(this.#lagOf(watcher, marks));
    }
    // What is received is consumed within a turn or two of the event loop.
    await pause(POLL_MS);
    await Promise.all(this.watchers.map((watcher) => watcher.stop(marks)));
    await this.close();
    return problems;
  }

  async close(): Promise<void> {
    this.#running = false;
    for (const watcher of this.watchers) watcher.abandon();
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  /** A last write in every directory, where those are the timelines: whoever watches has to come to it. */
  async #mark(problems: string[]): Promise<ReadonlyMap<string, Mark>> {
    const marks = new Map<string, Mark>();
    if (this.#options.timelines === 'shards') return marks;
    const client = await this.#connect('marks');
    for (const group of this.#keySpace().all) {
      const value = this.#value();
      const request = requests.put(group.keys[0] ?? '', value);
      const process = this.#newProcess('marks');
      const task = { group, process, request, timeoutMs: CATCH_UP_MS };
      const answer = await this.#viaClient(client, task);
      if (answer === undefined) problems.push(`no last write in ${group.directory}`);
      else marks.set(group.directory, { revision: answer.revision, value });
    }
    return marks;
  }

  #isBehind(watcher: Watcher, marks: ReadonlyMap<string, Mark>): boolean {
    if (this.#options.timelines === 'shards') return !watcher.hasSeen(this.#revisions);
    return watcher.missing(marks).length > 0;
  }

  #lagOf(watcher: Watcher, marks: ReadonlyMap<string, Mark>): string {
    const wanted = JSON.stringify(Object.fromEntries(this.#revisions));
    const got = JSON.stringify(watcher.resumeAt());
    const without = watcher.missing(marks).join(' ');
    return `${watcher.name} was not told of everything within ${CATCH_UP_MS} ms: it is at ${got}, the shards at ${wanted}; last writes missing: ${without || 'none'}`;
  }

  #keySpace(): KeySpace {
    if (this.#keys === undefined) throw new TypeError('the load was not started');
    return this.#keys;
  }

  async #connect(
    name: string,
    options: { readonly session?: boolean; readonly only?: string | undefined } = {},
  ): Promise<KvorumClient> {
    const { session = true, only } = options;
    const endpoints = only === undefined ? this.#options.endpoints : [only];
    const { token } = this.#options;
    const client = await connect({
      ...{ endpoints, name, session, discover: only === undefined },
      ...(token === undefined ? {} : { auth: { token } }),
    });
    this.#clients.push(client);
    return client;
  }

  async #startWatchers(): Promise<void> {
    const { recorder, endpoints, timelines } = this.#options;
    const base = { history: recorder.history, prefix: PREFIX, timelines };
    const shared = await this.#connect('watchers');
    const again = await this.#connect('watch-again');
    const first = await this.#connect('watch-first-member', { only: endpoints[0] });
    const filters = ['no-delete'] as const;
    this.watchers.push(
      new Watcher({ ...base, name: 'watch-all', client: shared, prevKv: true }),
      new Watcher({ ...base, name: 'watch-puts', client: shared, filters }),
      new Watcher({
        ...{ ...base, name: 'watch-again', client: again, reopenAfter: REOPEN_AFTER },
        ...(timelines === 'directories' ? { awayMs: AWAY_MS } : {}),
      }),
      new Watcher({ ...base, name: 'watch-first-member', client: first }),
    );
    await Promise.all(this.watchers.map((watcher) => watcher.start()));
  }

  async #work(worker: Worker): Promise<void> {
    const { name } = worker;
    const intervalMs = (1000 * WORKERS) / this.#options.opsPerSecond;
    let process = this.#newProcess(name);
    let nextMs = nowMs() + this.#options.rng.integer(0, Math.ceil(intervalMs));
    while (this.#running) {
      const answer = await this.#operate(process, worker);
      if (answer === undefined) {
        process = this.#newProcess(name);
        await pause(BACK_OFF_MS);
      }
      nextMs = Math.max(nextMs + intervalMs, nowMs());
      await pause(Math.max(0, nextMs - nowMs()));
    }
  }

  /** One operation of the mix. */
  async #operate(process: string, worker: Worker): Promise<Answered | undefined> {
    const { rng, endpoints } = this.#options;
    const { timeoutMs, readsOnly, anywhere } = worker.temper;
    const group = await this.#keySpace().pick(worker.shard);
    const chance = rng.integer(readsOnly === true ? FIRST_READ : 0, 100);
    const member = rng.integer(0, endpoints.length);
    if (chance >= 85) {
      return this.#readAtMember(member, { group, process, timeoutMs: MEMBER_READ_MS });
    }
    const task = { group, process, request: this.#draw(chance, group), timeoutMs };
    return anywhere === true ? this.#atMember(member, task) : this.#viaClient(worker.client, task);
  }

  /** What `chance` (0 to 84) stands for. */
  #draw(chance: number, group: Group): KvRequest {
    const { rng } = this.#options;
    const key = pick(rng, group.keys);
    const others = group.keys.filter((other) => other !== key);
    const other = pick(rng, others);
    if (chance < 30) return requests.put(key, this.#value());
    if (chance < 38) return requests.remove(key);
    if (chance < 56) return requests.swap(key, group.seen.get(key), this.#value());
    if (chance < 62) return requests.putBoth(key, other, this.#value());
    if (chance < FIRST_READ) return requests.move(key, other, this.#value());
    if (chance < 72) return requests.readBoth(key, other);
    return requests.read(key, chance < 75);
  }

  #viaClient(client: KvorumClient, task: Task): Promise<Answered | undefined> {
    const { request, timeoutMs } = task;
    return this.#run(task, undefined, () => requests.viaClient(client, request, timeoutMs));
  }

  #readAtMember(member: number, from: Omit<Task, 'request'>): Promise<Answered | undefined> {
    const key = pick(this.#options.rng, from.group.keys);
    return this.#atMember(member, { ...from, request: requests.read(key) });
  }

  #atMember(member: number, task: Task): Promise<Answered | undefined> {
    const { endpoints, token } = this.#options;
    const door: Door = { endpoint: endpoints[member] ?? '', token };
    const send = (): Promise<Answered> => viaMember(door, task.request, task.timeoutMs);
    return this.#run(task, `m${member + 1}`, send);
  }

  async #run(
    { group, process, request, timeoutMs }: Task,
    member: string | undefined,
    send: () => Promise<Answered>,
  ): Promise<Answered | undefined> {
    const { shard } = group;
    const [client = process] = process.split('/');
    const timeline = this.#options.timelines === 'shards' ? shard : group.directory;
    const by = member === undefined ? {} : { member };
    const called = { client, process, timeline, shard, request, ...by };
    group.operations += 1;
    const answer = await this.#options.recorder.run(called, timeoutMs, send);
    if (answer === undefined) {
      group.unknown += 1;
      return undefined;
    }
    learn(group.seen, request, answer.response);
    this.#revisions.set(shard, Math.max(this.#revisions.get(shard) ?? 0, answer.revision));
    return answer;
  }

  /** Unique over the run, so that a value names the operation that wrote it. */
  #value(): string {
    this.#lastValue += 1;
    return `v${this.#lastValue}`;
  }

  #newProcess(name: string): string {
    this.#lastProcess += 1;
    return `${name}/${this.#lastProcess}`;
  }
}
