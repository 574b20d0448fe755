import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runOverwrites } from '../../bench/overwrites.ts';

const MIB = 1024 * 1024;
const directory = mkdtempSync(join(tmpdir(), 'kvorum-bounded-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The short form of bench/bounded-disk.ts. All that is written: 220 MiB of rows and as much log. */
it('keeps store and log small while few keys are overwritten again and again', async () => {
  const report = await runOverwrites({
    directory,
    overwrites: 200_000,
    keys: 1000,
    valueBytes: 1024,
    historyMax: 5500,
    settings: {
      'autoCompaction.mode': 'revision',
      'autoCompaction.retention': '5000',
      'limits.durableMs': 200,
      'limits.truncateMs': 250,
      'limits.truncateSlackMs': 1,
      'limits.truncateSlackBytes': MIB,
      'limits.truncateSlackRecords': 100,
    },
  });
  expect(report.revision).toBe(200_001);
  expect(report.compactRevision).toBeGreaterThanOrEqual(200_001 - 5500);
  const mib = (bytes: number): number => Math.ceil(bytes / MIB);
  // History of 5,500 rows is 6 MiB; LevelDB adds its write-ahead log and what it has not merged yet.
  expect(mib(report.storeBytesEnd)).toBeLessThan(48);
  // Its write-ahead log alone may take twice 32 MiB.
  expect(mib(report.logBytesEnd)).toBeLessThan(112);
});
