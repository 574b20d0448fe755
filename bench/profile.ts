import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { progress } from './processes.ts';

/** The part of V8's .cpuprofile format that is needed to tell who spent the time. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  /** µs on the machine's monotonic clock, as process.hrtime. */
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Self time in µs by some name. */
export type SelfTime = ReadonlyMap<string, number>;

export interface ProfileSummary {
  readonly byPart: SelfTime;
  readonly byFunction: SelfTime;
}

/** Arguments of Node that make a process write a profile into `dir` when it ends by itself. */
export function profilingArgs(dir: string): readonly string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`];
}

/** The part of a profile to look at, µs on the monotonic clock. */
export interface ProfileWindow {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Adds up the self time of every profile in `dir` inside the window; idle time is left out. */
export function summarize(dir: string, window: ProfileWindow): ProfileSummary {
  const byPart = new Map<string, number>();
  const byFunction = new Map<string, number>();
  const files = readdirSync(dir).filter((name) => name.endsWith('.cpuprofile'));
  if (files.length === 0) progress(`no profile was written to ${dir}`);
  for (const file of files) {
    const profile = JSON.parse(readFileSync(join(dir, file), 'utf8')) as CpuProfile;
    const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
    let atUs = profile.startTime;
    profile.samples.forEach((id, i) => {
      const us = profile.timeDeltas[i] ?? 0;
      atUs += us;
      if (atUs < window.fromUs || atUs > window.toUs) return;
      const frame = frames.get(id);
      if (frame === undefined || frame.functionName === '(idle)') return;
      const part = partOf(frame.url, frame.functionName);
      const name = `${frame.functionName || '(anonymous)'} ${part} ${shortUrl(frame.url)}:${frame.lineNumber + 1}`;
      byPart.set(part, (byPart.get(part) ?? 0) + us);
      byFunction.set(name, (byFunction.get(name) ?? 0) + us);
    });
  }
  return { byPart, byFunction };
}

/** The package a script belongs to; V8's own work and Node's by their names. */
function partOf(url: string, functionName: string): string {
  const module = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(url)?.[1];
  if (module !== undefined) return module;
  const own = /packages\/([^/]+)\//.exec(url)?.[1];
  if (own !== undefined) return own;
  if (url.startsWith('node:')) return 'node';
  return functionName.startsWith('(') ? functionName : 'native';
}

function shortUrl(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}

/**
 * The largest entries as share and as µs per operation. A sample counts the time until the next one, whether or
 * not the process had a core: so the samples give the shares, and the CPU time that was really used the µs.
 */
export function topLines(times: SelfTime, cpuUsPerOp: number, count: number): string {
  const total = Array.from(times.values()).reduce((sum, us) => sum + us, 0);
  return Array.from(times)
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, us]) => {
      const share = us / total;
      const percent = `${(100 * share).toFixed(1)} %`.padStart(8);
      return `${(share * cpuUsPerOp).toFixed(2).padStart(8)} µs ${percent}  ${name}`;
    })
    .join('\n');
}
