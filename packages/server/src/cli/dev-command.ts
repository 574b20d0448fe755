import { serverVersion } from '../version.ts';
import { DevCluster, type DevOptions } from './dev-cluster.ts';
import { troubles } from './dev-trouble.ts';
import { runUntilSignal } from './run-until-signal.ts';

/** The ports where kvctl looks by itself. */
const KVCTL_FINDS = { clientPort: 2379, members: 3 };

function kvctlCommand(cluster: DevCluster, options: DevOptions): string {
  const { clientPort, members } = KVCTL_FINDS;
  const found = options.clientPort === clientPort && options.members <= members;
  return found ? 'npx kvctl' : `npx kvctl --endpoints ${cluster.addresses.join(',')}`;
}

/** What a person can do next: a first look, and what this is all about, a member that dies. */
function suggestions(kvctl: string, options: DevOptions): readonly string[] {
  const lose = [
    `  ${kvctl} dev kill 2     # member m2 dies, the others go on`,
    `  ${kvctl} dev start 2    # and it is back`,
  ];
  return [
    'Try, in another terminal:',
    `  ${kvctl} put greeting hello`,
    `  ${kvctl} get greeting`,
    ...(options.members > 1 ? lose : []),
    `  ${kvctl} status`,
  ];
}

function trouble(found: readonly string[], kvctl: string): readonly string[] {
  return [
    'NOT EVERYTHING SERVES:',
    ...found.map((line) => `  ${line}`),
    `Next: ${kvctl} status   # then "What to do when" in docs/operations.md`,
  ];
}

function greeting(cluster: DevCluster, options: DevOptions): string {
  const rows = cluster.members.map((member) => `  ${member.name}  http://${member.clientAddress}`);
  const log = options.log === 'kafka' ? `Kafka at ${options.brokers.join(', ')}` : 'embedded log';
  const kept = options.ephemeral ? 'removed at exit' : 'kept between runs';
  const kvctl = kvctlCommand(cluster, options);
  const found = troubles(cluster.members);
  return [
    `Kvorum ${serverVersion()}: ${options.members} members, ${options.shards} shards, ${log}`,
    ...rows,
    `data in ${cluster.directory} (${kept}); REST and its documentation at http://127.0.0.1:${options.clientPort}/docs`,
    '',
    ...(found.length === 0 ? suggestions(kvctl, options) : trouble(found, kvctl)),
    '',
    'Ctrl-C stops.',
    '',
  ].join('\n');
}

/** `kvd dev`: a whole cluster in this process until a signal. Returns the exit code. */
export async function dev(options: DevOptions): Promise<number> {
  const cluster = new DevCluster(options);
  return runUntilSignal({
    async start(signal) {
      await cluster.start(signal);
      process.stdout.write(greeting(cluster, options));
    },
    stop: () => cluster.stop(),
  });
}
