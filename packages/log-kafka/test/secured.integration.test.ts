import { readFileSync } from 'node:fs';
import {
  clusterId,
  DEFAULT_LIMITS,
  fromUtf8,
  logOffset,
  memberId,
  shardId,
  utf8,
} from '@kvorum/base';
import {
  type KafkaElection,
  type KafkaLogsOptions,
  openKafkaElection,
  openKafkaLogs,
} from '@kvorum/log-kafka';
import type { SharedLogs } from '@kvorum/ports';
import { describeSharedLogContract } from '@kvorum/testkit';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { allow, type TopicOperation } from '../../../scripts/kafka/acls.ts';
import { kafkaJars } from '../../../scripts/kafka/jars.ts';
import { startKafka } from '../../../scripts/kafka/local-cluster.ts';
import { CERTIFIED_USER } from '../../../scripts/kafka/security.ts';
import { freshPrefix } from './kafka.ts';

/** A broker of its own with TLS, SASL and an authorizer: no given Kafka and no container can be set up so. */
const hasJars = await kafkaJars().then(
  () => true,
  () => false,
);
if (!hasJars) console.warn('\n!!! SKIPPED, no Java for a secured Kafka\n');
const PASSWORD = 'correct horse';
const users = ['member', 'reader', 'nothing', 'noDelete', 'noCreate'];
const security = { users: Object.fromEntries(users.map((name) => [name, PASSWORD])) };
const kafka = hasJars ? await startKafka({ brokers: 1, security }) : undefined;
afterAll(() => kafka?.stop());

const SPEC = { shard: shardId(0), generation: 0 };
const NEEDED = ['Create', 'Describe', 'DescribeConfigs', 'Read', 'Write', 'Delete'] as const;
const secured = kafka?.secured;
const plain = kafka?.brokers ?? [];
const saslPlaintext = secured?.saslPlaintext ?? [];
const saslSsl = secured?.saslSsl ?? [];
const mutualTls = secured?.mutualTls ?? [];
const pem = (file: string | undefined): string =>
  file === undefined ? '' : readFileSync(file, 'utf8');
const ca = pem(secured?.certificates.ca);
const PREFIX = 'allowed-';
if (kafka !== undefined) {
  const all = { operations: NEEDED, topicPrefix: PREFIX };
  await allow(plain, { user: 'member', ...all });
  await allow(plain, { user: CERTIFIED_USER, ...all });
}

type Security = Pick<KafkaLogsOptions, 'brokers' | 'ssl' | 'sasl'>;
const logIn = (
  username = 'member',
  password = PASSWORD,
  mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512' = 'scram-sha-256',
): Pick<KafkaLogsOptions, 'sasl'> => ({ sasl: { mechanism, username, password } });

const opened: SharedLogs[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((logs) => logs.close()));
});

function logsOf(how: Security, topicPrefix = `${PREFIX}${freshPrefix()}`): SharedLogs {
  const logs = openKafkaLogs({ clientId: 'test', dev: true, topicPrefix, ...how });
  opened.push(logs);
  return logs;
}

describe.skipIf(kafka === undefined)('over SASL and TLS, with the documented permissions', () => {
  describeSharedLogContract('Kafka', async () => {
    const topicPrefix = `${PREFIX}${freshPrefix()}`;
    return {
      recordBytesMax: 4 * 1024 * 1024,
      openMember: async () =>
        openKafkaLogs({
          ...{ brokers: saslSsl, ssl: { ca }, ...logIn() },
          ...{ topicPrefix, clientId: 'member', dev: true },
        }),
      restart: async () => {},
      dispose: async () => {},
    };
  });

  it.each<[string, () => Security]>([
    ['SCRAM-SHA-256 without TLS', () => ({ brokers: saslPlaintext, ...logIn() })],
    [
      'PLAIN without TLS',
      () => ({ brokers: saslPlaintext, ...logIn('member', PASSWORD, 'plain') }),
    ],
    [
      'PLAIN over TLS',
      () => ({ brokers: saslSsl, ssl: { ca }, ...logIn('member', PASSWORD, 'plain') }),
    ],
    [
      'a client certificate',
      () => {
        const { clientCert, clientKey } = secured?.certificates ?? {};
        return { brokers: mutualTls, ssl: { ca, cert: pem(clientCert), key: pem(clientKey) } };
      },
    ],
  ])('%s: appends, reads, truncates', async (_name, how) => {
    const logs = logsOf(how());
    const log = await logs.open(SPEC, { create: true });
    for (const text of ['a', 'b']) await log.append(utf8(text));
    const read = { bytesMax: 1 << 20, waitMs: 5000, signal: new AbortController().signal };
    const outcome = await log.read(logOffset(0), read);
    const texts = outcome.kind === 'records' ? outcome.entries.map((e) => fromUtf8(e.bytes)) : [];
    expect(texts[0]).toBe('a');
    await log.truncate(logOffset(1));
    expect(await log.bounds()).toEqual({ start: 1, end: 2 });
    expect(await logs.verify()).toEqual([]);
  });
});

describe.skipIf(kafka === undefined)('refused, with the setting to change', () => {
  const tls = { ssl: { ca } };
  it.each<[string, () => Security, RegExp, RegExp]>([
    [
      'a wrong password',
      () => ({ brokers: saslSsl, ...tls, ...logIn('member', 'wrong') }),
      /refuses the log-in of user member: .*invalid credentials/,
      /log\.sasl\.username, log\.sasl\.passwordFile/,
    ],
    [
      'a wrong password, PLAIN',
      () => ({ brokers: saslPlaintext, ...logIn('member', 'wrong', 'plain') }),
      /refuses the log-in of user member: .*Invalid username or password/,
      /log\.sasl\.username, log\.sasl\.passwordFile/,
    ],
    [
      'an unknown user',
      () => ({ brokers: saslPlaintext, ...logIn('nobody') }),
      /refuses the log-in of user nobody/,
      /log\.sasl\.username/,
    ],
    [
      'a mechanism that is not offered',
      () => ({ brokers: saslPlaintext, ...logIn('member', PASSWORD, 'scram-sha-512') }),
      /does not offer scram-sha-512/,
      /log\.sasl\.mechanism/,
    ],
    [
      'no log-in',
      () => ({ brokers: saslPlaintext }),
      /asks for a log-in \(SASL .*SCRAM-SHA-256/,
      /set log\.sasl\.mechanism, log\.sasl\.username and log\.sasl\.passwordFile/,
    ],
    ['no log-in, over TLS', () => ({ brokers: saslSsl, ...tls }), /asks for a log-in/, /log\.sasl/],
    [
      'a log-in where none is taken',
      () => ({ brokers: plain, ...logIn() }),
      /takes no log-in/,
      /remove log\.sasl/,
    ],
    [
      'an authority that is not trusted',
      () => ({ brokers: saslSsl, ssl: true, ...logIn() }),
      /certificate of Kafka broker .* is not trusted/,
      /log\.ssl .*NODE_EXTRA_CA_CERTS/,
    ],
    [
      'plain text on a TLS port',
      () => ({ brokers: saslSsl, ...logIn() }),
      /speaks TLS on this port/,
      /set log\.ssl to true/,
    ],
    [
      'TLS on a plain text port',
      () => ({ brokers: saslPlaintext, ...tls, ...logIn() }),
      /does not speak TLS/,
      /set log\.ssl to false/,
    ],
    [
      'no client certificate where one is asked for',
      () => ({ brokers: mutualTls, ...tls }),
      /asks for a client certificate/,
      /log\.brokers/,
    ],
    [
      "a name that is not in the broker's certificate",
      () => ({ brokers: saslSsl, ssl: { ca, servername: 'elsewhere' }, ...logIn() }),
      /is for another name/,
      /advertised\.listeners/,
    ],
  ])('%s', async (_name, how, what, hint) => {
    const { brokers } = how();
    const opening = logsOf(how()).open(SPEC, { create: true });
    await expect(opening).rejects.toMatchObject({
      code: 'KV_CONFIG',
      details: { hint: expect.stringMatching(hint) as unknown },
    });
    await expect(opening).rejects.toThrow(what);
    await expect(opening).rejects.toThrow(brokers.join());
  });
});

describe.skipIf(kafka === undefined)('elections over SASL and TLS', () => {
  const openAs = (topicPrefix: string, user: string): Promise<KafkaElection> =>
    openKafkaElection({
      ...{ brokers: saslSsl, ssl: { ca }, ...logIn(user) },
      ...{ topicPrefix, clientId: 'test', dev: true, limits: DEFAULT_LIMITS },
      self: memberId(BigInt(users.indexOf(user) + 1)),
      cluster: clusterId(1n),
      isLeaders: () => false,
    });

  it('need no permission to delete, and name the one that is missing', async () => {
    const prefix = freshPrefix();
    const fails = openAs(prefix, 'nothing');
    await expect(fails).rejects.toThrow(
      `lacks the permission Create, Describe, DescribeConfigs, Read, Write; fix: kafka-acls.sh`,
    );
    const operations = ['Create', 'DescribeConfigs', 'Read', 'Write'] as const;
    for (const user of ['member', 'reader'])
      await allow(plain, { user, operations, topicPrefix: prefix });
    const [one, other] = [await openAs(prefix, 'member'), await openAs(prefix, 'reader')];
    try {
      const received: unknown[] = [];
      other.onMessage((from, { payload }) => received.push([from, payload]));
      one.send(other.self, { shard: SPEC.shard, payload: 'hello' });
      await expect.poll(() => received, { timeout: 10_000 }).toEqual([[one.self, 'hello']]);
    } finally {
      await Promise.all([one.close(), other.close()]);
    }
  });
});

describe.skipIf(kafka === undefined)('a user without all permissions', () => {
  const fix = (user: string, operations: string, prefix: string): string =>
    `lacks the permission ${operations.replaceAll(' ', ', ')}; fix: kafka-acls.sh --bootstrap-server ` +
    `${saslPlaintext.join()} --add --allow-principal User:${user} ` +
    `${operations.replaceAll(/(\w+)/g, '--operation $1')} ` +
    `--resource-pattern-type prefixed --topic ${prefix}`;
  const openAs = (user: string, prefix: string): Promise<unknown> =>
    logsOf({ brokers: saslPlaintext, ...logIn(user) }, prefix).open(SPEC, { create: true });
  const grant = (user: string, operations: readonly TopicOperation[], topicPrefix: string) =>
    allow(plain, { user, operations, topicPrefix });

  it('and with none is told of all', async () => {
    const prefix = freshPrefix();
    const opening = openAs('nothing', prefix);
    await expect(opening).rejects.toMatchObject({ code: 'KV_LOG_MISCONFIGURED' });
    const all = 'Create Describe DescribeConfigs Read Write Delete';
    await expect(opening).rejects.toThrow(fix('nothing', all, prefix));
  });

  it('is told that it cannot create topics', async () => {
    const prefix = freshPrefix();
    await grant('noCreate', NEEDED.slice(1), prefix);
    await expect(openAs('noCreate', prefix)).rejects.toThrow(fix('noCreate', 'Create', prefix));
    await logsOf({ brokers: plain }, prefix).open(SPEC, { create: true });
    await expect(openAs('noCreate', prefix)).resolves.toMatchObject({ name: `${prefix}0` });
  });

  it.each([
    ['reader', 'DescribeConfigs Write Delete', ['Read']],
    ['noDelete', 'Delete', ['Read', 'Write', 'DescribeConfigs']],
  ] as const)('%s is told at open what it would miss later', async (user, lacking, has) => {
    const prefix = freshPrefix();
    await logsOf({ brokers: plain }, prefix).open(SPEC, { create: true });
    await grant(user, has, prefix);
    await expect(openAs(user, prefix)).rejects.toThrow(fix(user, lacking, prefix));
  });
});
