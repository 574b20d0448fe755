import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RawGrpc } from '../../packages/server/test/support/grpc-client.ts';
import {
  RawHttp2,
  rawFrame,
  requestBlock,
  uint32,
} from '../../packages/server/test/support/raw-http2.ts';
import { freeDevPort } from '../../scripts/free-ports.ts';
import { rawHttp, residentBytes, sessionEnd } from './attack.ts';
import { Command, KVD } from './command.ts';

/** One member in a process of its own, on the embedded log, under all that docs/security.md says of hostile clients, at once. */
const PUT = '/etcdserverpb.KV/Put';
const MIB = 1024 * 1024;
const RESIDENT_BYTES_MAX = 700 * MIB;
const RESETS = 3000;
const ENHANCE_YOUR_CALM = 11;
const [HEADERS, RESET_STREAM, END_HEADERS] = [1, 3, 4];

const directory = mkdtempSync(join(tmpdir(), 'kvorum-hostile-'));
let kvd: Command;
let url = '';
let honest: KvorumClient;
beforeAll(async () => {
  const port = await freeDevPort(1);
  kvd = new Command(KVD, [
    ...['dev', '--members', '1', '--shards', '1', '--client-port', String(port)],
    ...['--data-dir', directory],
  ]);
  await kvd.until('Ctrl-C stops.');
  url = `http://127.0.0.1:${port}`;
  honest = await connect({ endpoints: [url], timeoutMs: 30_000 });
}, 60_000);
afterAll(async () => {
  await honest?.close();
  await kvd?.kill();
  rmSync(directory, { recursive: true, force: true });
});

async function posted(path: string, body: string, headers: Record<string, string>) {
  const answer = await fetch(`${url}${path}`, { method: 'POST', body, headers });
  return { status: answer.status, text: await answer.text() };
}

/** Resolves when the member closes a connection that has said so much. */
async function closed(begin: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connectTcp(Number(port), hostname).on('error', () => undefined);
  socket.write(begin, 'latin1');
  socket.resume();
  await once(socket, 'close');
  return true;
}

async function grpcStatus(body: Uint8Array, headers = {}): Promise<number | undefined> {
  const client = new RawGrpc(url);
  const { status } = await client.unary(PUT, body, headers);
  client.close();
  return status;
}

async function rapidReset(): Promise<number> {
  const client = new RawHttp2(Number(new URL(url).port));
  const block = requestBlock(PUT);
  const frames = Array.from({ length: RESETS }, (_, i) => [
    rawFrame(HEADERS, END_HEADERS, 2 * i + 1, block),
    rawFrame(RESET_STREAM, 0, 2 * i + 1, uint32(8)),
  ]);
  client.write(...frames.flat());
  const { code } = await client.goAway();
  client.socket.destroy();
  return code;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const nested = `${'{"success":[{"requestTxn":'.repeat(5000)}{}${'}]}'.repeat(5000)}`;

/** Each with its documented answer. */
const ATTACKS: readonly (readonly [string, () => Promise<unknown>, unknown])[] = [
  [
    'bytes that are no frame',
    () => sessionEnd(url, new Uint8Array([0xc1, 0xff, 0, 1])),
    expect.objectContaining({ code: 1008 }),
  ],
  ['malformed protobuf', () => grpcStatus(Buffer.from('0affffffff0f', 'hex')), 13],
  [
    'a bomb of gzip',
    () => grpcStatus(gzipSync(Buffer.alloc(64 * MIB)), { 'grpc-encoding': 'gzip' }),
    12,
  ],
  [
    'deep nesting',
    () => posted('/v3/kv/txn', nested, JSON_TYPE),
    expect.objectContaining({ status: 400 }),
  ],
  [
    'a body above the limit',
    () => posted('/v1/kv/put', JSON.stringify({ key: 'k', value: 'x'.repeat(4 * MIB) }), JSON_TYPE),
    expect.objectContaining({ status: 413 }),
  ],
  [
    'headers above 16 KiB',
    () => rawHttp(url, `GET /livez HTTP/1.1\r\nhost: k\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`),
    expect.stringMatching(/^HTTP\/1\.1 431 /),
  ],
  ['rapid reset', rapidReset, ENHANCE_YOUR_CALM],
  ['silence', () => closed(''), true],
  ['half a request', () => closed('GET /v1/status HTTP/1.1\r\nhost: slow'), true],
  ['half a preface of HTTP/2', () => closed('PRI * HTTP/2.0\r\n'), true],
];

it('every attack gets its answer, and an honest client sees none of them', async () => {
  let isOver = false;
  let served = 0;
  const working = (async () => {
    for (; !isOver; served += 1) {
      await honest.put('honest', String(served));
      expect((await honest.get('honest'))?.text()).toBe(String(served));
    }
  })();
  // The last of them says half a frame of a WebSocket and stays.
  const { hostname, port } = new URL(url);
  const half = connectTcp(Number(port), hostname).on('error', () => undefined);
  half.write(
    'GET /v1/session HTTP/1.1\r\nhost: k\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
      'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x82\xfe',
    'latin1',
  );
  const answers = await Promise.all(
    ATTACKS.flatMap(([name, attack, answer]) =>
      [1, 2, 3].map(async () => [name, await attack(), answer] as const),
    ),
  );
  for (const [name, found, answer] of answers) expect([name, found]).toEqual([name, answer]);
  expect(await residentBytes(url)).toBeLessThan(RESIDENT_BYTES_MAX);
  isOver = true;
  await working;
  half.destroy();
  expect(served).toBeGreaterThan(0);
}, 90_000);
