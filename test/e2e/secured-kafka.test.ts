import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@kvorum/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { allow } from '../../scripts/kafka/acls.ts';
import { type LocalKafka, startKafka } from '../../scripts/kafka/index.ts';
import { kafkaJars } from '../../scripts/kafka/jars.ts';
import { CERTIFIED_USER, type Certificates } from '../../scripts/kafka/security.ts';
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
    const grant = { operations: DOCUMENTED, topicPrefix: `${PREFIX}raft-log-` };
    const users = ['kvorum', CERTIFIED_USER];
    await Promise.all(users.map((user) => allow(kafka.brokers, { user, ...grant })));
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
  const certificate = (name: keyof Certificates): string => kafka.secured?.certificates[name] ?? '';
  /** TLS with the authority of this Kafka. */
  const tls = (): Log => ({
    ...{ brokers: kafka.secured?.saslSsl, ssl: true, caFile: certificate('ca') },
  });
  const mutualTls = (): Log => ({ ...tls(), brokers: kafka.secured?.mutualTls });

  const section = (log: Log): Log => ({ log: { kind: 'kafka', topicPrefix: PREFIX, ...log } });

  /** One member that is not started; one broker makes it a `dev` one. */
  async function prepared(log: Log): Promise<ProcessCluster> {
    const config = { dev: true, ...section(log) };
    const options = { bootstrap: '', topicPrefix: PREFIX, members: 1, shards: 2, config };
    const cluster = await ProcessCluster.prepare(options);
    made.push(cluster);
    return cluster;
  }

  function start(
    cluster: ProcessCluster,
    environment: Readonly<Record<string, string>> = {},
    flags: readonly string[] = [],
  ): Command {
    return new Command(KVD, ['--config', cluster.configPath(0), ...flags], { environment });
  }

  it('serves over TLS, by SCRAM and by a client certificate, with the documented permissions', async () => {
    const cluster = await prepared({ ...tls(), ...logIn() });
    running = start(cluster);
    const client = await connect({ endpoints: cluster.endpoints, timeoutMs: 60_000 });
    await client.put('over', 'SCRAM');
    await running.kill();

    cluster.configure(section({ ...mutualTls(), caFile: undefined }));
    const pair = ['--log-cert-file', certificate('clientCert')];
    pair.push('--log-key-file', certificate('clientKey'));
    running = start(cluster, { KVD_LOG_CA_FILE: certificate('ca') }, pair);
    await client.put('over', 'a client certificate');
    expect((await client.get('over'))?.version).toBe(2);
    await client.close();
    const end = await running.kill('SIGTERM');
    expect(end.code).toBe(0);
    expect(end.output).not.toContain(PASSWORD);
  });

  it.each<[string, () => Log, RegExp]>([
    [
      'a wrong password',
      () => ({ ...tls(), ...logIn('kvorum', 'wrong') }),
      /refuses the log-in of user kvorum.*check log\.sasl\.username, log\.sasl\.passwordFile/,
    ],
    [
      'no log-in',
      tls,
      /asks for a log-in.*set log\.sasl\.mechanism, log\.sasl\.username and log\.sasl\.passwordFile/,
    ],
    [
      'an authority that is not known',
      () => ({ ...tls(), caFile: undefined, ...logIn() }),
      /is not trusted.*log\.ssl.*NODE_EXTRA_CA_CERTS/,
    ],
    [
      'a caFile that is not of the authority',
      () => ({ ...tls(), caFile: certificate('clientCert'), ...logIn() }),
      /is not trusted/,
    ],
    [
      'a caFile that is not there',
      () => ({ ...tls(), caFile: join(files, 'absent.pem'), ...logIn() }),
      /cannot read log\.caFile: ENOENT.*absent\.pem/,
    ],
    ['no client certificate where one is asked for', mutualTls, /asks for a client certificate/],
    [
      'plain text on a TLS port',
      () => ({ brokers: kafka.secured?.saslSsl, ...logIn() }),
      /speaks TLS on this port.*set log\.ssl to true/,
    ],
  ])('%s ends it with the setting to change', async (_name, log, text) => {
    const end = await start(await prepared(log())).end(30_000);
    expect(end.code).toBe(CONFIG);
    expect(end.output).toMatch(text);
    expect(end.output).toContain('(KV_CONFIG)');
    expect(end.output).not.toMatch(/waiting for the log|\n {4}at /);
  });

  it('a user without permissions ends it with the command that grants them', async () => {
    const cluster = await prepared({ ...tls(), caFile: undefined, ...logIn('powerless') });
    const end = await start(cluster, { NODE_EXTRA_CA_CERTS: certificate('ca') }).end(30_000);
    expect(end.code).toBe(LOG_MISCONFIGURED);
    expect(end.output).toMatch(
      /user powerless lacks the permission Create, Describe.*kafka-acls\.sh .*--topic orders-raft-log-/,
    );
  });
});
