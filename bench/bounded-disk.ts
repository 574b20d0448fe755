/**
 * `npx tsx --conditions=@kvorum/source bench/bounded-disk.ts [--overwrites 10000000] [--keys 10000] [--value-bytes 256]
 * [--mode periodic] [--retention 10s]`: overwrites few keys many times on one member, and says what its disk held at most.
 * docs/benchmarks.md has the figures.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runOverwrites, type Sample } from './overwrites.ts';

const MIB = 1024 * 1024;
const LINE_MS = 5000;

const { values } = parseArgs({
  options: {
    overwrites: { type: 'string', default: '10000000' },
    keys: { type: 'string', default: '10000' },
    'value-bytes': { type: 'string', default: '256' },
    mode: { type: 'string', default: 'periodic' },
    retention: { type: 'string', default: '10s' },
  },
});

const mib = (bytes: number): string => (bytes / MIB).toFixed(1);

let nextLineMs = 0;
function progress(sample: Sample): void {
  if (sample.atMs < nextLineMs) return;
  nextLineMs = sample.atMs + LINE_MS;
  const { done, storeBytes, logBytes, revision, compactRevision } = sample;
  process.stderr.write(
    `${(sample.atMs / 1000).toFixed(0)} s: ${done} puts, store ${mib(storeBytes)} MiB, log ${mib(logBytes)} MiB, ` +
      `history of ${revision - compactRevision} revisions\n`,
  );
}

const directory = mkdtempSync(join(tmpdir(), 'kvorum-bounded-'));
try {
  const report = await runOverwrites({
    directory,
    overwrites: Number(values.overwrites),
    keys: Number(values.keys),
    valueBytes: Number(values['value-bytes']),
    settings: {
      'autoCompaction.mode': values.mode,
      'autoCompaction.retention': values.retention,
      // The log is to follow within the minutes of a run: it keeps ten minutes otherwise, and 10,000 records, of up to 500 KiB here.
      'limits.truncateSlackRecords': 100,
      'limits.durableMs': 1000,
      'limits.truncateMs': 1000,
      'limits.truncateSlackMs': 10_000,
    },
    historyMax: values.mode === 'revision' ? Number(values.retention) * 1.1 : 0,
    progress,
  });
  const { samples: _samples, ...figures } = report;
  process.stdout.write(`${JSON.stringify({ ...values, ...figures })}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
