import { randomBytes } from 'node:crypto';
import { type ClusterId, formatId, type Limits, type MemberId, utf8 } from '@kvorum/base';
import type { LogName, PeerEnvelope, PeerMessages } from '@kvorum/ports';
import { decodeElectionFrame, type ElectionFrame, encodeElectionFrame } from '@kvorum/wire';
import type { ConnectionOptions } from './broker-connection.ts';
import { ClusterView } from './cluster-view.ts';
import { ElectionReader } from './election-reader.ts';
import { FRAME_BYTES_MAX, LEADER_PROFILE, VOTE_PROFILE } from './election-topics.ts';
import { ElectionWriter } from './election-writer.ts';
import { Fetcher } from './fetcher.ts';
import { HeardMembers } from './heard-members.ts';
import { connectionOptions, type KafkaOptions, saslUser } from './kafka-options.ts';
import { LeaderConnection } from './leader-connection.ts';
import { KEY_BYTES_MAX, RECORD_OVERHEAD_BYTES } from './produce-request.ts';
import { TopicAdmin } from './topic-admin.ts';
import type { TopicProfile } from './topic-settings.ts';

/** A member that has nothing to say says so this often. */
const PRESENCE_MS = 1000;
/** How long a closing member waits for its last word to leave. */
const GOODBYE_MS = 500;
const DEFAULT_PREFIX = 'raft-';
/** Beyond the longest poll: then a topic does not answer. */
const ANSWER_MS = 2000;

/** Why a record of the topics was not taken. */
export type IgnoredReason = 'malformed' | 'other-version' | 'other-cluster' | 'other-process';

export interface ElectionMetrics {
  produced(topic: string, of: { messages: number; bytes: number; ms: number }): void;
  lost(topic: string, messages: number): void;
  received(messages: number): void;
  ignored(reason: IgnoredReason): void;
}

export interface KafkaElectionOptions extends KafkaOptions {
  /** Default `raft-`: the topics are `raft-vote` and `raft-leader`. */
  readonly topicPrefix?: string;
  readonly self: MemberId;
  readonly cluster: ClusterId;
  readonly limits: Pick<
    Limits,
    'logPollMs' | 'logReadBytesMax' | 'electionMsMax' | 'peerQueueMessagesMax'
  >;
  /** Whether only a leader says this; such messages go to `raft-leader`. */
  readonly isLeaders: (payload: unknown) => boolean;
  readonly metrics?: ElectionMetrics;
}

/** The messages of one member over two topics of Kafka. */
export interface KafkaElection extends PeerMessages {
  /** Whether Kafka answered this member on both topics lately. */
  readonly isAnswered: boolean;
  /** Re-checks the settings of both topics. Throws KV_LOG_UNAVAILABLE when Kafka cannot be asked now. */
  verify(): Promise<readonly { readonly log: LogName; readonly problem: string }[]>;
}

/**
 * Creates and checks the topics, and follows them from their end.
 * Errors: KV_LOG_UNAVAILABLE; KV_LOG_MISCONFIGURED for unsafe settings and missing permissions; KV_CONFIG when the brokers refuse the log-in or TLS.
 */
export async function openKafkaElection(options: KafkaElectionOptions): Promise<KafkaElection> {
  const election = new TopicElection(options);
  try {
    await election.start();
  } catch (error) {
    await election.close();
    throw error;
  }
  return election;
}

interface ElectionTopic {
  readonly name: string;
  readonly admin: TopicAdmin;
  readonly reader: ElectionReader;
  readonly writer: ElectionWriter;
}

class TopicElection implements KafkaElection {
  readonly self: MemberId;
  readonly #options: KafkaElectionOptions;
  /** Of this process: an answer meant for an earlier one of this member must not count. */
  readonly #boot = randomBytes(8).toString('hex');
  readonly #connection: ConnectionOptions;
  readonly #view: ClusterView;
  readonly #fetcher: Fetcher;
  readonly #heard: HeardMembers;
  readonly #vote: ElectionTopic;
  readonly #leader: ElectionTopic;
  readonly #topics: readonly ElectionTopic[];
  #timer: NodeJS.Timeout | undefined;
  #spokeMs = 0;
  #warnedOfCluster = false;
  #leaving = false;
  #closing: Promise<void> | undefined;
  #onMessage: (from: MemberId, envelope: PeerEnvelope) => void = () => undefined;
  #onReachability: (peer: MemberId, reachable: boolean) => void = () => undefined;

  constructor(options: KafkaElectionOptions) {
    const { limits } = options;
    this.self = options.self;
    this.#options = options;
    this.#connection = connectionOptions(options);
    this.#view = new ClusterView(options.brokers, this.#connection);
    const topicBytesMax = FRAME_BYTES_MAX + RECORD_OVERHEAD_BYTES + KEY_BYTES_MAX;
    // Lanes of its own: no long poll of a shard's log may stand before a vote.
    this.#fetcher = new Fetcher(this.#view, {
      connection: this.#connection,
      pollMs: limits.logPollMs,
      bytesMax: Math.max(limits.logReadBytesMax, 2 * topicBytesMax),
      topicBytesMax,
    });
    this.#heard = new HeardMembers(limits.electionMsMax, (peer, reachable) =>
      this.#onReachability(peer, reachable),
    );
    const prefix = options.topicPrefix ?? DEFAULT_PREFIX;
    this.#vote = this.#topic(`${prefix}vote`, VOTE_PROFILE);
    this.#leader = this.#topic(`${prefix}leader`, LEADER_PROFILE);
    this.#topics = [this.#vote, this.#leader];
  }

  async start(): Promise<void> {
    for (const { name, admin } of this.#topics) await admin.ensure(name, true);
    await Promise.all(this.#topics.map(({ reader }) => reader.start()));
    this.#vote.writer.presence();
    this.#timer = setInterval(() => this.#review(), PRESENCE_MS);
  }

  send(to: MemberId, envelope: PeerEnvelope): void {
    if (this.#closing !== undefined) return;
    const { writer } = this.#options.isLeaders(envelope.payload) ? this.#leader : this.#vote;
    writer.send(to, envelope);
  }

  onMessage(handler: (from: MemberId, envelope: PeerEnvelope) => void): void {
    this.#onMessage = handler;
  }

  onReachability(handler: (peer: MemberId, reachable: boolean) => void): void {
    this.#onReachability = handler;
  }

  isReachable(peer: MemberId): boolean {
    return this.#closing === undefined && this.#heard.isReachable(peer);
  }

  get isAnswered(): boolean {
    const withinMs = this.#options.limits.logPollMs + ANSWER_MS;
    return this.#topics.every(({ reader }) => reader.answeredWithin(withinMs));
  }

  async verify(): Promise<readonly { readonly log: LogName; readonly problem: string }[]> {
    const found: { readonly log: LogName; readonly problem: string }[] = [];
    for (const { name, admin } of this.#topics) {
      for (const problem of await admin.problems(name)) found.push({ log: name, problem });
    }
    return found;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const started = this.#timer !== undefined;
    clearInterval(this.#timer);
    this.#leaving = true;
    if (started) {
      this.#vote.writer.presence();
      await Promise.race([this.#vote.writer.finish(), timeout(GOODBYE_MS)]);
    }
    for (const { writer } of this.#topics) writer.close();
    this.#fetcher.close();
    await Promise.all(this.#topics.map(({ reader }) => reader.close()));
    await this.#view.close();
  }

  #topic(name: string, profile: TopicProfile): ElectionTopic {
    const { limits, logger, metrics } = this.#options;
    const admin = new TopicAdmin(this.#view, {
      profile,
      dev: this.#options.dev ?? false,
      recordBytesMax: FRAME_BYTES_MAX + KEY_BYTES_MAX,
      bootstrap: this.#options.brokers.join(','),
      user: saslUser(this.#options),
      topicPrefix: this.#options.topicPrefix ?? DEFAULT_PREFIX,
    });
    const reader = new ElectionReader({
      topic: name,
      view: this.#view,
      fetcher: this.#fetcher,
      limits,
      onRecord: (bytes) => this.#receive(bytes),
      onTrouble: (reason) => {
        if (reason === undefined) logger?.('info', 'the members are heard again', { topic: name });
        else logger?.('warn', 'no member can be heard', { topic: name, reason });
      },
    });
    const writer = new ElectionWriter({
      topic: name,
      leader: new LeaderConnection(name, this.#view, this.#connection),
      key: utf8(formatId(this.self)),
      queueMax: limits.peerQueueMessagesMax,
      encode: (messages) => this.#encode(messages),
      onProduced: (produced) => {
        this.#spokeMs = performance.now();
        metrics?.produced(name, produced);
      },
      onLost: (messages, reason) => {
        metrics?.lost(name, messages);
        logger?.('debug', 'messages to other members are lost', { topic: name, messages, reason });
      },
    });
    return { name, admin, reader, writer };
  }

  #encode(messages: ElectionFrame['messages']): Uint8Array {
    const members = new Set(messages.flatMap(({ to }) => to));
    return encodeElectionFrame({
      cluster: this.#options.cluster,
      from: this.self,
      boot: this.#boot,
      leaving: this.#leaving,
      addressees: [...members].map((member) => ({ member, boot: this.#heard.bootOf(member) })),
      messages,
    });
  }

  #receive(bytes: Uint8Array): void {
    if (this.#closing !== undefined) return;
    const decoded = decodeElectionFrame(bytes);
    if (!decoded.ok) {
      const reason = decoded.error === 'malformed' ? 'malformed' : 'other-version';
      this.#options.metrics?.ignored(reason);
      return;
    }
    const frame = decoded.value;
    if (frame.cluster !== this.#options.cluster) {
      this.#warnOfCluster(frame.cluster);
      return;
    }
    if (frame.from === this.self) return;
    if (frame.leaving) {
      this.#heard.left(frame.from, frame.boot);
    } else if (this.#heard.heard(frame.from, frame.boot, performance.now())) {
      // It should hear this process, too, before it has something to answer.
      this.#vote.writer.presence();
    }
    this.#deliver(frame);
  }

  /** What is meant for an earlier process of this member is too late: that one made promises that this one does not know. */
  #deliver({ from, addressees, messages }: ElectionFrame): void {
    const meant = addressees.find(({ member }) => member === this.self);
    if (meant === undefined) return;
    const own = messages.filter(({ to }) => to.includes(this.self));
    const { metrics } = this.#options;
    if (meant.boot !== undefined && meant.boot !== this.#boot) {
      metrics?.ignored('other-process');
      return;
    }
    metrics?.received(own.length);
    for (const { shard, payload } of own) this.#onMessage(from, { shard, payload });
  }

  #review(): void {
    // Whoever hears nothing at all cannot tell who is silent.
    if (this.isAnswered) this.#heard.review(performance.now());
    if (performance.now() - this.#spokeMs >= PRESENCE_MS) this.#vote.writer.presence();
  }

  #warnOfCluster(cluster: ClusterId): void {
    this.#options.metrics?.ignored('other-cluster');
    if (this.#warnedOfCluster) return;
    this.#warnedOfCluster = true;
    this.#options.logger?.('warn', 'another cluster uses the same election topics', {
      cluster: formatId(cluster),
      topics: this.#topics.map(({ name }) => name),
      hint: 'give every cluster a log.topicPrefix of its own',
    });
  }
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
