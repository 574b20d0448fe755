import { KvError, type Limits, META_SHARD, type MemberId } from '@kvorum/base';
import type { Replica } from '@kvorum/replica';
import type { GenesisEntry } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import type { MetaAccount, MetaStep } from '../router/meta-steps.ts';
import { memberIdOf } from './cluster.ts';
import { type MetaGeneration, readMetaGeneration, saveMetaGeneration } from './meta-generation.ts';
import { genesisPlan, type ReplicaManager } from './replica-manager.ts';
import type { ReplicaSet } from './replica-set.ts';
import { pause } from './system.ts';

const RETRY_MS = 1000;
const POLL_MS = 50;

export interface MetaGroupParts {
  readonly self: MemberId;
  readonly uid: Uint8Array;
  /** The member's data directory. */
  readonly path: string;
  readonly replicas: ReplicaSet;
  readonly limits: Pick<Limits, 'electionMsMax'>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What it opens its replica with. */
export interface MetaOpening {
  readonly manager: ReplicaManager;
  /** Who votes, as far as this member knows. */
  readonly voters: () => readonly MemberId[];
}

/**
 * This member's replica of the meta group, in the generation of its log that this member has gone to. The data shards' generations are
 * decided in the map; the meta group's by its members: a majority of them leaves the generation before, for good and on disk, and only
 * then one of them begins the next one. Members that were away learn of it from those that hold a state of it.
 */
export class MetaGroup {
  readonly #parts: MetaGroupParts;
  #known: MetaGeneration;
  #opening: MetaOpening | undefined;
  #opened: (replica: Replica) => void = () => undefined;
  #isReopening = false;
  #steps: Promise<unknown> = Promise.resolve();

  /** Errors: KV_DATA_DIR. */
  constructor(parts: MetaGroupParts) {
    this.#parts = parts;
    this.#known = readMetaGeneration(parts.path);
  }

  /** Opens the replica at the member's start. Errors: as of the log's and the store's opening. */
  open(opening: MetaOpening): Promise<Replica> {
    this.#opening = opening;
    return this.#open();
  }

  /** `listener` hears of every later replica; the one before is closed by then. */
  onReopened(listener: (replica: Replica) => void): void {
    this.#opened = listener;
  }

  get account(): MetaAccount {
    const { generation } = this.#known;
    const status = this.#parts.replicas.get(META_SHARD)?.status();
    return { generation, begun: status?.raft.accepted.generation === generation };
  }

  /** Does a step; the account afterwards. Errors: KV_INVALID_ARGUMENT, KV_UNAVAILABLE while the member starts. */
  serve(step: MetaStep): Promise<MetaAccount> {
    if (step.step === 'ask') return Promise.resolve(this.account);
    const done = this.#steps.then(() =>
      step.step === 'leave' ? this.#leave(step.generation) : this.#begin(step),
    );
    this.#steps = done.catch(() => undefined);
    return done.then(() => this.account);
  }

  /** Another member holds a state of this generation. */
  learn(generation: number): Promise<void> {
    const done = this.#steps.then(async () => {
      if (generation <= this.#known.generation || this.#opening === undefined) return;
      this.#parts.logger.warn({ generation }, 'the meta group was recovered meanwhile');
      await this.#goTo({ generation });
    });
    this.#steps = done.catch(() => undefined);
    return done;
  }

  async #leave(generation: number): Promise<void> {
    if (generation <= this.#known.generation) return;
    await this.#untilLeaderless();
    await this.#goTo({ generation });
  }

  /** A leader that halted or died just now is remembered for an election timeout more: only one that is still heard then is one. */
  async #untilLeaderless(): Promise<void> {
    const { limits, replicas, signal } = this.#parts;
    const untilMs = performance.now() + limits.electionMsMax + RETRY_MS;
    while (replicas.get(META_SHARD)?.status().raft.leader !== undefined) {
      if (performance.now() >= untilMs || signal.aborted) {
        throw new KvError('KV_INVALID_ARGUMENT', 'the meta group has a leader');
      }
      await pause(POLL_MS, signal);
    }
  }

  async #begin(wanted: MetaGeneration & { readonly genesis: GenesisEntry }): Promise<void> {
    const { generation, genesis } = wanted;
    const { begun } = this.account;
    if (generation !== this.#known.generation || begun) {
      const text = `this member is in generation ${this.#known.generation} of the meta group`;
      throw new KvError('KV_INVALID_ARGUMENT', text);
    }
    if (memberIdOf(genesis.member) !== this.#parts.self) {
      throw new KvError('KV_INVALID_ARGUMENT', 'the generation is begun by another member');
    }
    await this.#goTo({ generation, genesis });
  }

  /** Resolves when it is on disk and nothing of the earlier generation is served any more. */
  async #goTo(next: MetaGeneration): Promise<void> {
    const { logger, path } = this.#parts;
    const manager = this.#opening?.manager;
    if (manager === undefined) throw new KvError('KV_UNAVAILABLE', 'the member is starting');
    saveMetaGeneration(path, next);
    this.#known = next;
    logger.warn({ ...next, shard: META_SHARD }, 'the meta group goes to another generation');
    await manager.close(META_SHARD);
    if (this.#isReopening) return;
    this.#isReopening = true;
    void this.#reopen().finally(() => {
      this.#isReopening = false;
    });
  }

  /** Tries until the replica is open in the newest generation that is known. */
  async #reopen(): Promise<void> {
    const { logger, signal } = this.#parts;
    while (!signal.aborted) {
      const wanted = this.#known;
      try {
        const replica = await this.#open();
        if (wanted === this.#known) {
          this.#opened(replica);
          return;
        }
        await this.#opening?.manager.close(META_SHARD);
      } catch (error) {
        if (signal.aborted) return;
        logger.error({ shard: META_SHARD, err: error }, 'replica does not open; trying again');
        await pause(RETRY_MS, signal);
      }
    }
  }

  #open(): Promise<Replica> {
    const { self, uid } = this.#parts;
    const { generation, genesis } = this.#known;
    if (this.#opening === undefined) throw new KvError('KV_UNAVAILABLE', 'the member is starting');
    const { manager, voters } = this.#opening;
    const initialVoters = voters();
    return manager.open({
      shard: META_SHARD,
      uid,
      generation,
      ...(genesis === undefined ? {} : { genesis: genesisPlan(genesis) }),
      initialVoters,
      preferenceRank: Math.max(0, initialVoters.indexOf(self)),
    });
  }
}
