import { fromUtf8, type SessionTag, utf8, type WatchEvent } from '@kvorum/base';
import {
  type CommandResult,
  decodeOwnership,
  Engine,
  initialMeta,
  OWNERSHIP_KEY,
  partsOfPiece,
  type SlotCommand,
  type SlotImport,
  type SlotSpace,
  userKeyOfRow,
  WatchHub,
} from '@kvorum/mvcc';
import { expect } from 'vitest';
import { TestReplica } from './harness.ts';

export const SLOTS = 4;
const slotOfName = (name: string): number => name.charCodeAt(0) % SLOTS;

function space(startsEmpty: boolean): SlotSpace {
  return {
    count: SLOTS,
    ofKey: (key) => slotOfName(fromUtf8(key)),
    ofRange: () => undefined,
    startsEmpty,
  };
}

/** A shard with two replicas: the second one compacts whenever it likes. */
export class Shard {
  readonly leader: TestReplica;
  readonly follower: TestReplica;
  readonly seen = new Map<number, WatchEvent[]>();
  readonly position = new Map<number, number>();
  readonly gone = new Set<number>();
  /** What each key should hold. */
  readonly newest = new Map<string, string | undefined>();
  full = false;
  private readonly startsEmpty: boolean;

  constructor(startsEmpty: boolean) {
    this.startsEmpty = startsEmpty;
    const sink = {
      deliver: (
        id: number,
        batch: { readonly events: readonly WatchEvent[]; readonly revision: number },
      ) => {
        if (this.full && batch.events.length > 0) return false;
        this.seen.get(id)?.push(...batch.events);
        this.position.set(id, batch.revision + 1);
        return true;
      },
      cancelled: (id: number) => expect.fail(`watch ${id} compacted`),
      moved: (id: number) => this.gone.add(id),
    };
    this.leader = new TestReplica({}, sink);
    this.follower = new TestReplica();
    for (const replica of [this.leader, this.follower]) this.load(replica, sink);
  }

  private load(replica: TestReplica, sink: ConstructorParameters<typeof WatchHub>[0]): void {
    replica.engine = Engine.load(initialMeta(), replica.limits, {
      space: space(this.startsEmpty),
      row: undefined,
    });
    replica.hub = new WatchHub(sink, replica.engine);
    replica.run(replica.engine.loadSessions());
  }

  run(
    request: Parameters<TestReplica['batch']>[0][number]['request'],
    session?: SessionTag,
  ): CommandResult {
    const [result] = this.leader.batch([
      session === undefined ? { request } : { request, session },
    ]);
    if (this.leader.lastPayload !== undefined) this.follower.apply(this.leader.lastPayload);
    return result as CommandResult;
  }

  must(command: SlotCommand): void {
    const result = this.run(command);
    if (!result.ok) throw result.error;
  }

  put(name: string, value: string): CommandResult {
    return this.run({ op: 'put', key: utf8(name), value: utf8(value) });
  }

  history(name: string, from: number): string[] {
    const out: string[] = [];
    for (let revision = from; revision <= this.leader.engine.revision; revision += 1) {
      const request = { op: 'range', key: utf8(name), revision } as const;
      const result = this.leader.run(this.leader.engine.range(request));
      if (!result.ok) throw result.error;
      const [kv] = result.value.kvs;
      out.push(
        kv === undefined
          ? '-'
          : `${fromUtf8(kv.value)}@${kv.modRevision}/${kv.createRevision}/${kv.version}`,
      );
    }
    return out;
  }

  hash(replica: TestReplica): string {
    return replica.run(replica.engine.stateHash()).hash;
  }
}

export const NAMES = ['a', 'b', 'e', 'f', 'c', 'i'];
export const MOVED = [[1, 1]] as const; // a, e, i
export const isMoved = (name: string): boolean => slotOfName(name) === 1;

export function importOf(target: Shard): SlotImport {
  const row = target.leader.store.get(OWNERSHIP_KEY);
  const found = row === undefined ? undefined : decodeOwnership(row).imports.at(-1);
  if (found === undefined) throw new Error('no import has begun');
  return found;
}

/** Copies what the target lacks, at most so many bytes a record. */
export function copy(
  source: Shard,
  target: Shard,
  partBytes: number,
  seal?: { readonly attempt: number; readonly sealed: number },
): void {
  const found = importOf(target);
  const piece = source.leader.run(source.leader.engine.exportSlots(found.slots, found.next));
  const { compactRevision: floor } = piece;
  if (found.next > 0 && floor > found.next && floor > found.floor) {
    // As the driver does it: what was deleted since may not be told any more.
    target.must({ op: 'slots', action: 'discard', move: 'm' });
    dropAll(target);
    const { attempt, slots } = found;
    target.must({ op: 'slots', action: 'import-begin', move: 'm', attempt, slots, owned: [] });
    copy(source, target, partBytes, seal);
    return;
  }
  const rowsOf = { op: 'slots', action: 'import-rows', move: 'm', floor } as const;
  const parts = partsOfPiece(piece, partBytes, found);
  for (const [i, part] of parts.entries()) {
    const isLast = seal !== undefined && i === parts.length - 1 && part.to > seal.sealed;
    target.must({ ...rowsOf, from: importOf(target).next, ...part, ...(isLast ? { seal } : {}) });
    // Somebody else goes on in the middle of a revision.
    if (part.toSub !== undefined && partBytes % 2 === 1) {
      copy(source, target, partBytes, seal);
      return;
    }
  }
}

export function handOver(source: Shard, target: Shard, attempt: number, partBytes = 10_000): void {
  const { revision: sealed } = source.leader.engine;
  source.must({
    op: 'slots',
    action: 'freeze',
    move: 'm',
    attempt,
    mapVersion: 1,
    slots: MOVED,
    owned: [[0, SLOTS - 1]],
  });
  expect(source.put('a', 'frozen')).toMatchObject({ ok: false, error: { code: 'KV_WRONG_SHARD' } });
  expect(source.put('b', 'not frozen').ok).toBe(true);
  for (let i = 0; i < 100; i += 1) {
    copy(source, target, partBytes, { attempt, sealed });
    if (importOf(target).state === 'sealed') break;
  }
  expect(importOf(target)).toMatchObject({ state: 'sealed', attempt, sealed });
}

export const shown = (events: readonly WatchEvent[]): string[] =>
  events.map(
    ({ type, kv }) => `${type} ${fromUtf8(kv.key)} ${fromUtf8(kv.value)}@${kv.modRevision}`,
  );

export function dropAll(source: Shard): void {
  for (let i = 0; i < 100; i += 1) {
    if ((source.leader.engine.ownership?.drops.length ?? 0) === 0) break;
    source.must({ op: 'slots', action: 'drop', move: 'm' });
  }
  // Nothing is left, however far a replica's own compaction has come.
  for (const replica of [source.leader, source.follower]) expect(rowsOfMoved(replica)).toEqual([]);
}

/** Store keys of heads and revision rows of the moving slots. */
function rowsOfMoved({ store }: TestReplica): readonly string[] {
  return store.keys().filter((text) => {
    const storeKey = Uint8Array.from(Buffer.from(text, 'hex'));
    if (text.startsWith('6b')) return isMoved(fromUtf8(storeKey.subarray(1)));
    const row = store.get(storeKey);
    return text.startsWith('72') && row !== undefined && isMoved(fromUtf8(userKeyOfRow(row)));
  });
}
