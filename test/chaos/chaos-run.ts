import { setMaxListeners } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { seededRng } from '@kvorum/testkit';
import { ChaosGround } from './chaos-cluster.ts';
import { checkFile } from './check-file.ts';
import { LONG, SHORT } from './fault.ts';
import { Leg } from './leg.ts';
import { loseTail } from './lost-tail.ts';
import { namesChange, Plan } from './plan.ts';
import { nowMs, type Outcomes } from './recorder.ts';
import type { ChaosReport, EpisodeReport } from './report.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly opsPerSecond: number;
  /** First of a range of ports; free ones when absent. */
  readonly firstPort: number | undefined;
  /** Where histories and logs go. */
  readonly directory: string;
  readonly recoveryMsMax: number;
  /** Whether a cluster is sacrificed at the end: its topic loses its tail. */
  readonly loseTail: boolean;
  /** Part of the kinds of faults that are wanted; all when absent. */
  readonly only?: string | undefined;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Every leg has a cluster, and a history, of its own: a history is checked as a whole, in memory. */
const LEG_MINUTES = 10;
const MINUTE_MS = 60_000;
/** Up to this the faults are short, so that many fit. */
const SHORT_RUN_MINUTES = 5;

interface Collected {
  readonly operations: Record<string, Outcomes>;
  readonly codes: Record<string, number>;
  readonly episodes: EpisodeReport[];
  readonly besides: string[];
  readonly violations: string[];
  readonly files: string[];
  watchEvents: number;
  legs: number;
}

/** Runs chaos for so many minutes, and leaves nothing running. Ends early when the signal says so, or after a violation. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, minutes, say, signal } = options;
  mkdirSync(options.directory, { recursive: true });
  // Every pause of a run listens to it.
  setMaxListeners(0, signal);
  const waitedBefore = cpuWaitMs();
  const beganMs = nowMs();
  const stalls = monitorEventLoopDelay();
  stalls.enable();
  say(`seed ${seed}: ${minutes} minutes; three brokers are starting`);
  const ground = await ChaosGround.start(options.firstPort);
  for (const what of ground.lacking) say(`SKIPPED ${what}`);
  const collected: Collected = {
    operations: {},
    codes: {},
    episodes: [],
    besides: [],
    violations: [],
    files: [],
    watchEvents: 0,
    legs: 0,
  };
  try {
    await runLegs(options, ground, collected);
    if (options.loseTail && !signal.aborted && collected.violations.length === 0) {
      say('a cluster is sacrificed: its topic loses its tail in an unclean election');
      const lost = await loseTail(ground.kafka, { signal, say });
      collected.besides.push(lost.text);
      collected.violations.push(...lost.violations);
    }
  } catch (error) {
    if (signal.aborted) collected.besides.push('stopped before its end');
    else collected.violations.push(`the run broke off: ${stackOf(error)}`);
  } finally {
    await ground.stop();
  }
  const report: ChaosReport = {
    ...collected,
    seed,
    minutes,
    opsPerSecond: options.opsPerSecond,
    skipped: ground.lacking,
    stalledMs: Math.round(stalls.max / 1e6),
    cpuWaitPercent: Math.round((100 * (cpuWaitMs() - waitedBefore)) / (nowMs() - beganMs)),
  };
  writeFileSync(join(options.directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  return report;
}

/** Linux: time in which something on this machine waited for a processor. */
function cpuWaitMs(): number {
  try {
    const [, micros] =
      /^some .*total=(\d+)/m.exec(readFileSync('/proc/pressure/cpu', 'utf8')) ?? [];
    return Number(micros ?? 0) / 1000;
  } catch {
    return 0;
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function runLegs(
  options: ChaosOptions,
  ground: ChaosGround,
  collected: Collected,
): Promise<void> {
  const { seed, minutes, opsPerSecond, recoveryMsMax, directory, signal, say } = options;
  const { only } = options;
  const longest = minutes <= SHORT_RUN_MINUTES ? SHORT : LONG;
  const planOf = (changes: boolean): Plan =>
    new Plan(seededRng(seed), { longest, equipment: ground, only, changes });
  const plans = [planOf(false), planOf(true)] as const;
  const beganMs = nowMs();
  const endMs = beganMs + minutes * MINUTE_MS;
  // No minutes: only the lost tail.
  const legs = minutes > 0 ? Math.max(1, Math.round(minutes / LEG_MINUTES)) : 0;
  for (let number = 1; number <= legs && collected.violations.length === 0; number += 1) {
    signal.throwIfAborted();
    // Every other cluster changes itself, from the second on.
    const changes = only === undefined ? number % 2 === 0 : namesChange(only);
    const plan = plans[changes ? 1 : 0];
    const leg = new Leg({
      ...{ number, changes, ground, plan, seed, opsPerSecond, beganMs, recoveryMsMax, directory },
      rng: seededRng(seed * 1000 + number),
      untilMs: beganMs + ((endMs - beganMs) * number) / legs,
      signal,
      say,
    });
    try {
      await leg.run();
    } finally {
      collect(leg, collected);
    }
    say(`leg ${number} of ${legs} ended; its history is checked`);
    const checked = await checkFile(leg.historyPath, say, leg.violations.length > 0);
    collected.violations.push(...checked.violations);
    collected.files.push(...checked.kept);
  }
}

function collect(leg: Leg, collected: Collected): void {
  collected.legs += 1;
  collected.episodes.push(...leg.episodes);
  collected.besides.push(...leg.besides);
  collected.violations.push(...leg.violations);
  collected.watchEvents += leg.watchEvents;
  for (const [kind, counts] of Object.entries(leg.recorder?.outcomes ?? {})) {
    const sum = collected.operations[kind] ?? { ok: 0, failed: 0, unknown: 0 };
    sum.ok += counts.ok;
    sum.failed += counts.failed;
    sum.unknown += counts.unknown;
    collected.operations[kind] = sum;
  }
  for (const [code, times] of Object.entries(leg.recorder?.codes ?? {})) {
    collected.codes[code] = (collected.codes[code] ?? 0) + times;
  }
}
