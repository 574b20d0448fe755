import type { KvorumClient } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import { Guest } from './guest.ts';
import { PREFIX } from './key-space.ts';
import { LeaseHolders } from './lease-holders.ts';
import { LockUsers } from './lock-users.ts';
import type { Recorder } from './recorder.ts';
import { type Access, GUEST } from './rights.ts';
import type { Place, SideLoadParts } from './side-load-parts.ts';
import type { Timelines } from './watcher.ts';

export interface SideLoadOptions {
  readonly rng: Rng;
  readonly recorder: Recorder;
  readonly timelines: Timelines;
  readonly endpoints: readonly string[];
  /** Where authorization is enabled. */
  readonly access: Access | undefined;
  /** May do everything. */
  readonly client: KvorumClient;
}

/** Answers to a request that says nothing. */
const MALFORMED = ['KV_MALFORMED', 'KV_INVALID_ARGUMENT'];

/** What goes on beside the load: leases, locks, and rights that come and go. */
export class SideLoad {
  readonly #options: SideLoadOptions;
  #leases: LeaseHolders | undefined;
  #locks: LockUsers | undefined;
  #guest: Guest | undefined;
  #lastProcess = 0;

  constructor(options: SideLoadOptions) {
    this.#options = options;
  }

  async start(shards: readonly string[]): Promise<void> {
    const { access, client } = this.#options;
    this.#leases = new LeaseHolders(this.#parts(await placesOf(client, shards, 'l')));
    this.#locks = new LockUsers(this.#parts([]));
    const [own, foreign] = await placesOf(client, shards, 'g');
    if (access !== undefined && own !== undefined && foreign !== undefined) {
      this.#guest = new Guest(this.#parts([]), access, [own, foreign]);
    }
    this.#leases.start();
    this.#locks.start();
    this.#guest?.start();
  }

  /** To be called when nothing is broken any more; what was wrong. */
  async stop(): Promise<readonly string[]> {
    const all = this.#all;
    await Promise.all(all.map((one) => one.stop()));
    const denied = [...this.#options.recorder.denied]
      .filter(([client]) => client !== GUEST)
      .map(([client, times]) => `${client}, which may do it, was refused ${times} times`);
    const { codes } = this.#options.recorder;
    const malformed = MALFORMED.filter((code) => codes[code] !== undefined).map(
      (code) => `requests of this load are wrong: ${code} ${codes[code]} times`,
    );
    return [...all.flatMap(({ problems }) => problems), ...denied, ...malformed];
  }

  abandon(): void {
    for (const one of this.#all) one.abandon();
  }

  /** For the report. */
  get text(): string {
    const counts = [this.#leases, this.#locks, this.#guest].map((one) => one?.counts);
    const [leases, locks, guest] = counts.map((one) => JSON.stringify(one));
    const rights = guest === undefined ? 'no authorization' : `rights ${guest}`;
    return `leases ${leases}; locks ${locks}; ${rights}`;
  }

  get #all(): readonly (LeaseHolders | LockUsers | Guest)[] {
    return [this.#leases, this.#locks, this.#guest].flatMap((one) => one ?? []);
  }

  #parts(places: readonly Place[]): SideLoadParts {
    const { access, endpoints, recorder, rng, timelines } = this.#options;
    return {
      ...{ rng, recorder, places },
      timelineOf: ({ shard, directory }) => (timelines === 'shards' ? shard : directory),
      anyDoor: (by) => {
        const member = by.integer(0, endpoints.length);
        const door = { endpoint: endpoints[member] ?? '', token: access?.load };
        return { door, member: `m${member + 1}` };
      },
      newProcess: (name) => {
        this.#lastProcess += 1;
        return `${name}/${this.#lastProcess}`;
      },
    };
  }
}

/** A directory in each shard whose name begins with `name`. */
async function placesOf(
  client: KvorumClient,
  shards: readonly string[],
  name: string,
): Promise<readonly Place[]> {
  const missing = new Set(shards);
  const places: Place[] = [];
  for (let i = 0; missing.size > 0; i += 1) {
    const directory = `${PREFIX}${name}${i}/`;
    const shard = await client.shardOf(`${directory}k`);
    if (missing.delete(shard)) places.push({ shard, directory });
  }
  return places;
}
