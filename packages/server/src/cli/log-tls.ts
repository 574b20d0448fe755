import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { KvError } from '@kvorum/base';
import type { LogConfig } from '../config/schema.ts';
import { readSecret, readSetting } from '../setting-file.ts';

/** Node's TLS options towards the brokers, PEM. */
export interface LogTls {
  /** Takes the place of the authorities that Node brings along. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
/** A key with a passphrase, PKCS #8 or older. */
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;

/**
 * How TLS to the brokers is spoken: false for not at all, true with nothing but Node's defaults.
 *
 * Errors: KV_CONFIG naming the setting whose file cannot be read, holds no PEM, or does not fit the other's. Node itself would take an
 * authority it cannot read for none, and tell of a bad key only when it connects.
 */
export function logTls(log: LogConfig): boolean | LogTls {
  if (!log.ssl) return false;
  const { caFile, certFile, keyFile } = log;
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return true;
  return {
    ...(caFile === undefined ? {} : { ca: readCertificates('log.caFile', caFile).pem }),
    ...(certFile === undefined || keyFile === undefined ? {} : clientPair(certFile, keyFile)),
  };
}

interface Certificates {
  readonly pem: string;
  readonly first: X509Certificate;
}

function readCertificates(setting: string, path: string): Certificates {
  const pem = readSetting(setting, path);
  const blocks = pem.match(CERTIFICATE) ?? [];
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (begun > blocks.length) {
    throw new KvError('KV_CONFIG', `${setting} ${path} ends within a certificate`);
  }
  const [first] = blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw invalid(`${setting} ${path}: certificate ${i + 1} is not valid`, error);
    }
  });
  if (first === undefined) {
    throw new KvError('KV_CONFIG', `${setting} ${path} holds no certificate in PEM`, {
      details: { hint: 'PEM is text with -----BEGIN CERTIFICATE----- in it' },
    });
  }
  return { pem, first };
}

function clientPair(certFile: string, keyFile: string): Pick<LogTls, 'cert' | 'key'> {
  const { pem: cert, first } = readCertificates('log.certFile', certFile);
  const key = readSecret('log.keyFile', keyFile);
  if (!first.checkPrivateKey(privateKey(keyFile, key))) {
    const what = `log.keyFile ${keyFile} is not the key of the certificate in log.certFile ${certFile}`;
    throw new KvError('KV_CONFIG', what, {
      details: { hint: "this member's own certificate stands first in log.certFile" },
    });
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw invalid(`log.certFile ${certFile} with log.keyFile ${keyFile} is not usable`, error);
  }
  return { cert, key };
}

function privateKey(path: string, pem: string): KeyObject {
  if (ENCRYPTED.test(pem)) {
    throw new KvError('KV_CONFIG', `log.keyFile ${path} is encrypted`, {
      details: { hint: 'kvd asks for no passphrase: openssl pkey -in <it> -out <plain one>' },
    });
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw invalid(`log.keyFile ${path} holds no private key in PEM`, error);
  }
}

function invalid(what: string, cause: unknown): KvError {
  return new KvError('KV_CONFIG', `${what}: ${(cause as Error).message}`, { cause });
}
