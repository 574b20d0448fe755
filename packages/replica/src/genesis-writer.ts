import { assert, type LogIndex, type MemberId, term } from '@kvorum/base';
import { encodeGenesis } from '@kvorum/raft';
import { encodeLogRecord } from '@kvorum/wire';
import type { ReplicaOptions } from './replica-options.ts';
import type { StateMachine } from './state-machine.ts';

const RETRY_MS = 500;

/** How a generation of the log above 0 begins: decided once, when an operator recovers the shard. */
export interface GenesisPlan {
  /** Whose state the generation stands on. */
  readonly member: MemberId;
  /** So many accepted records its state held when the operator decided. */
  readonly index: LogIndex;
  /** The generation's first revision: above every one that any replica has shown. */
  readonly revision: number;
}

/**
 * Begins the log of a new generation with the state of this replica: one genesis record, as the first of an empty log. Should two
 * land there the first one decides, here as everywhere, so doing it again after a crash or an unknown outcome is harmless.
 */
export class GenesisWriter {
  readonly #options: ReplicaOptions;
  readonly #plan: GenesisPlan;
  readonly #machine: StateMachine;
  readonly #termBefore: number;
  #stopped = false;
  #wake: () => void = () => undefined;
  #run: Promise<void> = Promise.resolve();

  constructor(
    options: ReplicaOptions,
    plan: GenesisPlan,
    machine: StateMachine,
    termBefore: number,
  ) {
    this.#options = options;
    this.#plan = plan;
    this.#machine = machine;
    this.#termBefore = termBefore;
  }

  /** Resolves when nothing is appended from here any more; nobody else may append before. */
  get done(): Promise<void> {
    return this.#run;
  }

  /** `failed` hears of a state that is not the one decided for, and of a broken store. */
  start(failed: (error: unknown) => void): void {
    this.#run = this.#append().catch(failed);
  }

  stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    return this.#run;
  }

  async #append(): Promise<void> {
    const { log, logger, store } = this.#options;
    const bytes = this.#record();
    let synced = false;
    while (!this.#stopped) {
      const bounds = await log.bounds();
      if (!('kind' in bounds)) {
        // It has begun, from here or elsewhere: following it will show.
        if (bounds.end > 0) return;
        // From the record on this state is the shard: a crash must not take its end away.
        if (!synced) await store.sync();
        synced = true;
        const outcome = await log.append(bytes);
        if (outcome.kind === 'appended') {
          logger.warn(
            { log: log.name, offset: outcome.offset },
            'a new generation of the log begins',
          );
          return;
        }
      }
      await this.#pause();
    }
  }

  #record(): Uint8Array {
    const { clock, generation, leaderId, shardUid, voters } = this.#options;
    const { restored } = this.#machine;
    const { index, revision } = this.#plan;
    assert(
      restored.index >= index,
      `this replica holds ${restored.index} records; it was chosen for ${index}`,
    );
    return encodeLogRecord({
      kind: 'genesis',
      shardUid,
      generation,
      leaderId,
      term: term(Math.max(1, restored.term, this.#termBefore)),
      seq: 0,
      prevHash: restored.chainHash,
      leaderTimeMs: clock.wallMs(),
      payload: encodeGenesis({
        parentGeneration: restored.generation,
        parentOffset: restored.offset,
        index: restored.index,
        membership: { voters, learners: [] },
        writeSet: this.#machine.genesisWriteSet(revision),
      }),
    });
  }

  #pause(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.clock.setTimer(RETRY_MS, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
