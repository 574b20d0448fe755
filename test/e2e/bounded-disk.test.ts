import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runOverwrites } from '../../bench/overwrites.ts';

const MIB = 1024 * 1024;
const directory = mkdtempSync(join(tmpdir(), 'kvorum-bounded-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The short form of bench/bounded-disk.ts. Without compaction and truncation: 75 MiB of rows and 65 MiB of log, and growing. */
it('keeps store and log small while few keys are overwritten again and again', async () => {
  const report = await runOverwrites({
    directory,
    overwrites: 200_000,
    keys: 1000,
    valueBytes: 256,
    historyMax: 5500,
    settings: {
      'autoCompaction.mode': 'revision',
      'autoCompaction.retention': '5000',
      'limits.truncateMs': 250,
      'limits.truncateSlackMs': 1,
      'limits.truncateSlackBytes': MIB,
      'limits.truncateSlackRecords': 100,
    },
  });
  expect(report.revision).toBe(200_001);
  expect(report.compactRevision).toBeGreaterThanOrEqual(200_001 - 5500);
  const { storeBytesEnd, logBytesEnd } = report;
  expect({ storeBytesEnd, isBounded: storeBytesEnd < 24 * MIB }).toMatchObject({ isBounded: true });
  expect({ logBytesEnd, isBounded: logBytesEnd < 24 * MIB }).toMatchObject({ isBounded: true });
});
