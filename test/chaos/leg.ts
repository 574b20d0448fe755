import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type KvorumClient } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import { HISTORY_VERSION, HistoryWriter } from '@kvorum/simulator';
import { seededRng } from '@kvorum/testkit';
import { KafkaTopics } from '../e2e/kafka-topics.ts';
import type { ProcessCluster } from '../e2e/process-cluster.ts';
import { replicaDifferences } from '../e2e/replica-hashes.ts';
import { CHANGING_CONFIG, orphans } from './changes.ts';
import { type ChaosGround, SMALL_DISK_MEMBER, startMembers } from './chaos-cluster.ts';
import type { Fault } from './fault.ts';
import { Load } from './load.ts';
import type { Episode, Plan } from './plan.ts';
import { type Answer, nowMs, Recorder } from './recorder.ts';
import { untilRecovered } from './recovery.ts';
import type { EpisodeReport } from './report.ts';
import { AUTH_CONFIG, enableAccess } from './rights.ts';
import { SideLoad } from './side-load.ts';
import { recordLogs } from './topic-log.ts';
import { longestGaps } from './unavailability.ts';
import { drawWeakTopic } from './weak-topic.ts';
import { World } from './world.ts';

export interface LegOptions {
  readonly number: number;
  readonly ground: ChaosGround;
  readonly plan: Plan;
  readonly rng: Rng;
  readonly seed: number;
  readonly opsPerSecond: number;
  /** Whether the plan changes the cluster itself. */
  readonly changes: boolean;
  /** No episode begins later. */
  readonly untilMs: number;
  /** When the run began. */
  readonly beganMs: number;
  readonly recoveryMsMax: number;
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

const QUIET_MS = 1500;
const WATCH_MS = 250;
/** Level of `error` in a member's log. */
const LOG_LEVEL_ERROR = 50;

/** One cluster from its start to its end, under load and faults. */
export class Leg {
  readonly historyPath: string;
  readonly episodes: EpisodeReport[] = [];
  readonly violations: string[] = [];
  readonly besides: string[] = [];
  readonly #options: LegOptions;
  readonly #topicPrefix: string;
  #recorder: Recorder | undefined;
  #load: Load | undefined;
  /** Nothing can be learnt from going on. */
  #hopeless = false;
  #diskWasFull = false;

  constructor(options: LegOptions) {
    this.#options = options;
    this.#topicPrefix = `chaos-${process.pid}-${options.number}-`;
    this.historyPath = join(options.directory, `history-${options.number}.jsonl`);
  }

  get recorder(): Recorder | undefined {
    return this.#recorder;
  }

  get watchEvents(): number {
    return (this.#load?.watchers ?? []).reduce((sum, { events }) => sum + events, 0);
  }

  /** Leaves a whole history behind; the cluster is gone afterwards. */
  async run(): Promise<void> {
    const { ground, seed, number, opsPerSecond, signal, changes, rng } = this.#options;
    const run = { seed, leg: number, opsPerSecond };
    const header = { type: 'history', version: HISTORY_VERSION, source: 'chaos' } as const;
    const history = new HistoryWriter(this.historyPath, { ...header, tick: 'us', run });
    const recorder = new Recorder(history);
    this.#recorder = recorder;
    const config = changes ? CHANGING_CONFIG : AUTH_CONFIG;
    const members = await startMembers(ground, this.#topicPrefix, config);
    const topics = await KafkaTopics.connect(ground.kafka.brokers);
    const { endpoints } = members;
    // The operator's commands of a cluster that changes know of no users.
    const access = changes ? undefined : await enableAccess(endpoints);
    const token = access?.load;
    const client = await connect({
      ...{ endpoints, name: 'probe' },
      ...(access === undefined ? {} : { auth: { token: access.root } }),
    });
    const timelines = changes ? 'directories' : 'shards';
    const load = new Load({ endpoints, rng, recorder, opsPerSecond, timelines, token });
    this.#load = load;
    const world = new World({
      ...{ ground, members, topics, topicPrefix: this.#topicPrefix, signal },
      token: access?.root,
    });
    const { seed: runSeed } = this.#options;
    const side = new SideLoad({
      ...{ endpoints, recorder, timelines, access, client },
      rng: seededRng(runSeed * 1000 + number + 500),
    });
    const watch = setInterval(() => this.#watch(world), WATCH_MS);
    try {
      await load.start();
      await side.start(load.shards);
      await this.#episodes(world, load, client);
      if (!this.#hopeless) {
        await this.#finish(world, { load, side, client });
      }
    } finally {
      clearInterval(watch);
      side.abandon();
      ground.links.heal();
      await load.close();
      await client.close();
      await topics.close();
      history.close();
      if (this.violations.length > 0) this.#keepLogs(members);
      await members.stop();
    }
  }

  async #episodes(world: World, load: Load, client: KvorumClient): Promise<void> {
    const { plan, untilMs, changes } = this.#options;
    let weakened = false;
    let noticing = Promise.resolve();
    // Whoever joins refuses a topic with weak settings.
    if (!changes) {
      weakened = true;
      noticing = this.#weaken(world, load).finally(() => {
        weakened = false;
      });
    }
    while (nowMs() < untilMs && !this.#hopeless) {
      await world.pause(QUIET_MS);
      const episode = plan.next(!weakened);
      if (episode !== undefined) await this.#episode(episode, world, load, client);
    }
    await noticing;
  }

  /** Until every member has named a setting that would lose data. */
  async #weaken(world: World, load: Load): Promise<void> {
    const { rng, say, signal } = this.#options;
    const weak = drawWeakTopic(rng, load.shards);
    say(`weakened ${weak.text}`);
    try {
      const problems = await weak.run(world);
      this.violations.push(...problems);
      const end = problems.length === 0 ? 'noticed and named' : 'MISSED';
      this.besides.push(`${weak.text}: ${end}`);
    } catch (error) {
      if (!signal.aborted) this.violations.push(`weak settings: ${String(error)}`);
    }
  }

  async #episode(episode: Episode, world: World, load: Load, client: KvorumClient): Promise<void> {
    const { say, number, beganMs, recoveryMsMax } = this.#options;
    const { recorder } = this;
    const injectedMs = nowMs();
    say(episode.faults.map(({ text }) => text).join(' + '));
    await Promise.all(
      episode.faults.map(async (fault, i) => {
        await world.pause(i * episode.apartMs);
        const fromMs = nowMs();
        if (fault.kind === 'full disk') this.#diskWasFull = true;
        await fault.run(world);
        recorder?.note(fromMs, nowMs(), fault.text);
      }),
    );
    const healedMs = nowMs();
    const recovery = await untilRecovered(world, load, client, healedMs);
    const answers = recorder?.answers ?? [];
    const gapsOf = (kind: Answer['kind']): Readonly<Record<string, number>> => {
      const some = answers.filter((answer) => answer.kind === kind);
      return longestGaps(some, load.shards, injectedMs, nowMs());
    };
    const [gaps, readGaps] = [gapsOf('write'), gapsOf('read')];
    this.episodes.push({
      leg: number,
      atMs: Math.round(injectedMs - beganMs),
      faults: episode.faults.map(({ kind, text }) => ({ kind, text })),
      faultyMs: Math.round(healedMs - injectedMs),
      recoveryMs: recovery.ms,
      recoveredLast: recovery.last,
      unavailableMs: gaps,
      unreadableMs: readGaps,
    });
    say(
      `  recovered ${recovery.ms} ms after the heal (last: ${recovery.last}); longest gaps of writes ${JSON.stringify(gaps)}, of reads ${JSON.stringify(readGaps)}`,
    );
    if (recovery.ms > recoveryMsMax) {
      const faults = episode.faults.map(({ text }) => text).join(' + ');
      this.#violation(`recovery took ${recovery.ms} ms (${recovery.last}) after ${faults}`);
    }
    // Reads need no log: with all brokers gone they go on, and a leader cut off alone hands over within seconds.
    const worst = Math.max(...Object.values(readGaps));
    if (episode.faults.every(onlyBrokers) && worst > recoveryMsMax) {
      const faults = episode.faults.map(({ text }) => text).join(' + ');
      this.#violation(`reads stood still for ${worst} ms while only brokers were hit: ${faults}`);
    }
    for (const what of recovery.missing) this.#violation(`never came back: ${what}`);
    if (recovery.missing.length > 0) this.#hopeless = true;
    if (recorder !== undefined) recorder.answers.length = 0;
  }

  async #finish(
    world: World,
    { load, side, client }: { load: Load; side: SideLoad; client: KvorumClient },
  ): Promise<void> {
    const { ground, say } = this.#options;
    say('leases, locks and rights come to their end');
    for (const problem of await side.stop()) this.#violation(problem);
    this.besides.push(side.text);
    say('the load ends; watchers catch up');
    for (const problem of await load.stop()) this.#violation(problem);
    for (const problem of await replicaDifferences(client, world.members.endpoints)) {
      this.#violation(problem);
    }
    this.#readMemberLogs(world.members);
    if (this.#options.changes) {
      for (const problem of await orphans(world, client)) this.#violation(problem);
      // A log that is cut cannot be read from its beginning.
      return;
    }
    const history = this.#recorder?.history;
    const from = { brokers: ground.kafka.brokers, topicPrefix: this.#topicPrefix };
    if (history !== undefined) await recordLogs(history, from, load.shards);
  }

  /** What must not be true at any moment. */
  #watch(world: World): void {
    if (this.#options.signal.aborted) return;
    for (const i of world.crashed()) {
      if (this.#hopeless) return;
      this.#violation(`member ${i + 1} ended by itself:\n${world.members.output(i).slice(-3000)}`);
      this.#hopeless = true;
    }
    for (const text of this.#recorder?.overdue() ?? []) {
      if (this.violations.some((known) => known.includes(text))) continue;
      this.#violation(`an operation does not end: ${text}`);
    }
  }

  /** A member reports an error only for a bug, or for a disk that is full. */
  #readMemberLogs(members: ProcessCluster): void {
    for (let i = 0; i < members.size; i += 1) {
      if (i === SMALL_DISK_MEMBER && this.#diskWasFull) continue;
      for (const line of readFileSync(this.#logOf(members, i), 'utf8').split('\n')) {
        if (levelOf(line) >= LOG_LEVEL_ERROR) {
          this.#violation(`member ${i + 1} reports ${line.slice(0, 1000)}`);
        }
      }
    }
  }

  #keepLogs(members: ProcessCluster): void {
    const { directory, number } = this.#options;
    for (let i = 0; i < members.size; i += 1) {
      copyFileSync(this.#logOf(members, i), join(directory, `leg-${number}-m${i + 1}.log`));
    }
  }

  #logOf(members: ProcessCluster, i: number): string {
    return join(members.directory, `m${i + 1}.log`);
  }

  #violation(text: string): void {
    this.#options.say(`VIOLATION ${text}`);
    this.violations.push(text);
  }
}

function onlyBrokers({ grips }: Fault): boolean {
  return grips.every((grip) => grip === 'brokers');
}

/** Of a line of a member's log; what is no such line was printed by Node on its way down. */
function levelOf(line: string): number {
  if (line.trim() === '') return 0;
  try {
    const { level } = JSON.parse(line) as { readonly level?: number };
    return level ?? 0;
  } catch {
    return line.includes('Error') ? LOG_LEVEL_ERROR : 0;
  }
}
