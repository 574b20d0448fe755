import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerFiles } from './broker-files.ts';
import { run } from './jars.ts';

const HEAP = ['-Xms256m', '-Xmx384m', '-XX:+UseSerialGC'];
/** Java's quick compiler alone: a start takes 4 s of CPU instead of 6.5, and the slow one has hardly paid by the end of a test. */
const SHORT_LIVED = '-XX:TieredStopAtLevel=1';
const POLL_MS = 50;
const TERMINATE_MS = 8000;
const KILL_MS = 10_000;

/**
 * Starts "$@", writes its pid to $0, and kills it when standard input ends: that is when the process that holds
 * the other end of the pipe is gone, however it went.
 */
const GUARD = `
exec 3<&0
"$@" </dev/null & broker=$!
echo $broker > "$0"
(read -r _ <&3; kill -9 $broker) & watch=$!
wait $broker
kill $watch 2>/dev/null
`;
/** As above without the guard: the broker outlives its starter. */
const DETACHED = `
echo $$ > "$0"
exec "$@"
`;

function java(jars: string, options: readonly string[], main: readonly string[]): string[] {
  return ['java', ...options, '-cp', `${join(jars, '*')}${delimiter}`, ...main];
}

/** Formats the broker's storage; nothing happens when it is formatted already. */
export async function formatStorage(
  jars: string,
  files: BrokerFiles,
  clusterId: string,
  more: readonly string[],
): Promise<void> {
  const format = ['format', '--ignore-formatted', '-t', clusterId, '-c', files.properties, ...more];
  const options = ['-Xmx128m', SHORT_LIVED, `-Dlog4j2.configurationFile=${files.log4j}`];
  const [command = 'java', ...args] = java(jars, options, ['kafka.tools.StorageTool', ...format]);
  const done = await run(command, args);
  if (!done.ok) throw new Error(`kafka storage format failed:\n${done.output}`);
}

export interface BrokerLife {
  /** It dies with this process, even when that is killed. */
  readonly guarded: boolean;
  /** Minutes: its start counts more than its speed. */
  readonly isShort: boolean;
}

/** Starts a broker; it is not ready yet when this resolves. The returned function lets the guard go. */
export async function startBroker(
  jars: string,
  files: BrokerFiles,
  { guarded, isShort }: BrokerLife,
): Promise<() => void> {
  await rm(files.pid, { force: true });
  const output = openSync(files.output, 'a');
  const log4j = `-Dlog4j2.configurationFile=${files.log4j}`;
  const options = [...HEAP, ...(isShort ? [SHORT_LIVED] : []), log4j];
  const command = java(jars, options, ['kafka.Kafka', files.properties]);
  const child = spawn('/bin/sh', ['-c', guarded ? GUARD : DETACHED, files.pid, ...command], {
    cwd: files.directory,
    detached: true,
    stdio: [guarded ? 'pipe' : 'ignore', output, output],
  });
  child.unref();
  // The guard's pipe must not keep this process running either.
  if (child.stdin !== null && 'unref' in child.stdin) (child.stdin as { unref(): void }).unref();
  await waitUntil(async () => (await brokerPid(files)) !== undefined, KILL_MS, 'a broker to start');
  return () => child.stdin?.end();
}

/** The broker's pid while it runs; the pid file of a dead one, or of a pid used again, counts as none. */
export async function brokerPid(files: BrokerFiles): Promise<number | undefined> {
  const text = await readFile(files.pid, 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const listed = await run('ps', ['-o', 'stat=,args=', '-p', String(pid)]);
  const isOurs = listed.ok && !listed.output.startsWith('Z');
  return isOurs && listed.output.includes(files.properties) ? pid : undefined;
}

/** Sends a signal to a running broker; false when it does not run. */
export async function signalBroker(files: BrokerFiles, signal: NodeJS.Signals): Promise<boolean> {
  const pid = await brokerPid(files);
  if (pid === undefined) return false;
  process.kill(pid, signal);
  return true;
}

/** SIGKILL, and waits until it is gone. */
export async function killBroker(files: BrokerFiles): Promise<boolean> {
  const isRunning = await signalBroker(files, 'SIGKILL');
  if (isRunning) await untilGone(files, KILL_MS);
  await rm(files.pid, { force: true });
  return isRunning;
}

/** SIGTERM, then SIGKILL when it takes too long (without a controller quorum it would wait for ever). */
export async function stopBroker(files: BrokerFiles): Promise<void> {
  if (await signalBroker(files, 'SIGTERM')) {
    await signalBroker(files, 'SIGCONT');
    await untilGone(files, TERMINATE_MS).catch(() => {});
  }
  await killBroker(files);
}

async function untilGone(files: BrokerFiles, timeoutMs: number): Promise<void> {
  await waitUntil(async () => (await brokerPid(files)) === undefined, timeoutMs, 'a broker to end');
}

/** Polls `condition`; throws when it does not hold within `timeoutMs`. */
export async function waitUntil(
  condition: () => Promise<boolean>,
  timeoutMs: number,
  what: string,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await sleep(POLL_MS);
  }
}
