import { KvError } from '@kvorum/base';
import {
  type BrokerAddress,
  BrokerConnection,
  type ConnectionOptions,
  usesTls,
} from './broker-connection.ts';
import { innermost, reasonOf } from './kafka-errors.ts';

/** A broker that was asked, and how that failed. */
export interface Failure {
  readonly broker: BrokerAddress;
  readonly error: unknown;
}

const UNSUPPORTED_SASL_MECHANISM = 33;

/**
 * What kafkajs 2.2.4 says when a connection breaks during a log-in. It wraps these like the broker's own refusals, and only those
 * are final.
 */
const CONNECTION_TROUBLE =
  /Closed connection|Connection closed|Not connected|timed out|Connection error|Connection timeout|connection was closed/;

const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
]);
const OUT_OF_DATE: ReadonlySet<string> = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

const nameOf = ({ host, port }: BrokerAddress): string => `${host}:${port}`;

function refusal(detail: string, hint: string, cause: unknown): KvError {
  return new KvError('KV_CONFIG', detail, { cause, details: { hint } });
}

/**
 * Why brokers that can be reached let nobody in, when that is certain and only another configuration helps: KV_CONFIG with the setting to
 * change. Undefined for everything that may pass by itself.
 */
export async function explainRefusal(
  failures: readonly Failure[],
  options: ConnectionOptions,
): Promise<KvError | undefined> {
  for (const failure of failures) {
    const said = spoken(failure, options);
    if (said !== undefined) return said;
  }
  const silent = failures.filter(({ error }) => isBroken(error));
  const probed = await Promise.all(silent.map((failure) => probe(failure, options)));
  return probed.find((found) => found !== undefined);
}

/** What the error itself says. */
function spoken({ broker, error }: Failure, options: ConnectionOptions): KvError | undefined {
  const cause = innermost(error);
  const at = nameOf(broker);
  const { sasl } = options;
  const { type, code } = cause as { readonly type?: unknown; readonly code?: unknown };
  if (type === 'ILLEGAL_SASL_STATE') {
    const hint = 'remove log.sasl, or name the ports of a SASL listener in log.brokers';
    return refusal(`Kafka broker ${at} takes no log-in (SASL) on this port`, hint, cause);
  }
  if (type === 'UNSUPPORTED_SASL_MECHANISM') {
    const what = `Kafka broker ${at} does not offer ${sasl?.mechanism}`;
    return refusal(what, 'set log.sasl.mechanism to one that it offers', cause);
  }
  if (cause.name === 'KafkaJSSASLAuthenticationError' && !CONNECTION_TROUBLE.test(cause.message)) {
    const user = sasl !== undefined && 'username' in sasl ? ` of user ${sasl.username}` : '';
    const hint = 'check log.sasl.username, log.sasl.passwordFile and log.sasl.mechanism';
    return refusal(`Kafka broker ${at} refuses the log-in${user}: ${cause.message}`, hint, cause);
  }
  return typeof code === 'string' ? certificateTrouble(at, code, cause) : undefined;
}

function certificateTrouble(at: string, code: string, cause: Error): KvError | undefined {
  const reason = cause.message.replace('Connection error: ', '');
  const certificate = `the certificate of Kafka broker ${at}`;
  if (UNTRUSTED.has(code)) {
    const hint =
      'set log.caFile to the PEM file of its authority; without it, log.ssl checks against known ones and NODE_EXTRA_CA_CERTS';
    return refusal(`${certificate} is not trusted: ${reason}`, hint, cause);
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const hint = "log.brokers and the brokers' advertised.listeners must use a name in it";
    return refusal(`${certificate} is for another name: ${reason}`, hint, cause);
  }
  if (OUT_OF_DATE.has(code)) {
    return refusal(`${certificate}: ${reason}`, 'renew it, or set the clock right', cause);
  }
  if (/^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|CERTIFICATE_REQUIRED)$/.test(code)) {
    const hint =
      'set log.certFile and log.keyFile, or name a listener with ssl.client.auth=none in log.brokers';
    return refusal(`Kafka broker ${at} asks for a client certificate`, hint, cause);
  }
  if (/^ERR_SSL_.*ALERT_(CERTIFICATE_UNKNOWN|UNKNOWN_CA)$/.test(code)) {
    const hint = 'log.certFile needs one of an authority in the ssl.truststore of the brokers';
    return refusal(`Kafka broker ${at} does not trust the client certificate`, hint, cause);
  }
  return undefined;
}

/** The broker hung up without a word: what it does when it is spoken to in the wrong protocol, and when it dies. */
function isBroken(error: unknown): boolean {
  const cause = innermost(error);
  const code = 'code' in cause ? String(cause.code) : '';
  return (
    cause.name === 'KafkaJSConnectionClosedError' || /^(ECONNRESET|EPIPE|EPROTO|ERR_SSL)/.test(code)
  );
}

/** Speaks to a broker that hung up the way it was configured, and then the other way. */
async function probe(
  { broker, error }: Failure,
  options: ConnectionOptions,
): Promise<KvError | undefined> {
  const tls = usesTls(options);
  const at = nameOf(broker);
  const mechanisms = await offered(broker, options, tls);
  if (mechanisms !== undefined) {
    if (mechanisms.length === 0 || options.sasl !== undefined) return undefined;
    const what = `Kafka broker ${at} asks for a log-in (SASL ${mechanisms.join(' or ')})`;
    const hint = 'set log.sasl.mechanism, log.sasl.username and log.sasl.passwordFile';
    return refusal(what, hint, error);
  }
  if ((await offered(broker, options, !tls)) === undefined) return undefined;
  return tls
    ? refusal(
        `Kafka broker ${at} does not speak TLS on this port`,
        'set log.ssl to false, or name the ports of a TLS listener in log.brokers',
        error,
      )
    : refusal(`Kafka broker ${at} speaks TLS on this port`, 'set log.ssl to true', error);
}

/**
 * The SASL mechanisms of a broker, [] when it wants no log-in; undefined when it cannot be spoken to. Sends no secret, so the
 * broker's certificate does not matter.
 */
async function offered(
  broker: BrokerAddress,
  options: ConnectionOptions,
  tls: boolean,
): Promise<readonly string[] | undefined> {
  const own = typeof options.ssl === 'object' ? options.ssl : {};
  const ssl = tls ? { ...own, rejectUnauthorized: false } : undefined;
  try {
    const connection = await BrokerConnection.open(broker, { ...options, ssl, sasl: undefined });
    try {
      const answer = await connection.call('SaslHandshake', { mechanism: 'NONE' });
      return answer.errorCode === UNSUPPORTED_SASL_MECHANISM ? answer.enabledMechanisms : [];
    } finally {
      connection.destroy();
    }
  } catch (error) {
    options.logger?.('debug', 'probe failed', { broker: nameOf(broker), why: reasonOf(error) });
    return undefined;
  }
}
