import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { kafkaJars } from '../../scripts/kafka/jars.ts';
import { runChaos } from './chaos-run.ts';
import { checkFile } from './check-file.ts';
import { PLANTS, plant } from './plant.ts';
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

describe.skipIf(missing !== undefined)('chaos on real processes', () => {
  const directory = join(tmpdir(), `kvorum-chaos-${SEED}-${process.pid}`);
  let isClean = false;
  afterAll(() => {
    if (isClean) rmSync(directory, { recursive: true, force: true });
  });

  it(
    `keeps every promise for ${MINUTES} minutes of faults, and halts when its log loses its tail`,
    async () => {
      const report = await runChaos({
        seed: SEED,
        minutes: MINUTES,
        opsPerSecond: 200,
        firstPort: undefined,
        directory,
        recoveryMsMax: 10_000,
        loseTail: true,
        signal: new AbortController().signal,
        say,
      });
      process.stderr.write(`${reportText(report)}again: npm run chaos -- --seed ${SEED}\n`);
      expect(report.violations).toEqual([]);
      expect(report.episodes.length).toBeGreaterThan(0);
      isClean = true;
    },
    MINUTES * 60_000 + BESIDES_MS,
  );

  it.each(Object.keys(PLANTS))('would have found %s in what was recorded', async (name) => {
    const damaged = join(directory, 'planted.jsonl');
    plant(join(directory, 'history-1.jsonl'), damaged, name);
    const { violations } = await checkFile(damaged, () => undefined);
    expect(violations.join('\n')).toMatch(PLANTS[name]?.found ?? /./);
  });
});

function say(line: string): void {
  process.stderr.write(`chaos: ${line}\n`);
}
