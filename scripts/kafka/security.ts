import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './jars.ts';

/** Who may come in by the secured listeners of a cluster: PLAIN and SCRAM-SHA-256, user name → password, without commas and quotes. */
export interface KafkaSecurity {
  readonly users: Readonly<Record<string, string>>;
}

/** Ports of a broker's secured listeners, beside its plain one. */
export interface SecurePorts {
  /** SASL without TLS. */
  readonly saslPlaintext: number;
  /** SASL over TLS. */
  readonly saslSsl: number;
  /** TLS that asks for a client's certificate; its common name is the user. */
  readonly mutualTls: number;
}

export const SECURE_PORTS = 3;

/** PEM files of one cluster: an authority made for it, and what that signed. */
export interface Certificates {
  readonly ca: string;
  /** Certificate and key in one file, as Kafka takes a PEM key store. */
  readonly broker: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** The common name of the client's certificate. */
export const CERTIFIED_USER = 'certified';
const DAYS = '2';
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export function certificatesIn(directory: string): Certificates {
  const at = (name: string): string => join(directory, name);
  return {
    ca: at('ca.pem'),
    broker: at('broker.pem'),
    clientCert: at('client.pem'),
    clientKey: at('client.key'),
  };
}

/** Makes an authority that nobody trusts yet, and certificates for 127.0.0.1 and for one client, by openssl. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const made = certificatesIn(directory);
  const caKey = join(directory, 'ca.key');
  const ca = [
    '-x509',
    '-keyout',
    caKey,
    '-out',
    made.ca,
    '-days',
    DAYS,
    '-subj',
    '/CN=kvorum test',
  ];
  await openssl(['req', ...KEY, ...ca]);
  const signed = (cert: string, key: string, name: string, san: string): Promise<void> =>
    openssl([
      ...['req', '-x509', ...KEY, '-CA', made.ca, '-CAkey', caKey, '-days', DAYS],
      ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=${san}`],
      ...['-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', cert],
    ]);
  const [brokerCert, brokerKey] = [join(directory, 'broker.crt'), join(directory, 'broker.key')];
  await signed(brokerCert, brokerKey, 'broker', 'IP:127.0.0.1,DNS:localhost');
  await signed(made.clientCert, made.clientKey, CERTIFIED_USER, `DNS:${CERTIFIED_USER}`);
  const pems = await Promise.all([brokerKey, brokerCert].map((file) => readFile(file, 'utf8')));
  await writeFile(made.broker, pems.join(''));
  await chmod(made.broker, 0o600);
  return made;
}

async function openssl(args: readonly string[]): Promise<void> {
  const done = await run('openssl', args);
  if (!done.ok) throw new Error(`openssl ${args[0]} failed:\n${done.output}`);
}

/** Listeners that a broker has more, `NAME://host:port`. */
export function secureListeners(host: string, ports: SecurePorts): readonly string[] {
  return [
    `SASL_PLAINTEXT://${host}:${ports.saslPlaintext}`,
    `SASL_SSL://${host}:${ports.saslSsl}`,
    `SSL://${host}:${ports.mutualTls}`,
  ];
}

/**
 * What a broker needs for its secured listeners. Whoever comes in by the plain listener (this machine alone reaches it) may do everything, all
 * others only what access rules allow.
 */
export function secureSettings(
  security: KafkaSecurity,
  certificates: Certificates,
): Readonly<Record<string, string | boolean>> {
  const users = Object.entries(security.users).map(([name, word]) => ` user_${name}="${word}"`);
  const jaas = 'org.apache.kafka.common.security';
  const settings: Record<string, string | boolean> = {
    'sasl.enabled.mechanisms': 'SCRAM-SHA-256,PLAIN',
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': certificates.broker,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': certificates.ca,
    'listener.name.ssl.ssl.client.auth': 'required',
    'ssl.principal.mapping.rules': 'RULE:^.*CN=([^,]+).*$/$1/,DEFAULT',
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:ANONYMOUS',
    'allow.everyone.if.no.acl.found': false,
  };
  for (const listener of ['sasl_plaintext', 'sasl_ssl']) {
    const prefix = `listener.name.${listener}`;
    settings[`${prefix}.scram-sha-256.sasl.jaas.config`] =
      `${jaas}.scram.ScramLoginModule required;`;
    settings[`${prefix}.plain.sasl.jaas.config`] =
      `${jaas}.plain.PlainLoginModule required${users.join('')};`;
  }
  return settings;
}

/** Arguments of `kafka-storage format` that put the users into the cluster's first metadata. */
export function formatUsers(security: KafkaSecurity | undefined): readonly string[] {
  return Object.entries(security?.users ?? {}).flatMap(([name, password]) => [
    '--add-scram',
    `SCRAM-SHA-256=[name=${name},password=${password}]`,
  ]);
}
