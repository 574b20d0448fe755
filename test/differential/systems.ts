import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freeDevPort, freePorts } from '../../scripts/free-ports.ts';
import { run } from '../../scripts/kafka/jars.ts';
import type { Found } from '../clients/found.ts';
import { goProgram } from '../clients/go-programs.ts';
import { Command, KVD, Program } from '../e2e/command.ts';
import type { Pair } from './lockstep.ts';
import { Subject } from './subject.ts';

/** A server that runs for a test. */
export interface System {
  readonly name: string;
  /** `3.6.14`. */
  readonly version: string;
  /** host:port, plain text. */
  readonly endpoint: string;
  stop(): Promise<void>;
}

const READY_MS_MAX = 60_000;

/** Debian's etcd-server, or what else the PATH has. */
export async function etcdOnPath(): Promise<Found> {
  const works = (await run('etcd', ['--version'])).ok;
  return works
    ? { kind: 'found', path: 'etcd' }
    : { kind: 'missing', reason: 'no etcd on the PATH' };
}

/** etcd 3.6: `ETCD36`, or built by Go. */
export function etcd36(): Promise<Found> {
  return goProgram('etcd');
}

async function etcdVersion(path: string): Promise<string> {
  const { output } = await run(path, ['--version']);
  return /etcd Version: (\S+)/.exec(output)?.[1] ?? 'unknown';
}

/** One member, on free ports and data of its own, which are removed at the end. */
export async function startEtcd(path: string): Promise<System> {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-etcd-'));
  const endpoint = `127.0.0.1:${clientPort}`;
  const version = await etcdVersion(path);
  const peer = `http://127.0.0.1:${peerPort}`;
  const args = [
    ...['--data-dir', directory, '--log-level', 'error'],
    ...['--listen-client-urls', `http://${endpoint}`],
    ...['--advertise-client-urls', `http://${endpoint}`],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `default=${peer}`],
    ...['--bcrypt-cost', '4'],
    // etcd 3.4 does not know it.
    ...(version.startsWith('3.4.') ? [] : ['--unsafe-no-fsync']),
  ];
  const program = new Program(path, args, {
    environment: process.arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: process.arch },
  });
  const stop = async (): Promise<void> => {
    await program.kill();
    rmSync(directory, { recursive: true, force: true });
  };
  const name = `etcd ${version}`;
  return untilReady({ name, version, endpoint, stop }, program);
}

/** One member with one shard, on the embedded log, as anybody starts it. */
export async function startKvd(shards = 1, members = 1): Promise<System> {
  const port = await freeDevPort(members);
  const args = ['dev', '--ephemeral', '--client-port', String(port)];
  const program = new Command(KVD, [
    ...args,
    ...['--members', String(members), '--shards', String(shards)],
  ]);
  const stop = async (): Promise<void> => {
    await program.kill('SIGTERM');
  };
  return untilReady({ name: 'kvd', version: '', endpoint: `127.0.0.1:${port}`, stop }, program);
}

/**
 * One member, as `kvd` itself starts it.
 * @param settings - further flags, without their dashes: `shards`, `routing-rules`, …
 */
export async function startMember(settings: Readonly<Record<string, string>>): Promise<System> {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-member-'));
  const endpoint = `127.0.0.1:${clientPort}`;
  const all = {
    ...{ 'data-dir': directory, 'listen-client': endpoint, 'log-level': 'warn' },
    ...{ 'listen-peer': `127.0.0.1:${peerPort}`, ...settings },
  };
  const flags = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  const program = new Command(KVD, ['serve', ...flags]);
  const stop = async (): Promise<void> => {
    await program.kill('SIGTERM');
    rmSync(directory, { recursive: true, force: true });
  };
  return untilReady({ name: 'kvd', version: '', endpoint, stop }, program);
}

/** Two servers and the connections to them. */
export interface OpenPair {
  readonly pair: Pair;
  readonly reference: System;
  readonly candidate: System;
  close(): Promise<void>;
}

/** Errors: when one of them does not start the other is stopped. */
export async function openPair(
  starting: Promise<System>,
  candidateStarting: Promise<System>,
): Promise<OpenPair> {
  const started = await Promise.allSettled([starting, candidateStarting]);
  const [reference, candidate] = started;
  if (reference.status === 'rejected' || candidate.status === 'rejected') {
    await Promise.all(started.map(async (one) => ('value' in one ? one.value.stop() : undefined)));
    throw started.find((one) => one.status === 'rejected')?.reason;
  }
  const systems = [reference.value, candidate.value] as const;
  const pair = {
    reference: new Subject(reference.value.name, reference.value.endpoint),
    candidate: new Subject(candidate.value.name, candidate.value.endpoint),
  };
  const close = async (): Promise<void> => {
    pair.reference.close();
    pair.candidate.close();
    await Promise.all(systems.map(async (system) => system.stop()));
  };
  return { pair, reference: reference.value, candidate: candidate.value, close };
}

async function untilReady(system: System, program: Program): Promise<System> {
  const untilMs = Date.now() + READY_MS_MAX;
  for (;;) {
    const answer = await fetch(`http://${system.endpoint}/health`).catch(() => undefined);
    if (answer?.ok === true) return system;
    if (!program.running || Date.now() > untilMs) {
      await system.stop();
      throw new Error(`${system.name} did not become ready:\n${program.output}`);
    }
    await new Promise((done) => setTimeout(done, 50));
  }
}
