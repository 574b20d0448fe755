import { KvError, term } from '@kvorum/base';
import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { StateStore, StateStores } from '@kvorum/ports';
import { encodeHardState } from './hard-state-codec.ts';
import type { ReplicaPlace } from './replica-options.ts';

/** Store of the votes that a member gave in shards it no longer has; the rows are named by the shard's uid. */
const VOTES_STORE = 'retired-votes';

/**
 * The shards, by uid, that this disk has ever had a replica of: kept apart from the stores, so that a store which is deleted by hand is
 * missed.
 */
export interface OpenedShards {
  has(uid: Uint8Array): boolean;
  /** Survives a crash of the machine once it resolves. */
  add(uid: Uint8Array): Promise<void>;
}

/**
 * The stores of a member's replicas. A replica that is given away leaves its vote behind: should the shard come back, the new replica
 * must not vote in a term in which the old one has voted, nor answer a leader whose successor the old one helped to elect.
 */
export class ReplicaStores {
  readonly #stores: StateStores;
  readonly #opened: OpenedShards;
  #votes: Promise<StateStore> | undefined;

  constructor(stores: StateStores, opened: OpenedShards) {
    this.#stores = stores;
    this.#opened = opened;
  }

  /**
   * Opens a replica's store, with the vote that an earlier one of this member left. Errors: KV_DATA_DIR, also for a store that was there
   * and is gone, its votes with it.
   */
  async open(name: string, uid: Uint8Array): Promise<StateStore> {
    const store = await this.#stores.open(name);
    try {
      await this.#findVote(store, { name, uid });
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** The row is there before the shard counts as opened: a crash in between is no loss. */
  async #findVote(
    store: StateStore,
    { name, uid }: { readonly name: string; readonly uid: Uint8Array },
  ): Promise<void> {
    const [own] = await store.getMany([HARD_STATE_KEY]);
    if (own === undefined) {
      const [earlier] = await (await this.#openVotes()).getMany([uid]);
      if (earlier === undefined && this.#opened.has(uid)) throw votesLost(name);
      const row = earlier ?? encodeHardState({ term: term(0), vote: undefined });
      await store.write((batch) => batch.put(HARD_STATE_KEY, row), { sync: true });
    }
    if (!this.#opened.has(uid)) await this.#opened.add(uid);
  }

  /** Where the replica of this name keeps its store; see `ReplicaOptions.place`. */
  placeOf(name: string): ReplicaPlace {
    return {
      open: () => this.#stores.open(name),
      openSide: () => this.#stores.openSide(name),
      receiveSide: (layout, note) => this.#stores.receiveSide(name, layout, note),
      resumeSide: () => this.#stores.resumeSide(name),
      adoptSide: () => this.#stores.adoptSide(name),
      removeSide: () => this.#stores.removeSide(name),
    };
  }

  /** Deletes a replica's store, which must be closed; its vote is kept. */
  async retire(name: string, uid: Uint8Array): Promise<void> {
    const store = await this.#stores.open(name);
    const [vote] = await store.getMany([HARD_STATE_KEY]);
    await store.close();
    if (vote !== undefined) {
      await (await this.#openVotes()).write((batch) => batch.put(uid, vote), { sync: true });
    }
    await this.#stores.remove(name);
  }

  #openVotes(): Promise<StateStore> {
    this.#votes ??= this.#stores.open(VOTES_STORE);
    return this.#votes;
  }
}

function votesLost(name: string): KvError {
  return new KvError(
    'KV_DATA_DIR',
    `this member had a replica of shard ${name}, and its files are gone: its votes are lost, so it may not vote as before`,
    {
      details: {
        shard: name,
        hint: 'put the files back as they were, or kvctl member replace this member and start it with an empty dataDir',
      },
    },
  );
}
