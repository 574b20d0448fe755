import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { RawGrpc } from './support/grpc-client.ts';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
const certFile = join(directory.path, 'cert.pem');
const keyFile = join(directory.path, 'key.pem');

/** False without openssl. */
function makeCertificate(): boolean {
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

const has = makeCertificate();
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
