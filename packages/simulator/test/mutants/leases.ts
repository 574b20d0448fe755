import type { Mutant } from './mutant.ts';
import { heldLeases, heldLeasesOnMovingSlots } from './sets.ts';

/** Bugs of leases. */
export const LEASES: readonly Mutant[] = [
  {
    name: 'a new leader does not give leases their whole time again',
    edits: [
      {
        file: 'replica/src/lessor.ts',
        find: 'else queue.set(id, ttlSeconds, nowMs + ttlSeconds * 1000 + limits.electionMsMax);',
        replace: 'else queue.set(id, ttlSeconds, nowMs + limits.heartbeatMs);',
      },
    ],
    adjust: heldLeases,
    seenBy: ['lease-cut-short'],
  },
  {
    name: 'keep-alive answered without renewal',
    edits: [
      {
        file: 'replica/src/lessor.ts',
        find: '    queue.set(id, lease.ttlSeconds, nowMs + lease.ttlSeconds * 1000);\n',
        replace: '',
      },
    ],
    adjust: heldLeases,
    seenBy: ['lease-cut-short'],
  },
  {
    name: 'lease gone before the other shards have dropped it',
    edits: [
      {
        file: 'replica/src/lessor.ts',
        find: "isAlone(reign, ids, leases.map())) {\n      for (const id of ids) holdPermits(reign.ending.get(id));\n      const isGone = await this.#step(reign, ids, 'alone');",
        replace:
          "true) {\n      await this.#step(reign, ids, 'begin');\n      const isGone = await this.#step(reign, ids, 'finish');",
      },
    ],
    adjust: heldLeases,
    seenBy: ['lease-outlived'],
  },
  {
    name: 'a lease dropped once more after its end',
    edits: [
      {
        file: 'replica/src/lessor.ts',
        find: "    return this.#step(reign, left, 'finish');",
        replace:
          "    void pause(this.#host.clock, 500).then(() => otherShards(map).map((shard) => leases.at(shard).drop(drop, deadlineMs).catch(() => false)));\n    return this.#step(reign, left, 'finish');",
      },
    ],
    adjust: heldLeases,
    seenBy: ['lease-cut-short'],
  },
  {
    name: 'keys of a lease deleted one by one',
    edits: [
      {
        file: 'mvcc/src/lease-execution.ts',
        find: "const deleted = isBlocked ? 'none' : yield* executor.deleteTogether(keys);",
        replace:
          "let deleted: string = isBlocked ? 'none' : 'all';\n  if (!isBlocked) for (const key of keys) deleted = yield* executor.deleteTogether([key]);",
      },
    ],
    adjust: heldLeases,
    seenBy: ['lease-one-revision'],
  },
  {
    name: 'a put forgets its lease',
    edits: [
      {
        file: 'mvcc/src/batch.ts',
        find: 'sub: cursor.sub, value, lease, deleted: false });',
        replace:
          'sub: cursor.sub, value, lease: lease % 2n === 0n ? lease : NO_LEASE, deleted: false });',
      },
    ],
    adjust: heldLeases,
    seenBy: ['cross-check'],
  },
  {
    name: 'lease gone whatever moved meanwhile',
    edits: [
      {
        file: 'replica/src/lessor.ts',
        find: 'if (!isHereDone || !dropped || version !== map.version) return false;',
        replace: 'if (version < 0) return false;',
      },
    ],
    adjust: heldLeasesOnMovingSlots,
    seenBy: ['lease-outlived'],
    slow: true,
  },
  {
    name: 'lease dropped though its keys are frozen',
    edits: [
      {
        file: 'mvcc/src/lease-execution.ts',
        find: "isBlocked ||= standing === 'changing';",
        replace: 'isBlocked ||= false;',
      },
    ],
    adjust: heldLeasesOnMovingSlots,
    seenBy: ['lease-outlived', 'lease-one-revision'],
    slow: true,
  },
  {
    name: 'attachments forgotten by a move',
    edits: [
      {
        file: 'mvcc/src/slot-execution.ts',
        find: 'const leases = [...imported.leases, ...raised];',
        replace: 'const leases = [...raised];',
      },
    ],
    adjust: heldLeasesOnMovingSlots,
    seenBy: ['lease-outlived', 'liveness'],
  },
];
