import {
  DEFAULT_LIMITS,
  fromUtf8,
  isKvError,
  KvError,
  leaseId,
  revision,
  shardId,
  utf8,
} from '@kvorum/base';
import type { LeaseCommand, LeaseRow } from '@kvorum/mvcc';
import { beginMoves, initialShardMap, type ShardMap } from '@kvorum/shard';
import { VirtualClock } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';
import type { Command } from '../src/api.ts';
import type { LeaseDrop } from '../src/lease-api.ts';
import { Lessor } from '../src/lessor.ts';

const L7 = leaseId(7n);
const TTL_SECONDS = 5;
const WAIT_MS = 7000;
const TERM = 3;
/** After a look that failed, the next one has come. */
const LOOK_MS = 600;

const ROW: LeaseRow = { id: L7, ttlSeconds: TTL_SECONDS, grantedAtMs: 0 };

function mapOf(shardCount: number): ShardMap {
  return initialShardMap({
    clusterId: '00000000000000aa',
    shardCount,
    members: [{ id: '0000000000000001', name: 'm1', peer: 'm1:1', client: 'm1:2' }],
    rules: [],
    replicas: 1,
    uids: Array.from({ length: shardCount }, (_, i) => `${i}`.repeat(32)),
  });
}

interface Asked {
  readonly drop: LeaseDrop;
  readonly resolve: (isDone: boolean) => void;
  readonly reject: (error: KvError) => void;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The home of the leases on its leader, with a log that takes commands one by one when it is told to. */
class Home {
  readonly clock = new VirtualClock();
  readonly rows = new Map([[L7, ROW]]);
  readonly queue: Command[] = [];
  readonly drops: Asked[] = [];
  /** What other shards say of the lease's keys, one after the other. */
  readonly keys = new Map<string, string[][]>();
  /** The map as this member knows it, and as a reading finds it. */
  known: ShardMap;
  newest: ShardMap;
  /** Holds readings of the map up. */
  reading: Promise<void> | undefined;
  readonly lessor: Lessor;

  constructor(known: number, newest: number) {
    this.known = mapOf(known);
    this.newest = mapOf(newest);
    const quiet = (): void => undefined;
    const counts = { granted: quiet, renewed: quiet, expired: quiet, revoked: quiet };
    this.lessor = new Lessor({
      shard: shardId(0),
      clock: this.clock,
      limits: DEFAULT_LIMITS,
      logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
      metrics: { leases: counts },
      leases: {
        map: () => this.known,
        readMap: async () => {
          await this.reading;
          return this.newest;
        },
        at: (shard) => ({
          permit: () => Promise.reject(new KvError('KV_NO_LEADER')),
          keys: () => Promise.resolve((this.keys.get(shard)?.shift() ?? []).map(utf8)),
          drop: (drop) =>
            new Promise((resolve, reject) => this.drops.push({ drop, resolve, reject })),
        }),
      },
      submit: (command) => this.queue.push(command),
      confirm: () => Promise.resolve(),
      revision: () => 1,
      keysOf: () => Promise.resolve([]),
      notLeading: () => new KvError('KV_NOT_LEADER'),
    });
    this.lessor.lead(TERM, [...this.rows.values()]);
  }

  get queued(): readonly string[] {
    return this.queue.map(({ request }) => {
      const { action, ...rest } = request as LeaseCommand;
      return 'stage' in rest ? rest.stage : action;
    });
  }

  /** The log takes the oldest command, which is applied and answered. */
  async log(): Promise<void> {
    const command = this.queue.shift();
    if (command === undefined) throw new RangeError('nothing is queued');
    this.execute(command.request as LeaseCommand);
    const response = { op: 'txn', revision: revision(1), succeeded: true, responses: [] } as const;
    command.done({ ok: true, response });
    await turn();
  }

  execute(command: LeaseCommand): void {
    if (command.action === 'grant') {
      const { id, ttlSeconds } = command;
      this.set({ id, ttlSeconds, grantedAtMs: 1 });
    } else if (command.action === 'revoke') {
      for (const id of command.ids) {
        if (command.stage === 'begin') this.set({ ...ROW, id, isEnding: true });
        else this.gone();
      }
    }
  }

  gone(): void {
    this.rows.delete(L7);
    this.lessor.applied(L7, undefined);
  }

  private set(row: LeaseRow): void {
    this.rows.set(row.id, row);
    this.lessor.applied(row.id, row);
  }

  async permits(): Promise<number> {
    return (await this.lessor.permit([L7], WAIT_MS)).leases.length;
  }

  /** What becomes of a revocation. */
  revoke(): Promise<string> {
    return codeOf(this.lessor.revoke(L7, this.clock.nowMs() + WAIT_MS));
  }

  grant(): Promise<string> {
    const lease = { id: L7, ttlSeconds: TTL_SECONDS };
    return codeOf(this.lessor.grant(lease, this.clock.nowMs() + WAIT_MS));
  }

  async look(): Promise<void> {
    this.clock.advance(LOOK_MS);
    this.lessor.tick(this.clock.nowMs());
    await turn();
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    if (!isKvError(error)) throw error;
    return error.code;
  }
}

describe('a lease that ends', () => {
  it('can be used by other shards until the log has its end, and not after', async () => {
    const home = new Home(2, 2);
    const revoked = home.revoke();
    await turn();
    expect(home.queued).toEqual(['begin']);
    expect(await home.permits()).toBe(1);
    await home.log();
    expect(await home.permits()).toBe(0);
    // The permit that was given meanwhile is void with it.
    expect(home.drops.map(({ drop }) => drop)).toEqual([{ ids: [L7], term: TERM, floor: 2 }]);
    home.drops[0]?.resolve(true);
    await turn();
    await home.log();
    expect(await revoked).toBe('ok');
  });

  it('can be used by other shards when it has expired, until the log has its end', async () => {
    const home = new Home(2, 2);
    home.clock.advance(TTL_SECONDS * 1000 + DEFAULT_LIMITS.electionMsMax + 1);
    expect(await home.permits()).toBe(1);
    await home.look();
    expect(await home.permits()).toBe(1);
    await home.log();
    expect(await home.permits()).toBe(0);
  });

  it('is dropped by a shard that has asked for it, though the map its leader knows has none', async () => {
    const home = new Home(1, 2);
    expect(await home.permits()).toBe(1);
    void home.revoke();
    await turn();
    expect(home.queued).toEqual(['begin']);
    await home.log();
    expect(home.drops.length).toBe(1);
  });

  it('goes in one step where no other shard has asked for it, and none may while it does', async () => {
    const home = new Home(1, 1);
    const revoked = home.revoke();
    await turn();
    expect(home.queued).toEqual(['alone']);
    expect(await home.permits()).toBe(0);
    await home.log();
    expect(await revoked).toBe('ok');
  });

  it('is not dropped by others before the log has its end', async () => {
    const home = new Home(2, 2);
    void home.revoke();
    await turn();
    // The record had no room for it.
    const response = { op: 'txn', revision: revision(1), succeeded: false, responses: [] } as const;
    home.queue.shift()?.done({ ok: true, response });
    await turn();
    expect(home.drops).toEqual([]);
    await home.look();
    expect(home.queued).toEqual(['begin']);
  });

  it('is asked of the others again only when none of them is at it any more', async () => {
    const home = new Home(3, 3);
    void home.revoke();
    await turn();
    await home.log();
    const [first, second] = home.drops;
    first?.reject(new KvError('KV_TOO_MANY_REQUESTS'));
    await turn();
    await home.look();
    expect(home.queued).toEqual([]);
    second?.resolve(true);
    await turn();
    await home.look();
    expect(home.queued).toEqual(['begin']);
  });
});

describe('the keys of a lease', () => {
  const keysOf = async (home: Home): Promise<string[]> => {
    const time = await home.lessor.timeToLive(L7, true, WAIT_MS);
    return time.keys.map(fromUtf8);
  };

  it('are found while their slots change hands', async () => {
    const home = new Home(3, 3);
    const moves = [{ from: shardId(1), to: shardId(2), slots: [[0, 9]] as const }];
    const moving = beginMoves(home.newest, { shards: [], moves }, ['00000000000000f1']);
    home.newest = { ...moving, version: 2 };
    // Asked before it takes them, and after they are gone.
    home.keys.set('2', [[], ['k1']]);
    expect(await keysOf(home)).toEqual(['k1']);
  });

  it('are found in a shard that the leader has not heard of', async () => {
    const home = new Home(2, 3);
    home.keys.set('1', [['k2']]);
    home.keys.set('2', [['k1']]);
    expect(await keysOf(home)).toEqual(['k1', 'k2']);
  });
});

describe('a lease that is granted anew', () => {
  /** The last step is in the log, and nobody knows. */
  async function unknown(): Promise<Home> {
    const home = new Home(2, 2);
    void home.revoke();
    await turn();
    await home.log();
    home.drops[0]?.resolve(true);
    await turn();
    expect(home.queued).toEqual(['finish']);
    home.queue.shift()?.done({ ok: false, error: new KvError('KV_TIMEOUT') });
    await turn();
    return home;
  }

  it('is not queued before a step of the old one', async () => {
    const home = await unknown();
    expect(await home.grant()).toBe('KV_LEASE_EXISTS');
    await home.look();
    expect(home.queued).toEqual(['begin']);
  });

  it('is not ended by a step of the old one that was under way', async () => {
    const home = await unknown();
    let read = (): void => undefined;
    home.reading = new Promise((resolve) => {
      read = resolve;
    });
    await home.look();
    home.gone();
    const granted = home.grant();
    await turn();
    await home.log();
    expect(await granted).toBe('ok');
    read();
    await turn();
    expect(home.queued).toEqual([]);
    expect(home.drops.length).toBe(1);
    expect(await home.permits()).toBe(1);
  });
});
