import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { progress } from './processes.ts';

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

/** The part of V8's .cpuprofile format that is needed to tell who spent the time. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
    readonly children?: readonly number[];
  }[];
  /** µs on the machine's monotonic clock, as process.hrtime. */
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Self time in µs by some name. */
export type SelfTime = ReadonlyMap<string, number>;

export interface ProfileSummary {
  /** What the time went to, in the words of {@link GROUPS}. */
  readonly byGroup: SelfTime;
  readonly byPackage: SelfTime;
  readonly byFunction: SelfTime;
}

/** Arguments of Node that make a process write a profile into `dir` when it ends by itself; NODE_OPTIONS refuses them. */
export function profilingArgs(dir: string): readonly string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`];
}

/** The part of a profile to look at, µs on the monotonic clock. */
export interface ProfileWindow {
  readonly fromUs: number;
  readonly toUs: number;
}

const NATIVE = 'native';
const GROUPS: readonly (readonly [group: string, packages: readonly string[]])[] = [
  ['LevelDB and N-API', ['classic-level', 'abstract-level', 'level-transcoder', 'store-level']],
  ['garbage collector', ['(garbage collector)']],
  ['Kafka', ['log-kafka', 'kafkajs']],
  ['WebSocket and wire', ['ws', 'wire', 'msgpackr', 'msgpackr-extract']],
  ['mvcc', ['mvcc', 'base']],
  ['raft, replica and peers', ['raft', 'replica', 'peer-tcp', 'ports']],
  ['HTTP/2 and gRPC', ['server/http2', 'server/etcd']],
  ['protobuf', ['@bufbuild/protobuf']],
  ['server', ['server', 'shard', 'prom-client']],
  ['SDK', ['client']],
  ['the load itself', ['bench']],
  ['system calls (sockets, files)', [NATIVE]],
  ["Node's own", ['node']],
  ['V8 outside functions', ['(program)']],
];
const GROUP_OF: ReadonlyMap<string, string> = new Map(
  GROUPS.flatMap(([group, packages]) => packages.map((name) => [name, group] as const)),
);

/** Adds up the self time of every profile in `dir` inside the window; idle time is left out. */
export function summarize(dir: string, window: ProfileWindow): ProfileSummary {
  const byGroup = new Map<string, number>();
  const byPackage = new Map<string, number>();
  const byFunction = new Map<string, number>();
  const add = (times: Map<string, number>, name: string, us: number): void => {
    times.set(name, (times.get(name) ?? 0) + us);
  };
  const files = readdirSync(dir).filter((name) => name.endsWith('.cpuprofile'));
  if (files.length === 0) progress(`no profile was written to ${dir}`);
  for (const file of files) {
    const profile = JSON.parse(readFileSync(join(dir, file), 'utf8')) as CpuProfile;
    for (const [frame, caller, us] of selfTimes(profile, window)) {
      const part = packageOf(frame);
      add(byGroup, GROUP_OF.get(part) ?? part, us);
      add(byPackage, part, us);
      add(byFunction, nameOf(frame, part, caller), us);
    }
  }
  return { byGroup, byPackage, byFunction };
}

/** One entry for each function that has self time in the window, with the function that called it. */
function selfTimes(
  profile: CpuProfile,
  window: ProfileWindow,
): readonly (readonly [frame: CallFrame, caller: CallFrame | undefined, us: number])[] {
  const usOf = new Map<number, number>();
  let atUs = profile.startTime;
  profile.samples.forEach((id, i) => {
    const us = profile.timeDeltas[i] ?? 0;
    atUs += us;
    if (atUs >= window.fromUs && atUs <= window.toUs) usOf.set(id, (usOf.get(id) ?? 0) + us);
  });
  const callers = new Map<number, CallFrame>();
  for (const { callFrame, children } of profile.nodes) {
    for (const child of children ?? []) callers.set(child, callFrame);
  }
  return profile.nodes.flatMap(({ id, callFrame }) => {
    const us = usOf.get(id);
    if (us === undefined || callFrame.functionName === '(idle)') return [];
    return [[callFrame, callers.get(id), us] as const];
  });
}

/** A native function says little without the one that called it. */
function nameOf(frame: CallFrame, part: string, caller: CallFrame | undefined): string {
  const name = frame.functionName || '(anonymous)';
  if (part === NATIVE && caller !== undefined) {
    const from = caller.functionName || '(anonymous)';
    return `${name} native, from ${from} ${packageOf(caller)} ${placeOf(caller)}`;
  }
  return frame.url === '' ? name : `${name} ${part} ${placeOf(frame)}`;
}

/** The package a script belongs to; V8's own work and Node's by their names. */
function packageOf({ url, functionName }: CallFrame): string {
  const module = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(url)?.[1];
  if (module !== undefined) return module;
  const door = /packages\/(server)\/dist\/(http2|etcd)\//.exec(url);
  if (door !== null) return `${door[1] ?? ''}/${door[2] ?? ''}`;
  const own = /packages\/([^/]+)\//.exec(url)?.[1];
  if (own !== undefined) return own;
  if (url.includes('/bench/dist/')) return 'bench';
  if (url.startsWith('node:')) return 'node';
  return functionName.startsWith('(') ? functionName : NATIVE;
}

function placeOf({ url, lineNumber }: CallFrame): string {
  return url === '' ? '' : `${url.slice(url.lastIndexOf('/') + 1)}:${lineNumber + 1}`;
}

/** One name's part of the time. */
export interface TimeShare {
  readonly name: string;
  readonly share: number;
  readonly usPerOp: number;
}

/**
 * The largest entries as share and as µs per operation. A sample counts the time until the next one, whether or
 * not the process had a core: so the samples give the shares, and the CPU time that was really used the µs.
 */
export function topShares(
  times: SelfTime,
  cpuUsPerOp: number,
  count: number,
): readonly TimeShare[] {
  const total = Array.from(times.values()).reduce((sum, us) => sum + us, 0);
  return Array.from(times)
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, us]) => ({ name, share: us / total, usPerOp: (us / total) * cpuUsPerOp }));
}

export function sharesText(shares: readonly TimeShare[]): string {
  return shares
    .map(({ name, share, usPerOp }) => {
      const percent = `${(100 * share).toFixed(1)} %`.padStart(8);
      return `${usPerOp.toFixed(2).padStart(8)} µs ${percent}  ${name}`;
    })
    .join('\n');
}
