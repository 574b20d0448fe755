import type { Mutant } from './mutant.ts';
import { shortLogs } from './sets.ts';

/** Bugs of truncating the log and of installing snapshots. */
export const SNAPSHOTS: readonly Mutant[] = [
  {
    name: 'truncate before others are durable',
    edits: [
      {
        file: 'raft/src/truncation-floor.ts',
        find: 'if (voter === self || left.includes(voter)) continue;',
        replace: 'if (voters.includes(voter)) continue;',
      },
    ],
    adjust: shortLogs,
    seenBy: ['log-truncation'],
  },
  {
    name: 'durable reported before the sync',
    edits: [
      {
        file: 'replica/src/durable-position.ts',
        find: '      await this.#host.sync();',
        replace: '      await Promise.resolve();',
      },
    ],
    adjust: shortLogs,
    seenBy: ['log-truncation'],
  },
  {
    name: 'snapshot without sessions',
    edits: [
      {
        file: 'testkit/src/memory-state-store.ts',
        find: 'encodeRows(this.#disk.rows)',
        replace: 'encodeRows(this.#disk.rows.filter(([key]) => key[0] !== 0x73))',
      },
    ],
    adjust: shortLogs,
    seenBy: ['state-hash', 'outcomes', 'linearizable'],
  },
  {
    name: 'snapshot that carries the source’s vote',
    edits: [
      {
        file: 'replica/src/snapshot-install.ts',
        find: '(batch) => batch.delete(HARD_STATE_KEY)',
        replace: '(batch) => batch.delete(META_KEY.subarray(1))',
      },
      {
        file: 'replica/src/replica.ts',
        find: 'if (hardRow !== undefined) batch.put(HARD_STATE_KEY, hardRow);',
        replace: 'if (hardRow?.length === 0) batch.put(HARD_STATE_KEY, hardRow);',
      },
    ],
    adjust: (swarm) => ({
      ...shortLogs(swarm),
      // Terms rise while the snapshot is on its way, so that the source's is an old one.
      limits: { ...shortLogs(swarm).limits, snapshotBytesPerSecond: 2000 },
      meanMs: { ...shortLogs(swarm).meanMs, transfer: 500 },
    }),
    seenBy: ['vote-durable', 'vote-once', 'never-backwards', 'leader-per-term'],
    slow: true,
  },
  {
    name: 'install not atomic',
    edits: [
      { file: 'testkit/src/memory-state-store.ts', find: '      side.settle();\n', replace: '' },
      {
        file: 'testkit/src/memory-state-store.ts',
        find: '    this.write(rows, true);',
        replace: '    for (const row of rows) this.write([row], false);',
      },
      {
        file: 'replica/src/snapshot-install.ts',
        find: '{ sync: true }',
        replace: '{ sync: false }',
      },
      {
        file: 'replica/src/replica.ts',
        find: '      { sync: true },',
        replace: '      { sync: false },',
      },
    ],
    adjust: (swarm) => ({
      ...shortLogs(swarm),
      meanMs: { ...shortLogs(swarm).meanMs, 'kill-at-effect': 300, 'machine-crash': 1000 },
    }),
    seenBy: ['batch-atomic', 'vote-durable', 'never-backwards', 'state-hash'],
  },
  {
    name: 'vote while a snapshot is installed',
    edits: [
      {
        file: 'raft/src/election.ts',
        find: '  if (lacksHistory(core)) {\n    refuse(core, from, pre);',
        replace:
          '  if (lacksHistory(core) && core.config.heartbeatMs < 0) {\n    refuse(core, from, pre);',
      },
    ],
    adjust: (swarm) => ({
      ...shortLogs(swarm),
      limits: { ...shortLogs(swarm).limits, snapshotBytesPerSecond: 500 },
    }),
    seenBy: ['install-idle'],
  },
];
