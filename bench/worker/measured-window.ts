import { cpuSecondsOfGroups, machineUsage } from './process-usage.ts';

/** What of a load's specification says how it is measured. */
export interface WindowSpec {
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Processes whose CPU time is taken at both ends of the window: group name to process ids. */
  readonly groups: Readonly<Record<string, readonly number[]>>;
}

export interface MeasuredWindow {
  readonly seconds: number;
  /** CPU seconds spent in the window by each group, this load process (`client`), everybody else (`others`) and nobody (`idle`). */
  readonly cpuSeconds: Readonly<Record<string, number>>;
}

/** Waits for the warm-up and the window, with `count(true)` at the start of the window and `count(false)` at its end. */
export async function measuredWindow(
  spec: WindowSpec,
  count: (isMeasuring: boolean) => void,
): Promise<MeasuredWindow> {
  await pause(spec.warmUpMs);
  const machineBefore = machineUsage();
  const groupsBefore = cpuSecondsOfGroups(spec.groups);
  const ownBefore = process.cpuUsage();
  const startedAt = performance.now();
  count(true);
  await pause(spec.measureMs);
  count(false);
  const seconds = (performance.now() - startedAt) / 1000;
  const own = process.cpuUsage(ownBefore);
  const groupsAfter = cpuSecondsOfGroups(spec.groups);
  const machineAfter = machineUsage();
  const cpuSeconds: Record<string, number> = { client: (own.user + own.system) / 1e6 };
  for (const [name, after] of Object.entries(groupsAfter)) {
    cpuSeconds[name] = after - (groupsBefore[name] ?? Number.NaN);
  }
  const known = Object.values(cpuSeconds).reduce((sum, each) => sum + each, 0);
  cpuSeconds['others'] = machineAfter.busySeconds - machineBefore.busySeconds - known;
  cpuSeconds['idle'] = machineAfter.idleSeconds - machineBefore.idleSeconds;
  return { seconds, cpuSeconds };
}

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
