import type { Cell } from './cells.ts';
import type { Side } from './comparison.ts';
import type { Sizes } from './plan.ts';
import type { Workspace } from './processes.ts';
import type { Results } from './results.ts';
import { type SearchResult, search, type Way } from './search.ts';
import type { Filled, Systems } from './systems.ts';

/** What a row's measurement may use, and where it leaves what it measured. */
export class Bench {
  readonly workspace: Workspace;
  readonly systems: Systems;
  readonly sizes: Sizes;
  readonly #results: Results;
  readonly #cells: Cell[] = [];
  readonly #searches = new Map<string, Promise<SearchResult>>();

  constructor(workspace: Workspace, systems: Systems, sizes: Sizes, results: Results) {
    this.workspace = workspace;
    this.systems = systems;
    this.sizes = sizes;
    this.#results = results;
  }

  get cells(): readonly Cell[] {
    return this.#cells;
  }

  /** Keeps a load for the table and writes it to the results at once. */
  addCell(cell: Cell): void {
    this.#cells.push(cell);
    this.#results.add('cell', cell);
  }

  /** The best way and concurrency of a system, written to the results. */
  async search(system: string, ways: readonly Way[]): Promise<SearchResult> {
    const result = await search(ways, this.sizes);
    const { op, how, inFlight } = result.best;
    this.#results.add('search', { system, op, best: { how, inFlight }, rounds: result.rounds });
    return result;
  }

  /** A load on the cluster with this many shards. */
  async kvorumWay(shards: number, op: Side['op']): Promise<Way> {
    const filled = await this.systems.kvorum(shards);
    const groups = await this.kvorumGroups(filled);
    return { load: filled.load, op, groups, how: 'the SDK' };
  }

  /** The same at its best concurrency, which is looked for once. */
  async bestKvorum(shards: number, op: Side['op']): Promise<Side> {
    const way = await this.kvorumWay(shards, op);
    const name = `kvorum, ${shards} shards`;
    const found = this.#searches.get(`${name} ${op}`) ?? this.search(name, [way]);
    this.#searches.set(`${name} ${op}`, found);
    const { inFlight } = (await found).best;
    return { ...way, inFlight };
  }

  /** The processes whose CPU time a load on this cluster is charged to. */
  async kvorumGroups(filled: Filled): Promise<Side['groups']> {
    return { members: filled.cluster.pids, brokers: (await this.systems.brokers()).pids };
  }
}
