import { serverVersion } from '../version.ts';
import { DevCluster, type DevOptions } from './dev-cluster.ts';
import { troubles } from './dev-trouble.ts';
import { runUntilSignal } from './run-until-signal.ts';

/** The ports where kvctl looks by itself. */
const KVCTL_FINDS = { clientPort: 2379, members: 3 };

/** What kvctl must be told first, where it does not look by itself. */
function exports(cluster: DevCluster, options: DevOptions): readonly string[] {
  const { clientPort, members } = KVCTL_FINDS;
  const found = options.clientPort === clientPort && options.members <= members;
  return found ? [] : [`  export KVCTL_ENDPOINTS=${cluster.addresses.join(',')}`];
}

/** What a person can do next: a first look, and what this is all about, a member that dies. */
function suggestions(options: DevOptions): readonly string[] {
  const lose = [
    '  npx kvctl dev kill 2     # member m2 dies, the others go on',
    '  npx kvctl dev start 2    # and it is back',
  ];
  return [
    '  npx kvctl put greeting hello',
    '  npx kvctl get greeting',
    ...(options.members > 1 ? lose : []),
    '  npx kvctl status',
  ];
}

function greeting(cluster: DevCluster, options: DevOptions): string {
  const rows = cluster.members.map((member) => `  ${member.name}  http://${member.clientAddress}`);
  const log = options.log === 'kafka' ? `Kafka at ${options.brokers.join(', ')}` : 'embedded log';
  const kept = options.ephemeral ? 'removed at exit' : 'kept between runs';
  const found = troubles(cluster.members);
  return [
    `Kvorum ${serverVersion()}: ${options.members} members, ${options.shards} shards, ${log}`,
    ...rows,
    `data in ${cluster.directory} (${kept}); REST and its documentation at http://127.0.0.1:${options.clientPort}/docs`,
    '',
    ...(found.length === 0
      ? ['Try, in another terminal:', ...exports(cluster, options), ...suggestions(options)]
      : [
          'NOT EVERYTHING SERVES:',
          ...found.map((line) => `  ${line}`),
          'Next, in another terminal:',
          ...exports(cluster, options),
          '  npx kvctl status   # then "What to do when" in docs/operations.md',
        ]),
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
