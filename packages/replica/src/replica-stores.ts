import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { StateStore, StateStores } from '@kvorum/ports';
import type { ReplicaPlace } from './replica-options.ts';

/** Store of the votes that a member gave in shards it no longer has; the rows are named by the shard's uid. */
const VOTES_STORE = 'retired-votes';

/**
 * The stores of a member's replicas. A replica that is given away leaves its vote behind: should the shard come back, the new replica
 * must not vote in a term in which the old one has voted, nor answer a leader whose successor the old one helped to elect.
 */
export class ReplicaStores {
  readonly #stores: StateStores;
  #votes: Promise<StateStore> | undefined;

  constructor(stores: StateStores) {
    this.#stores = stores;
  }

  /** Opens a replica's store, with the vote that an earlier one of this member left. Errors: KV_DATA_DIR. */
  async open(name: string, uid: Uint8Array): Promise<StateStore> {
    const store = await this.#stores.open(name);
    const [own] = await store.getMany([HARD_STATE_KEY]);
    if (own !== undefined) return store;
    const [earlier] = await (await this.#openVotes()).getMany([uid]);
    if (earlier !== undefined) {
      await store.write((batch) => batch.put(HARD_STATE_KEY, earlier), { sync: true });
    }
    return store;
  }

  /** Where the replica of this name keeps its store; see `ReplicaOptions.place`. */
  placeOf(name: string): ReplicaPlace {
    return {
      open: () => this.#stores.open(name),
      openSide: () => this.#stores.openSide(name),
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
