import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type KvError, utf8, type WriteRequest } from '@kvorum/base';
import { openLocalLogs } from '@kvorum/log-local';
import type { ReplicaPort } from '@kvorum/replica';
import { createLogger, loadConfig, type Member, startMember, systemClock } from '@kvorum/server';

/** Commands under way at once: a member's clients, without the network in between. */
const INFLIGHT = 2048;
const COMMAND_TIMEOUT_MS = 60_000;

/** One member of one shard on the embedded log, in this process. */
export interface OneMember {
  readonly replica: ReplicaPort;
  /** Of its store and everything else it keeps. */
  readonly dataDir: string;
  readonly logDirectory: string;
  /** Where its HTTP API listens. */
  readonly endpoint: string;
  stop(): Promise<void>;
}

/** @param directory - of its own; the caller removes it. */
export async function startOneMember(
  directory: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<OneMember> {
  const logDirectory = join(directory, 'log');
  const dataDir = join(directory, 'm1');
  mkdirSync(logDirectory, { recursive: true });
  const { config } = loadConfig({
    environment: {},
    flags: {},
    fixed: {
      dataDir,
      listenClient: '127.0.0.1:0',
      listenPeer: '127.0.0.1:0',
      shards: 1,
      logLevel: 'warn',
      ...settings,
    },
  });
  const logs = await openLocalLogs({ directory: logDirectory, limits: config.limits });
  const member = await startMember({
    config,
    version: '0.0.0-bench',
    logger: createLogger(config),
    logs: logs.forMember(),
    logWhere: logDirectory,
    signal: new AbortController().signal,
  });
  const replica = await leaderOf(member);
  const stop = async (): Promise<void> => {
    await member.stop();
    await logs.close();
  };
  return { replica, dataDir, logDirectory, endpoint: member.clientAddress, stop };
}

async function leaderOf(member: Member): Promise<ReplicaPort> {
  for (;;) {
    const replica = member.host.dataReplica('0');
    if (replica !== undefined && member.host.leads('0')) return replica;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One write, until it is applied. */
export function submit(
  replica: ReplicaPort,
  request: WriteRequest,
  bytes: number,
  done: (failure: KvError | undefined) => void,
): void {
  replica.submit({
    request,
    session: undefined,
    deadlineMs: systemClock.nowMs() + COMMAND_TIMEOUT_MS,
    bytes,
    done: (result) => done(result.ok ? undefined : result.error),
  });
}

export interface PutRun {
  readonly puts: number;
  /** Puts go round these keys, spread without a pattern that would please the store. */
  readonly keys: number;
  readonly valueBytes: number;
  /** Called after each. */
  readonly onDone?: (done: number) => void;
}

/** Many puts, as fast as the member takes them. Rejects with the first failure. */
export async function putMany(replica: ReplicaPort, run: PutRun): Promise<void> {
  let begun = 0;
  let done = 0;
  let failure: KvError | undefined;
  await new Promise<void>((finished) => {
    const next = (): void => {
      if (begun >= run.puts || failure !== undefined) {
        if (done === begun) finished();
        return;
      }
      const n = begun;
      begun += 1;
      const key = utf8(`bench/${((n * 7919) % run.keys).toString().padStart(8, '0')}`);
      const value = new Uint8Array(run.valueBytes).fill(97 + (n % 26));
      submit(replica, { op: 'put', key, value }, key.length + run.valueBytes + 64, (error) => {
        done += 1;
        failure ??= error;
        run.onDone?.(done);
        next();
      });
    };
    for (let i = 0; i < INFLIGHT; i += 1) next();
  });
  if (failure !== undefined) throw failure;
}
