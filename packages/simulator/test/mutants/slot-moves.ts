import type { Mutant } from './mutant.ts';
import { movingSlots, overtakenCopies, restlessSlots, standingFollowers } from './sets.ts';

/** Bugs of slots that move between shards. */
export const SLOT_MOVES: readonly Mutant[] = [
  {
    name: 'switch of the map before the target caught up',
    edits: [
      {
        file: 'replica/src/slot-move-driver.ts',
        find: 'await this.#gate.pass(() => this.#handOverInTime(move, next));',
        replace: 'await this.#decide(move);',
      },
    ],
    adjust: movingSlots,
    seenBy: ['slot-owned-once'],
  },
  {
    name: 'freeze forgotten',
    edits: [
      {
        file: 'mvcc/src/slot-ownership.ts',
        find: 'for (const { slots } of frozen) this.mark(slots, FROZEN);',
        replace: 'for (const { slots } of frozen) this.mark(slots, OWNED);',
      },
    ],
    adjust: movingSlots,
    seenBy: ['moved-history', 'moved-writes', 'linearizable'],
  },
  {
    name: 'tail lost',
    edits: [
      {
        file: 'replica/src/slot-move-driver.ts',
        find: 'const piece = await this.#pull(move, next, { attempt, sealed });',
        replace:
          'const piece = parseSlotExport(await ask({ kind: "export", shard, slots, from: sealed + 1 }));\n      await this.#write(move, piece, { attempt, sealed });',
      },
    ],
    adjust: movingSlots,
    seenBy: ['moved-history'],
  },
  {
    name: 'session refusal not recorded at the source',
    edits: [
      {
        file: 'mvcc/src/run-command.ts',
        find: '(run.refusal !== undefined && !tag.retry);',
        replace: 'run.refusal !== undefined;',
      },
    ],
    adjust: restlessSlots,
    seenBy: ['moved-writes'],
  },
  {
    name: 'revision not raised at the target',
    edits: [
      {
        file: 'mvcc/src/slot-execution.ts',
        find: 'const raise = Math.max(0, (command.seal?.sealed ?? 0) - view.revision);',
        replace: 'const raise = 0;',
      },
    ],
    adjust: movingSlots,
    seenBy: ['moved-history', 'moved-watch', 'linearizable', 'real-time'],
  },
  {
    name: 'drop before the switch',
    edits: [
      {
        file: 'replica/src/slot-move-driver.ts',
        find: '    const switched = await this.#decide(move);\n    return switched',
        replace:
          '    await ask({ kind: "release", shard, move: id, mapVersion: map.version });\n    await ask({ kind: "drop", shard, move: id });\n    const switched = await this.#decide(move);\n    return switched',
      },
    ],
    adjust: movingSlots,
    seenBy: ['slot-owned-once'],
  },
  {
    name: 'import applied twice',
    edits: [
      {
        file: 'mvcc/src/slot-command.ts',
        find: 'if (found.next !== from) return',
        replace: 'if (found.next < 0) return',
      },
      {
        file: 'replica/src/slot-move-driver.ts',
        find: '      const isLast = seal !== undefined && i === parts.length - 1;',
        replace:
          '      const isLast = seal !== undefined && i === parts.length - 1;\n      await this.#step(move, { ...rowsOf, from, floor, ...part });',
      },
      {
        file: 'mvcc/src/slot-execution.ts',
        find: 'const sub = found.band * BAND_WIDTH + index;',
        replace:
          'const sub = (found.band + (newest.get(text)?.[0] === main ? 9 : 0)) * BAND_WIDTH + index;',
      },
    ],
    adjust: movingSlots,
    seenBy: ['moved-history'],
  },
  {
    name: 'ownership not checked inside a txn',
    edits: [
      {
        file: 'mvcc/src/slot-refusal.ts',
        find: "    case 'txn':\n",
        replace: "    case 'txn':\n      if (request.compare.length >= 0) return undefined;\n",
      },
    ],
    adjust: movingSlots,
    seenBy: ['slot-owned-once'],
  },
  {
    name: 'a drop leaves what only the leader has compacted',
    edits: [
      {
        file: 'replica/src/state-machine.ts',
        find: 'for (const { slots } of writeSets) if (slots !== undefined) await this.#dropRest(slots);',
        replace: '',
      },
    ],
    adjust: standingFollowers,
    seenBy: ['moved-history'],
  },
  {
    name: 'a copy goes on over a compaction',
    edits: [
      {
        file: 'replica/src/slot-move-driver.ts',
        find: 'if (from > 0 && compactRevision > from && compactRevision > this.#floor) return undefined;',
        replace: 'if (from < 0) return undefined;',
      },
    ],
    adjust: overtakenCopies,
    seenBy: ['moved-history', 'linearizable', 'history'],
    slow: true,
  },
];
