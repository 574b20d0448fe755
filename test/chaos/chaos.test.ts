import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { kafkaJars } from '../../scripts/kafka/jars.ts';
import { runChaos } from './chaos-run.ts';
import { reportText } from './report.ts';

/** Chaos needs brokers of its own, behind its proxies. */
const missing = await kafkaJars().then(
  () => undefined,
  (error: unknown) => String(error),
);
if (missing !== undefined) {
  process.stderr.write(`SKIPPED chaos on real processes: ${missing}\n`);
}

const MINUTES = Number(process.env['KVORUM_CHAOS_MINUTES'] ?? '2');
const SEED = Number(process.env['KVORUM_CHAOS_SEED'] ?? Math.floor(Math.random() * 1e9));
/** Starts, checks, and the cluster whose log loses its tail, on a busy machine. */
const BESIDES_MS = 600_000;

it.skipIf(missing !== undefined)(
  `keeps every promise for ${MINUTES} minutes of faults, and halts when its log loses its tail`,
  async () => {
    const directory = join(tmpdir(), `kvorum-chaos-${SEED}-${process.pid}`);
    const report = await runChaos({
      seed: SEED,
      minutes: MINUTES,
      opsPerSecond: 200,
      firstPort: undefined,
      directory,
      recoveryMsMax: 10_000,
      loseTail: true,
      signal: new AbortController().signal,
      say: (line) => {
        process.stderr.write(`chaos: ${line}\n`);
      },
    });
    process.stderr.write(`${reportText(report)}again: npm run chaos -- --seed ${SEED}\n`);
    expect(report.violations).toEqual([]);
    expect(report.episodes.length).toBeGreaterThan(0);
    rmSync(directory, { recursive: true, force: true });
  },
  MINUTES * 60_000 + BESIDES_MS,
);
