import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { create, toBinary } from '@bufbuild/protobuf';
import { utf8 } from '@kvorum/base';
import { connect as connectClient } from '@kvorum/client';
import { PutRequestSchema } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { RawGrpc } from './support/grpc-client.ts';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
const certFile = join(directory.path, 'cert.pem');
const keyFile = join(directory.path, 'key.pem');

/** False without openssl. */
function makeCertificate(keyFile: string, certFile: string): boolean {
  const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const name = ['-subj', '/CN=k', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  const files = ['-keyout', keyFile, '-out', certFile];
  try {
    execFileSync('openssl', ['req', '-x509', ...options, ...name, ...files], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const has = makeCertificate(keyFile, certFile);
afterAll(() => directory.remove());

describe.skipIf(!has).each([
  ['with a certificate of the member', false],
  ['with certificates of both', true],
])('the client port %s', (_what, mutual) => {
  const pair = has ? { cert: readFileSync(certFile), key: readFileSync(keyFile) } : {};
  const trust: ConnectionOptions = has ? { ca: readFileSync(certFile) } : {};
  const options = mutual ? { ...trust, ...pair } : trust;
  let member: OneMember;
  let url: string;
  beforeAll(async () => {
    member = await startOneMember(join(directory.path, mutual ? 'both' : 'one'), {
      'clientTls.certFile': certFile,
      'clientTls.keyFile': keyFile,
      ...(mutual ? { 'clientTls.caFile': certFile } : {}),
    });
    url = member.url.replace('http:', 'https:');
  });
  afterAll(() => member.stop());

  it('serves gRPC', async () => {
    const client = new RawGrpc(url, connectHttp2(url, options));
    const ended = await client.unary('/grpc.health.v1.Health/Check');
    expect(ended).toMatchObject({ status: 0, messages: [{}] });
    client.close();
  });

  it('serves REST to whoever offers both protocols', async () => {
    const { hostname, port } = new URL(url);
    const where = { host: hostname, port: Number(port), ALPNProtocols: ['h2', 'http/1.1'] };
    const socket = connectTls({ ...options, ...where });
    socket.write('GET /livez HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.destroy();
  });

  it('serves sessions', async () => {
    const socket = new WebSocket(`${url.replace('https', 'wss')}/v1/session`, options);
    await once(socket, 'open');
    socket.terminate();
  });

  it('refuses plain text, and who has no certificate where it must', async () => {
    const { hostname, port } = new URL(url);
    const plain = connect(Number(port), hostname).on('error', () => undefined);
    plain.write('GET /livez HTTP/1.1\r\nhost: k\r\n\r\n');
    let text = '';
    plain.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    await once(plain, 'close');
    expect(text).not.toContain('HTTP');
    const bare = connectTls({ ...trust, host: hostname, port: Number(port) });
    bare.on('error', () => undefined);
    bare.write('GET /livez HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n');
    let answer = '';
    bare.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    // Not with `once`, to which an error is one.
    await new Promise((resolve) => bare.on('close', resolve));
    expect(answer.startsWith('HTTP/1.1 200')).toBe(!mutual);
  });

  it('counts its connections, and stops with one that shakes no hands', async () => {
    const { hostname, port } = new URL(url);
    const silent = connect(Number(port), hostname).on('error', () => undefined);
    await once(silent, 'connect');
    const open = async (): Promise<number> => {
      const metric = await member.member.host.metrics.connections.get();
      return metric.values[0]?.value ?? 0;
    };
    await expect.poll(open).toBe(1);
  });

  it.each([
    ['gRPC', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', ['h2']],
    ['REST', 'GET /v1/members HTTP/1.1\r\nhost: k\r\n\r\n', ['http/1.1']],
    [
      'sessions',
      'GET /v1/session HTTP/1.1\r\nhost: k\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
        'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      [],
    ],
  ])(
    'one policy of certificates for every interface: %s (GHSA-3wh4-j44w-pg92)',
    async (_what, hello, ALPNProtocols) => {
      const { hostname, port } = new URL(url);
      const where = { host: hostname, port: Number(port) };
      const bare = connectTls({ ...trust, ...where, ALPNProtocols });
      bare.on('error', () => undefined);
      bare.write(hello, 'latin1');
      const answered = await new Promise((resolve) => {
        bare.once('data', () => resolve(true));
        bare.once('close', () => resolve(false));
      });
      bare.destroy();
      expect(answered).toBe(!mutual);
    },
  );

  it('a client that does not know its authority says nothing to it (CVE-2020-15136)', async () => {
    const asked = connectClient({ endpoints: [url], tls: pair, timeoutMs: 1500 });
    await expect(asked).rejects.toMatchObject({ code: 'KV_UNAVAILABLE' });
  });
});

describe.skipIf(!has)('users by certificate, and certificates by file', () => {
  const own = { cert: join(directory.path, 'own.pem'), key: join(directory.path, 'own.key') };
  const options = (): ConnectionOptions => ({
    ca: readFileSync(own.cert),
    cert: readFileSync(own.cert),
    key: readFileSync(own.key),
  });
  let member: OneMember;
  let url: string;
  let unfinished: readonly Promise<unknown>[];
  beforeAll(async () => {
    makeCertificate(own.key, own.cert);
    member = await startOneMember(join(directory.path, 'users'), {
      'clientTls.certFile': own.cert,
      'clientTls.keyFile': own.key,
      'clientTls.caFile': own.cert,
      'auth.bcryptCost': 4,
    });
    url = member.url.replace('http:', 'https:');
    const { hostname, port } = new URL(url);
    const silent = connect(Number(port), hostname).on('error', () => undefined);
    const half = connect(Number(port), hostname).on('error', () => undefined);
    // The beginning of a ClientHello that goes on for ever.
    half.write(Buffer.from('160301020001', 'hex'));
    unfinished = [silent, half].map((socket) => once(socket, 'close'));
  });
  afterAll(() => member.stop());

  it('a certificate that is replaced counts from the next handshake on, and a broken one does not', async () => {
    const { hostname, port } = new URL(url);
    const shown = async (): Promise<string> => {
      const given = { ...options(), host: hostname, port: Number(port) };
      const socket = connectTls({ ...given, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const first = await shown();
    makeCertificate(own.key, own.cert);
    const second = await shown();
    expect(second).not.toBe(first);
    const whole = readFileSync(own.cert);
    writeFileSync(own.cert, 'half of a certi');
    const given = { host: hostname, port: Number(port), rejectUnauthorized: false };
    const socket = connectTls({ ...given, cert: whole, key: readFileSync(own.key) });
    await once(socket, 'secureConnect');
    expect(socket.getPeerCertificate().fingerprint256).toBe(second);
    socket.destroy();
    writeFileSync(own.cert, whole);
    expect(await shown()).toBe(second);
  });

  it('its common name is who a client of gRPC is, unless it has a token; on no other interface (CVE-2018-16886)', async () => {
    const { admin } = member.member.host.auth;
    await admin.change({ kind: 'user-add', name: 'root' });
    await admin.change({ kind: 'role-add', name: 'root' });
    await admin.change({ kind: 'user-grant', name: 'root', role: 'root' });
    await admin.change({ kind: 'enable', tokenKey: 'ab'.repeat(16) });
    const client = new RawGrpc(url, connectHttp2(url, options()));
    const put = async (key: string, headers = {}): Promise<string> => {
      const body = toBinary(PutRequestSchema, create(PutRequestSchema, { key: utf8(key) }));
      const { status, message } = await client.unary('/etcdserverpb.KV/Put', body, headers);
      return `${status} ${message}`;
    };
    // The certificate's name is k, and there is no such user yet.
    expect(await put('a')).toBe('7 etcdserver: permission denied');
    await admin.change({ kind: 'user-add', name: 'k' });
    await admin.change({ kind: 'role-add', name: 'r' });
    const permission = { kind: 'readwrite', key: utf8('a'), rangeEnd: utf8('') } as const;
    await admin.change({ kind: 'role-grant', name: 'r', permission });
    await admin.change({ kind: 'user-grant', name: 'k', role: 'r' });
    expect(await put('a')).toBe('0 ');
    expect(await put('b')).toBe('7 etcdserver: permission denied');
    expect(await put('a', { token: 'x' })).toBe('16 etcdserver: invalid auth token');
    client.close();
    for (const [path, body] of [
      ['/v3/kv/put', '{"key":"YQ=="}'],
      ['/v1/kv/put', '{"key":"a","value":""}'],
    ] as const) {
      const { hostname, port } = new URL(url);
      const socket = connectTls({ ...options(), host: hostname, port: Number(port) });
      const head = `POST ${path} HTTP/1.1\r\nhost: k\r\ncontent-type: application/json`;
      socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 40[01] /);
      socket.destroy();
    }
  });

  it('a handshake that does not end is ended (CVE-2026-73500)', async () => {
    await Promise.all(unfinished);
  }, 30_000);
});

describe('files', () => {
  it.each([
    ['no such file', join(directory.path, 'absent'), /clientTls: cannot read .*absent/],
    ['no certificate', join(directory.path, 'text'), /clientTls: .*text with .* is not usable/],
  ])('%s: the member does not start', async (_what, certFileOf, message) => {
    writeFileSync(join(directory.path, 'text'), 'nothing');
    const started = startOneMember(join(directory.path, 'bad'), {
      'clientTls.certFile': certFileOf,
      'clientTls.keyFile': join(directory.path, 'text'),
    });
    await expect(started).rejects.toThrow(message);
  });
});
