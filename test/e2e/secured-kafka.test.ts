import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@kvorum/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { allow } from '../../scripts/kafka/acls.ts';
import { type LocalKafka, startKafka } from '../../scripts/kafka/index.ts';
import { kafkaJars } from '../../scripts/kafka/jars.ts';
import { Command, KVD } from './command.ts';
import { ProcessCluster } from './process-cluster.ts';

/** kvd on a broker with TLS, SASL and an authorizer, by the settings and permissions that docs/deploy.md names. */
const hasJars = await kafkaJars().then(
  () => true,
  () => false,
);
if (!hasJars) process.stderr.write('SKIPPED secured Kafka tests, no Java for a broker\n');

/** `kvd --help`: exit codes. */
const CONFIG = 2;
const LOG_MISCONFIGURED = 5;
const PASSWORD = 'correct horse';
const PREFIX = 'orders-';
const DOCUMENTED = ['Create', 'Describe', 'DescribeConfigs', 'Read', 'Write', 'Delete'] as const;

type Log = Readonly<Record<string, unknown>>;

describe.skipIf(!hasJars)('kvd on a secured Kafka', () => {
  const files = mkdtempSync(join(tmpdir(), 'kvorum-secrets-'));
  let kafka: LocalKafka;
  let made: ProcessCluster[] = [];
  let running: Command | undefined;

  beforeAll(async () => {
    const security = { users: { kvorum: PASSWORD, powerless: PASSWORD } };
    kafka = await startKafka({ brokers: 1, security });
    const grant = { user: 'kvorum', operations: DOCUMENTED, topicPrefix: `${PREFIX}raft-log-` };
    await allow(kafka.brokers, grant);
  });
  afterEach(async () => {
    await running?.kill();
    running = undefined;
    await Promise.all(made.map((cluster) => cluster.stop()));
    made = [];
  });
  afterAll(async () => {
    await kafka?.stop();
    rmSync(files, { recursive: true, force: true });
  });

  function passwordFile(password: string): string {
    const path = join(files, 'password');
    writeFileSync(path, `${password}\n`, { mode: 0o600 });
    return path;
  }

  const logIn = (username = 'kvorum', password = PASSWORD): Log => ({
    sasl: { mechanism: 'scram-sha-256', username, passwordFile: passwordFile(password) },
  });
  const tlsPort = (): Log => ({ brokers: kafka.secured?.saslSsl });
  const trusting = (): Readonly<Record<string, string>> => ({
    NODE_EXTRA_CA_CERTS: kafka.secured?.certificates.ca ?? '',
  });

  /** One member that is not started; one broker makes it a `dev` one. */
  async function prepared(log: Log): Promise<ProcessCluster> {
    const config = { dev: true, log: { kind: 'kafka', topicPrefix: PREFIX, ...log } };
    const options = { bootstrap: '', topicPrefix: PREFIX, members: 1, shards: 2, config };
    const cluster = await ProcessCluster.prepare(options);
    made.push(cluster);
    return cluster;
  }

  function start(cluster: ProcessCluster, environment: Readonly<Record<string, string>>): Command {
    return new Command(KVD, ['--config', cluster.configPath(0)], { environment });
  }

  it('serves over TLS and SCRAM with the documented permissions, also after a restart', async () => {
    const cluster = await prepared({ ...tlsPort(), ssl: true, ...logIn() });
    running = start(cluster, trusting());
    const client = await connect({ endpoints: cluster.endpoints, timeoutMs: 60_000 });
    await client.put('a', '1');
    await running.kill();
    running = start(cluster, trusting());
    await client.put('b', '2');
    const { count } = await client.getAll({ prefix: '', countOnly: true });
    expect(count).toBe(2);
    await client.close();
    expect((await running.kill('SIGTERM')).code).toBe(0);
    expect(running.output).not.toContain(PASSWORD);
  });

  it.each<[string, () => Log, boolean, RegExp]>([
    [
      'a wrong password',
      () => ({ ...tlsPort(), ssl: true, ...logIn('kvorum', 'wrong') }),
      true,
      /refuses the log-in of user kvorum.*check log\.sasl\.username, log\.sasl\.passwordFile/,
    ],
    [
      'no log-in',
      () => ({ ...tlsPort(), ssl: true }),
      true,
      /asks for a log-in.*set log\.sasl\.mechanism, log\.sasl\.username and log\.sasl\.passwordFile/,
    ],
    [
      'an authority that is not trusted',
      () => ({ ...tlsPort(), ssl: true, ...logIn() }),
      false,
      /is not trusted.*log\.ssl.*NODE_EXTRA_CA_CERTS/,
    ],
    [
      'plain text on a TLS port',
      () => ({ ...tlsPort(), ...logIn() }),
      true,
      /speaks TLS on this port.*set log\.ssl to true/,
    ],
  ])('%s ends it with the setting to change', async (_name, log, isTrusting, text) => {
    const cluster = await prepared(log());
    const end = await start(cluster, isTrusting ? trusting() : {}).end(30_000);
    expect(end.code).toBe(CONFIG);
    expect(end.output).toMatch(text);
    expect(end.output).toContain('(KV_CONFIG)');
    expect(end.output).not.toMatch(/waiting for the log|\n {4}at /);
  });

  it('a user without permissions ends it with the command that grants them', async () => {
    const cluster = await prepared({ ...tlsPort(), ssl: true, ...logIn('powerless') });
    const end = await start(cluster, trusting()).end(30_000);
    expect(end.code).toBe(LOG_MISCONFIGURED);
    expect(end.output).toMatch(
      /user powerless lacks the permission Create, Describe.*kafka-acls\.sh .*--topic orders-raft-log-/,
    );
  });
});
