import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isKvError } from '@kvorum/base';
import { loadConfig } from '@kvorum/server';
import { afterAll, describe, expect, it } from 'vitest';
import { type LogTls, logTls } from '../src/cli/log-tls.ts';
import { temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
afterAll(() => directory.remove());

/** Of a key that nobody has any more. That a pair is taken is seen against a broker: test/e2e/secured-kafka.test.ts. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBgDCCASegAwIBAgIUMeKvYPyxhygnFlRxsWABK00pySAwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLa3ZvcnVtIHRlc3QwHhcNMjYxMTIxMTMyMjM2WhcNMzYxMTE4
MTMyMjM2WjAWMRQwEgYDVQQDDAtrdm9ydW0gdGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABO9E/8pdPkFLFlizC9sABEMLIXwFFB+YdnoN70gT9hkWtwiYrA5D
LIr20/Z9xyr5P9J8KlxnHxA+NzbsNPor/ByjUzBRMB0GA1UdDgQWBBRV3XVx9jmF
ruMSZ63JYvD9ui0o4TAfBgNVHSMEGDAWgBRV3XVx9jmFruMSZ63JYvD9ui0o4TAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIGZjXJHrV8j3x1YmGIbf
nKP903dCNsJ3LB84NgroNCV/AiBkcyciEI4tTdBhVEKLGkd8h274ZRhe8FQ9YziW
SsWKpw==
-----END CERTIFICATE-----
`;
const BROKEN = CERTIFICATE.replace(/\nMII.{20}/, `\n${'A'.repeat(23)}`);

function file(name: string, text: string, mode = 0o600): string {
  const path = join(directory.path, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function key(passphrase?: string): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const locked = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  return privateKey.export({ type: 'pkcs8', format: 'pem', ...locked }).toString();
}

const ca = file('ca.pem', `an authority of ours\n${CERTIFICATE}${CERTIFICATE}`, 0o644);
const cert = file('cert.pem', CERTIFICATE, 0o644);
const own = file('own.key', key());
const absent = join(directory.path, 'absent.pem');

type Files = Readonly<Record<string, string>>;
function tls(files: Files, ssl = 'true'): boolean | LogTls {
  const named = Object.entries(files).map(([name, path]) => [`log.${name}`, path]);
  const kafka = { 'log.kind': 'kafka', 'log.brokers': 'a:1', 'log.ssl': ssl };
  const flags = { ...kafka, ...Object.fromEntries(named) } as Readonly<Record<string, string>>;
  return logTls(loadConfig({ environment: {}, flags }).config.log);
}

function refusal(files: Files, ssl?: string): string {
  try {
    tls(files, ssl);
  } catch (error) {
    if (isKvError(error) && error.code === 'KV_CONFIG') {
      return `${error.message} · ${error.details.hint ?? ''}`;
    }
    throw error;
  }
  return 'no problem';
}

describe('TLS to the brokers', () => {
  it('is off, on with known authorities, or on with our own', () => {
    expect(tls({}, 'false')).toBe(false);
    expect(tls({})).toBe(true);
    expect(tls({ caFile: ca })).toEqual({ ca: expect.stringContaining(CERTIFICATE) as unknown });
  });

  it.each<[string, Files, RegExp]>([
    ['no such caFile', { caFile: absent }, /cannot read log\.caFile: ENOENT.*absent\.pem/],
    ['a directory', { caFile: directory.path }, /cannot read log\.caFile: EISDIR/],
    ['an empty caFile', { caFile: file('empty', '') }, /log\.caFile .*empty holds no certificate/],
    ['a key for a caFile', { caFile: own }, /log\.caFile .* holds no certificate in PEM/],
    [
      'a caFile cut short',
      { caFile: file('short.pem', CERTIFICATE + CERTIFICATE.slice(0, 200)) },
      /log\.caFile .*short\.pem ends within a certificate/,
    ],
    [
      'a broken certificate behind a good one',
      { caFile: file('broken.pem', CERTIFICATE + BROKEN) },
      /log\.caFile .*broken\.pem: certificate 2 is not valid/,
    ],
    [
      'no such certFile',
      { certFile: absent, keyFile: own },
      /cannot read log\.certFile: ENOENT.*absent/,
    ],
    ['no such keyFile', { certFile: cert, keyFile: absent }, /cannot read log\.keyFile: ENOENT/],
    ['a key for a certFile', { certFile: own, keyFile: own }, /log\.certFile .* no certificate/],
    [
      'a certificate for a keyFile',
      { certFile: cert, keyFile: file('cert.key', CERTIFICATE) },
      /log\.keyFile .*cert\.key holds no private key in PEM/,
    ],
    [
      'a keyFile with a passphrase',
      { certFile: cert, keyFile: file('locked.key', key('secret')) },
      /log\.keyFile .*locked\.key is encrypted · .*openssl pkey/,
    ],
    [
      'the key of another certificate',
      { certFile: cert, keyFile: own },
      /log\.keyFile .*own\.key is not the key of the certificate in log\.certFile .*cert\.pem/,
    ],
    [
      'a keyFile that everybody can read',
      { certFile: cert, keyFile: file('open.key', key(), 0o644) },
      /log\.keyFile .*open\.key is readable by everybody · chmod 600/,
    ],
  ])('refuses %s', (_name, files, expected) => {
    expect(refusal(files)).toMatch(expected);
  });

  it.each<[Files, string | undefined, RegExp]>([
    [{ caFile: ca }, 'false', /log\.caFile is set but log\.ssl is false · set log\.ssl to true/],
    [{ certFile: cert }, undefined, /log\.certFile is set but log\.keyFile is not/],
    [{ keyFile: own }, undefined, /log\.keyFile is set but log\.certFile is not/],
  ])('refuses settings that make no sense together: %j', (files, ssl, expected) => {
    expect(refusal(files, ssl)).toMatch(expected);
  });
});
