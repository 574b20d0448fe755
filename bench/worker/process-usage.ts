import { readFileSync } from 'node:fs';

/** Kernel ticks a second in /proc: 100 on every Linux architecture that Node supports. */
const TICKS_PER_SECOND = 100;

/** CPU seconds (user and system) a process has used; undefined when it is gone or /proc is not there. */
export function cpuSecondsOf(pid: number): number | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second field is the command in parentheses and may hold spaces: count from its end.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export interface Memory {
  readonly rssBytes: number;
  readonly rssPeakBytes: number;
}

/** Resident memory of a process now and at its peak; undefined when it is gone or /proc is not there. */
export function memoryOf(pid: number): Memory | undefined {
  const text = readProc(`/proc/${pid}/status`);
  if (text === undefined) return undefined;
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
  return { rssBytes: kib('VmRSS') * 1024, rssPeakBytes: kib('VmHWM') * 1024 };
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // the process ended, or this is not Linux
  }
}

/** CPU seconds of every group together, NaN where one of its processes could not be read. */
export function cpuSecondsOfGroups(
  groups: Readonly<Record<string, readonly number[]>>,
): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [name, pids] of Object.entries(groups)) {
    out[name] = pids.reduce((sum, pid) => sum + (cpuSecondsOf(pid) ?? Number.NaN), 0);
  }
  return out;
}

/** CPU seconds of the whole machine since it started, over all cores. */
export interface MachineUsage {
  readonly busySeconds: number;
  readonly idleSeconds: number;
}

/** NaN where /proc is not there. Time stolen by other virtual machines counts as busy: nobody here had it. */
export function machineUsage(): MachineUsage {
  const line = /^cpu +(.*)$/m.exec(readProc('/proc/stat') ?? '')?.[1] ?? '';
  const [user, nice, system, idle, wait, irq, softIrq, stolen] = line.split(' ').map(Number);
  const seconds = (...ticks: (number | undefined)[]): number =>
    ticks.reduce<number>((sum, each) => sum + (each ?? Number.NaN), 0) / TICKS_PER_SECOND;
  return {
    busySeconds: seconds(user, nice, system, irq, softIrq, stolen),
    idleSeconds: seconds(idle, wait),
  };
}
