import { defineConfig } from 'vitest/config';

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
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          globalSetup: ['test/shared-kafka.ts'],
        },
      },
    ],
  },
});
