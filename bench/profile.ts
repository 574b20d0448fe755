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
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Self time in µs by some name. */
export type SelfTime = ReadonlyMap<string, number>;

export interface ProfileSummary {
  readonly byPart: SelfTime;
  readonly byFunction: SelfTime;
}

/** Node options that make a process write a profile into `dir` when it ends by itself. */
export function profilingOptions(dir: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${dir}` };
}

/** Adds up the self time of every profile in `dir`; idle time is left out. */
export function summarize(dir: string): ProfileSummary {
  const byPart = new Map<string, number>();
  const byFunction = new Map<string, number>();
  const files = readdirSync(dir).filter((name) => name.endsWith('.cpuprofile'));
  if (files.length === 0) progress(`no profile was written to ${dir}`);
  for (const file of files) {
    const profile = JSON.parse(readFileSync(join(dir, file), 'utf8')) as CpuProfile;
    const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
    profile.samples.forEach((id, i) => {
      const frame = frames.get(id);
      if (frame === undefined || frame.functionName === '(idle)') return;
      const us = profile.timeDeltas[i] ?? 0;
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

/** The largest entries as µs per operation. */
export function topLines(times: SelfTime, ops: number, count: number): string {
  return Array.from(times)
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, us]) => `${(us / ops).toFixed(2).padStart(8)}  ${name}`)
    .join('\n');
}
