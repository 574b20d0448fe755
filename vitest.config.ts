import { defineConfig } from 'vitest/config';

/** Faults against the clock, floods, bounds on what must keep up: a file beside them would change what they find. */
const ALONE = [
  'test/chaos/chaos.test.ts',
  'test/e2e/bad-input.test.ts',
  'test/e2e/bounded-disk.test.ts',
  'test/e2e/kafka-election.test.ts',
  'test/e2e/survival.test.ts',
];
/** Of tests on real processes and brokers; for what hangs only. */
const SLOW_MS = 180_000;

export default defineConfig({
  ssr: { resolve: { conditions: ['@kvorum/source'] } },
  resolve: { conditions: ['@kvorum/source'] },
  test: {
    // A worker reads its modules once, not once a file: a third of the CPU of the unit tests.
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts', 'test/{repo,docs}/**/*.test.ts'],
          exclude: ['**/*.integration.test.ts', '**/node_modules/**'],
          // For what hangs only: a machine with ten times as much to do as it can is slow, not wrong.
          testTimeout: 60_000,
          // Members and clusters are started in hooks.
          hookTimeout: 60_000,
          // The default leaves one processor idle: half of two.
          maxWorkers: '100%',
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: [
            'packages/*/test/**/*.integration.test.ts',
            'test/docs/**/*.integration.test.ts',
            'test/e2e/**/*.test.ts',
            'test/chaos/**/*.test.ts',
            'test/{clients,differential}/**/*.test.ts',
          ],
          exclude: [...ALONE, '**/node_modules/**'],
          testTimeout: SLOW_MS,
          hookTimeout: SLOW_MS,
          // Each waits half of its time, for elections, brokers and leases. More at once would take memory: a file may have three brokers.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          globalSetup: ['test/shared-kafka.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'integration-alone',
          include: ALONE,
          testTimeout: SLOW_MS,
          hookTimeout: SLOW_MS,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
