import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TcpProxy } from './tcp-proxy.ts';

let server: Server;
let proxy: TcpProxy;
const accepted: Socket[] = [];

beforeEach(async () => {
  accepted.length = 0;
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await TcpProxy.listen(0, (server.address() as AddressInfo).port);
});

afterEach(async () => {
  await proxy.close();
  for (const socket of accepted) socket.destroy();
  server.close();
});

/** Both ends of one connection through the proxy. */
async function open(): Promise<{ readonly client: Socket; readonly target: Socket }> {
  const before = accepted.length;
  const client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => undefined);
  await expect.poll(() => accepted.length).toBe(before + 1);
  const target = accepted[before];
  if (target === undefined) throw new TypeError('nothing was accepted');
  return { client, target };
}

/** `once` would reject on the error that comes before. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('close', () => resolve());
  });

function received(socket: Socket): () => string {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return () => text;
}

it('passes bytes on, and the end of a connection', async () => {
  const { client, target } = await open();
  const [there, back] = [received(target), received(client)];
  client.write('ping');
  target.write('pong');
  await expect.poll(there).toBe('ping');
  await expect.poll(back).toBe('pong');
  const ended = once(target, 'end');
  client.end();
  await ended;
});

it('holds what goes one way until it heals, and loses nothing', async () => {
  const { client, target } = await open();
  const [there, back] = [received(target), received(client)];
  proxy.cut(['forth']);
  client.write('a');
  target.write('b');
  await expect.poll(back).toBe('b');
  client.write('c');
  target.write('d');
  await expect.poll(back).toBe('bd');
  expect(there()).toBe('');
  proxy.heal();
  await expect.poll(there).toBe('ac');
});

it('keeps the order of what it delays', async () => {
  const { client, target } = await open();
  const there = received(target);
  proxy.delay({ ms: 1, jitterMs: 20 });
  const wanted = Array.from({ length: 50 }, (_, i) => `${i},`);
  for (const each of wanted) {
    client.write(each);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await expect.poll(there).toBe(wanted.join(''));
});

it('resets connections, and takes new ones', async () => {
  const { client, target } = await open();
  const broken = [closed(client), closed(target)];
  proxy.reset();
  await Promise.all(broken);
  const next = await open();
  const there = received(next.target);
  next.client.write('again');
  await expect.poll(there).toBe('again');
});

it('refuses as the target does', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  proxy.target = (gone.address() as AddressInfo).port;
  await once(gone.close(), 'close');
  const client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => undefined);
  await closed(client);
});
