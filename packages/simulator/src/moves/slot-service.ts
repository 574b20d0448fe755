import {
  fromUtf8,
  InvariantError,
  isKvError,
  KvError,
  type MemberId,
  type ShardId,
  utf8,
} from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import {
  type CommandResult,
  parseSlotRequest,
  type Replica,
  type ReplicaLogger,
  SlotMover,
} from '@kvorum/replica';
import { parseShardMap, type ShardMap } from '@kvorum/shard';
import { type AskedLeases, SimLeases } from '../leases/sim-leases.ts';
import type { SimMember } from '../member.ts';
import type { MemberService } from '../member-service.ts';
import type { World } from '../world.ts';

const MAP_KEY = utf8('map');
const LOOK_MS = 150;
const ASK_MS = 6000;
const STEP_MS = 3000;

/** What one member asks another for. */
type Asked =
  | { readonly kind: 'slots'; readonly request: unknown }
  | { readonly kind: 'map' }
  | AskedLeases
  | { readonly kind: 'edit'; readonly text: string; readonly version: number };

export interface SlotServiceHost {
  readonly world: World;
  readonly member: SimMember;
  readonly clock: Clock;
  readonly request: (to: MemberId, payload: unknown, signal: AbortSignal) => Promise<unknown>;
  readonly replica: (shard: ShardId) => Replica | undefined;
  readonly firstMap: ShardMap;
  /** The shard that keeps the map. */
  readonly meta: ShardId;
}

/**
 * What a member's server does for slot moves, around the unmodified mover: the map in a shard of its own, changed by compare-and-set,
 * known to each member from its own replica, as late as that is; steps asked of whoever leads the other shard.
 */
export class SlotService implements MemberService {
  readonly #host: SlotServiceHost;
  readonly #mover: SlotMover;
  readonly #leases: SimLeases;
  readonly leases: SimLeases['network'];
  #map: ShardMap;
  /** What it was read from. */
  #text = '';
  #stopped = false;

  constructor(host: SlotServiceHost) {
    this.#host = host;
    this.#map = host.firstMap;
    const { clock, world } = host;
    this.#mover = new SlotMover({
      clock,
      limits: world.limits,
      logger: this.#logger(),
      told: () => undefined,
      map: () => this.#map,
      leading: (shard) => this.#leading(shard),
      updateMap: (change) => this.updateMap(change),
      ask: (request) => this.#ask(request.shard, { kind: 'slots', request }),
    });
    this.#leases = new SimLeases({
      ...host,
      self: () => host.member.id,
      map: () => this.#map,
      readMap: () => this.updateMap(() => undefined),
    });
    this.leases = this.#leases.network;
    this.#mover.start();
    this.#schedule();
  }

  /** As this member knows it. */
  get map(): ShardMap {
    return this.#map;
  }

  stop(): void {
    this.#stopped = true;
    this.#mover.stop();
  }

  async answer(payload: unknown): Promise<unknown> {
    const asked = payload as Asked;
    if (asked.kind === 'slots') {
      const request = parseSlotRequest(asked.request);
      if (!request.ok) throw request.error;
      return this.#mover.serve(request.value);
    }
    if (asked.kind === 'lease') return this.#leases.serve(asked);
    const replica = this.#leading(this.#host.meta);
    if (replica === undefined) throw new KvError('KV_NOT_LEADER');
    return asked.kind === 'map' ? this.#readMap(replica) : this.#edit(replica, asked);
  }

  /** As the server's map editor: again, until it is as wanted or refused. */
  async updateMap(change: (map: ShardMap) => ShardMap | undefined): Promise<ShardMap> {
    const { meta } = this.#host;
    for (;;) {
      const text = String(await this.#ask(meta, { kind: 'map' }));
      const found = text === '' ? this.#host.firstMap : parsed(text);
      const wanted = change(found);
      if (wanted === undefined) return found;
      const { version } = found;
      const next = { ...wanted, version: version + 1 };
      const asked = { kind: 'edit', text: JSON.stringify(next), version } as const;
      try {
        if ((await this.#ask(meta, asked)) === true) return parsed(asked.text);
      } catch (error) {
        if (!isKvError(error)) throw error;
        // What became of it shows the next reading.
        await this.#pause(50);
      }
    }
  }

  #schedule(): void {
    this.#host.clock.setTimer(LOOK_MS, () => {
      if (this.#stopped) return;
      this.#schedule();
      const replica = this.#host.replica(this.#host.meta);
      const request = { op: 'range', key: MAP_KEY, serializable: true } as const;
      replica?.read(request, this.#deadline(), (result) => {
        const text = textOf(result);
        if (text === undefined || text === '' || text === this.#text) return;
        this.#text = text;
        const map = parsed(text);
        if (map.version > this.#map.version) this.#map = map;
      });
    });
  }

  #deadline(): number {
    return this.#host.clock.nowMs() + STEP_MS;
  }

  #leading(shard: ShardId): Replica | undefined {
    const replica = this.#host.replica(shard);
    return replica?.status().raft.role === 'leader' ? replica : undefined;
  }

  async #ask(shard: ShardId, asked: Asked): Promise<unknown> {
    const { member, world, clock, request, replica } = this.#host;
    const leader = replica(shard)?.status().raft.leader;
    if (leader === undefined) {
      await this.#pause(50);
      throw new KvError('KV_NO_LEADER');
    }
    if (leader === member.id) return this.answer(asked);
    const controller = new AbortController();
    const late = new KvError('KV_TIMEOUT');
    const cancel = clock.setTimer(ASK_MS, () => controller.abort(late));
    try {
      world.trace.line(member.name, `asks ${leader} ${asked.kind}`);
      return await request(leader, asked, controller.signal);
    } finally {
      cancel();
    }
  }

  #readMap(replica: Replica): Promise<string> {
    return new Promise((resolve, reject) => {
      replica.read({ op: 'range', key: MAP_KEY }, this.#deadline(), (result) => {
        if (result.ok) resolve(textOf(result) ?? '');
        else reject(result.error);
      });
    });
  }

  /** The version is the map's own: the first write finds none. */
  #edit(replica: Replica, asked: Extract<Asked, { readonly kind: 'edit' }>): Promise<boolean> {
    const value = asked.version - this.#host.firstMap.version;
    return new Promise((resolve, reject) => {
      replica.submit({
        request: {
          op: 'txn',
          compare: [{ key: MAP_KEY, target: 'version', result: 'equal', value }],
          success: [{ op: 'put', key: MAP_KEY, value: utf8(asked.text) }],
          failure: [],
        },
        session: undefined,
        deadlineMs: this.#deadline(),
        bytes: asked.text.length,
        done: (result) => {
          if (!result.ok) reject(result.error);
          else resolve(result.response.op === 'txn' && result.response.succeeded);
        },
      });
    });
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#host.clock.setTimer(delayMs, resolve);
    });
  }

  #logger(): ReplicaLogger {
    const { member, world, meta } = this.#host;
    const note = (fields: object, text: string): void =>
      world.trace.line(member.name, `${text} ${JSON.stringify(fields)}`);
    return {
      debug: note,
      info: note,
      warn: note,
      error: (fields, text) => {
        world.alarm({ member, shard: meta, text: `${text} ${JSON.stringify(fields)}` });
      },
    };
  }
}

function textOf(result: CommandResult): string | undefined {
  if (!result.ok || result.response.op !== 'range') return undefined;
  const [kv] = result.response.kvs;
  return kv === undefined ? '' : fromUtf8(kv.value);
}

/** The map that was read last: every member reads the same one. */
let latest: { readonly text: string; readonly map: ShardMap } | undefined;

function parsed(text: string): ShardMap {
  if (latest?.text === text) return latest.map;
  const map = parseShardMap(JSON.parse(text));
  if (!map.ok) throw new InvariantError(`a broken shard map: ${map.error}`);
  latest = { text, map: map.value };
  return map.value;
}

/** The map that a shard map's key holds in a log. */
export function mapOfValue(key: string, value: string | undefined): ShardMap | undefined {
  return key === 'map' && value !== undefined ? parsed(value) : undefined;
}
