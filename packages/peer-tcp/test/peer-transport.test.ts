import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterId, DEFAULT_LIMITS, type Limits, memberId, shardId } from '@kvorum/base';
import {
  openPeerTransport,
  type PeerTls,
  type PeerTransportOptions,
  type TcpPeerTransport,
} from '@kvorum/peer-tcp';
import type { Clock } from '@kvorum/ports';
import { describePeerTransportContract, seededRng } from '@kvorum/testkit';
import { encodePeerFrame, PeerFrameDecoder, type PeerItem } from '@kvorum/wire';
import { afterEach, describe, expect, it } from 'vitest';

const A = memberId(1n);
const B = memberId(2n);
const CLUSTER = clusterId(7n);
const LOOPBACK = { host: '127.0.0.1', port: 0 };

const realClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Member {
  readonly transport: TcpPeerTransport;
  readonly warnings: string[];
}

async function open(options: Partial<PeerTransportOptions> = {}): Promise<Member> {
  const warnings: string[] = [];
  const transport = await openPeerTransport({
    self: A,
    clusterId: CLUSTER,
    diskId: `disk of ${options.self ?? A}`,
    listen: LOOPBACK,
    peers: [],
    clock: realClock,
    rng: seededRng(1),
    limits: DEFAULT_LIMITS,
    onWarning: ({ message }) => warnings.push(message),
    ...options,
  });
  closers.push(() => transport.close());
  return { transport, warnings };
}

/** Two members that dial each other. */
async function pair(options: Partial<PeerTransportOptions> = {}): Promise<[Member, Member]> {
  const a = await open({ self: A, ...options });
  const b = await open({ self: B, ...options });
  a.transport.setPeers([{ id: B, ...b.transport.address }]);
  b.transport.setPeers([{ id: A, ...a.transport.address }]);
  await until(() => a.transport.isReachable(B) && b.transport.isReachable(A));
  return [a, b];
}

async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const HELLO: PeerItem = {
  kind: 'hello',
  protocolVersion: 1,
  clusterId: CLUSTER,
  memberId: B,
  diskId: 'd',
};

/** A raw connection to a transport, and what it receives. */
async function dial(to: TcpPeerTransport): Promise<{ socket: Socket; received: PeerItem[] }> {
  const socket = connect(to.address);
  socket.on('error', () => undefined);
  closers.push(() => {
    socket.destroy();
  });
  const received: PeerItem[] = [];
  const decoder = new PeerFrameDecoder({ frameBytesMax: 1 << 24 });
  socket.on('data', (chunk) => {
    const items = decoder.push(chunk);
    if (items.ok) received.push(...items.value);
  });
  await once(socket, 'connect');
  return { socket, received };
}

describePeerTransportContract('tcp', async () => {
  const [a, b] = await pair();
  return {
    a: a.transport,
    b: b.transport,
    absent: memberId(9n),
    until,
    dispose: async () => {
      await a.transport.close();
      await b.transport.close();
    },
  };
});

describe('handshake', () => {
  it('refuses a member of another cluster, and both sides say why', async () => {
    const a = await open({ self: A });
    const b = await open({
      self: B,
      clusterId: clusterId(8n),
      peers: [{ id: A, ...a.transport.address }],
    });
    await until(() => a.warnings.length > 0 && b.warnings.length > 0);
    expect(b.warnings[0]).toContain(
      'it belongs to cluster 0000000000000007, this member to 0000000000000008: check the peer addresses',
    );
    expect(a.warnings[0]).toContain('it belongs to cluster 0000000000000008');
    expect(b.transport.isReachable(A)).toBe(false);
  });

  it('refuses another member at the dialled address', async () => {
    const a = await open({ self: A });
    const c = memberId(3n);
    const b = await open({ self: B, peers: [{ id: c, ...a.transport.address }] });
    await until(() => b.warnings.length > 0);
    expect(b.warnings[0]).toContain('answers at the address of member 0000000000000003');
  });

  it('refuses its own id', async () => {
    const a = await open({ self: A });
    await open({ self: A, peers: [{ id: B, ...a.transport.address }] });
    await until(() => a.warnings.length > 0);
    expect(a.warnings[0]).toContain('two members share a data directory');
  });

  it('refuses a newer protocol by its number', async () => {
    const { transport, warnings } = await open();
    const { socket } = await dial(transport);
    socket.write(encodePeerFrame([{ ...HELLO, protocolVersion: 9 }, { kind: 'ping' }]));
    await once(socket, 'close');
    expect(warnings).toEqual([expect.stringContaining('it speaks peer protocol 9')]);
  });

  it('takes nothing from a connection whose hello it refused', async () => {
    const { transport } = await open();
    const received: unknown[] = [];
    transport.onMessage((_, message) => received.push(message));
    const { socket, received: answers } = await dial(transport);
    socket.write(
      encodePeerFrame([
        { ...HELLO, clusterId: clusterId(8n) },
        HELLO,
        { kind: 'messages', messages: [[shardId(0), 'x']] },
        { kind: 'ping' },
      ]),
    );
    await once(socket, 'close');
    expect([received, answers.map(({ kind }) => kind)]).toEqual([[], ['hello']]);
  });

  it('warns when a member returns with another disk', async () => {
    const { transport, warnings } = await open();
    for (const diskId of ['first', 'first', 'second']) {
      const { socket, received } = await dial(transport);
      socket.write(encodePeerFrame([{ ...HELLO, diskId }]));
      await until(() => received.length > 0);
    }
    expect(warnings).toEqual([
      expect.stringContaining('another data directory (second, before first)'),
    ]);
  });
});

describe('bad peers', () => {
  it.each([
    ['a foreign protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'malformed frame'],
    ['a frame over the limit', Uint8Array.of(0xff, 0xff, 0xff, 0xff), 'malformed frame'],
    ['noise in a frame', Uint8Array.of(0, 0, 0, 1, 0xc1), 'malformed frame'],
    ['a message before hello', encodePeerFrame([{ kind: 'ping' }]), 'instead of hello'],
    [
      'an answer on an accepted connection',
      encodePeerFrame([HELLO, { kind: 'response', id: 1, payload: 1 }]),
      'unexpected response',
    ],
  ])('are dropped with a warning: %s', async (_, bytes, reason) => {
    const { transport, warnings } = await open();
    const { socket } = await dial(transport);
    socket.write(bytes);
    await once(socket, 'close');
    expect(warnings).toEqual([expect.stringContaining(reason)]);
    const { socket: next, received } = await dial(transport);
    next.write(encodePeerFrame([HELLO]));
    await until(() => received.length > 0);
  });

  it('make room for others when they never say hello', async () => {
    const { transport } = await open();
    const first = await dial(transport);
    const closed = once(first.socket, 'close');
    for (let i = 0; i < 300; i += 1) await dial(transport);
    await closed;
    const { socket, received } = await dial(transport);
    socket.write(encodePeerFrame([HELLO]));
    await until(() => received.length > 0);
  });

  it('are redialled, with one warning for one and the same reason', async () => {
    let dialled = 0;
    const server = await listen((socket) => {
      dialled += 1;
      socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    const peers = [{ id: B, host: '127.0.0.1', port: portOf(server) }];
    const { warnings } = await open({ peers });
    await until(() => dialled >= 3);
    expect(warnings).toEqual([expect.stringContaining('malformed frame')]);
  });
});

describe('connections', () => {
  it('gather what one turn sends, from several callbacks, into one frame', async () => {
    const frames: number[] = [];
    const decoder = new PeerFrameDecoder({ frameBytesMax: 1 << 20 });
    const server = await listen((socket) => {
      socket.on('data', (chunk) => {
        const items = decoder.push(chunk);
        for (const item of items.ok ? items.value : []) {
          if (item.kind === 'hello') socket.write(encodePeerFrame([HELLO]));
          if (item.kind === 'messages') frames.push(item.messages.length);
        }
      });
    });
    const { transport } = await open({
      peers: [{ id: B, host: '127.0.0.1', port: portOf(server) }],
    });
    await until(() => transport.isReachable(B));
    for (let shard = 0; shard < 16; shard += 1) {
      const send = (): void => transport.send(B, { shard: shardId(shard), payload: 'heartbeat' });
      if (shard % 2 === 0) send();
      else queueMicrotask(send);
    }
    await until(() => frames.length > 0);
    expect(frames).toEqual([16]);
  });

  it('come back by themselves when the peer restarts', async () => {
    const [a, b] = await pair();
    const events: boolean[] = [];
    a.transport.onReachability((_, reachable) => events.push(reachable));
    const { address } = b.transport;
    await b.transport.close();
    await until(() => !a.transport.isReachable(B));
    const restarted = await open({ self: B, listen: address, diskId: 'disk of 2' });
    await until(() => a.transport.isReachable(B));
    const received: unknown[] = [];
    restarted.transport.onMessage((_, { payload }) => received.push(payload));
    a.transport.send(B, { shard: shardId(0), payload: 'again' });
    await until(() => received.length > 0);
    expect([events, a.warnings]).toEqual([[false, true], []]);
  });

  it('tell that a peer refuses', async () => {
    const server = await listen(() => undefined);
    const port = portOf(server);
    server.close();
    const events: unknown[] = [];
    const { transport } = await open({ peers: [{ id: B, host: '127.0.0.1', port }] });
    transport.onReachability((peer, reachable) => events.push([peer, reachable]));
    await until(() => events.length > 0);
    expect(events).toEqual([[B, false]]);
  });

  it('follow setPeers: new ones are dialled, moved ones redialled, removed ones dropped', async () => {
    const [a, b] = await pair();
    a.transport.setPeers([{ id: B, ...b.transport.address }]);
    expect(a.transport.isReachable(B)).toBe(true);
    const moved = await open({ self: B });
    a.transport.setPeers([{ id: B, ...moved.transport.address }]);
    await until(() => a.transport.isReachable(B));
    const received: unknown[] = [];
    moved.transport.onMessage((_, { payload }) => received.push(payload));
    a.transport.send(B, { shard: shardId(0), payload: 'moved' });
    await until(() => received.length > 0);
    a.transport.setPeers([]);
    expect(a.transport.isReachable(B)).toBe(false);
  });

  it('name the address that is taken', async () => {
    const a = await open();
    await expect(open({ listen: a.transport.address })).rejects.toMatchObject({
      code: 'KV_CONFIG',
      message: expect.stringContaining('EADDRINUSE') as unknown,
    });
  });

  it('deliver what was sent right before close', async () => {
    const [a, b] = await pair();
    const received: unknown[] = [];
    b.transport.onMessage((_, { payload }) => received.push(payload));
    a.transport.send(B, { shard: shardId(0), payload: 'last words' });
    await a.transport.close();
    await until(() => received.length > 0);
    expect(received).toEqual(['last words']);
  });
});

describe('bounds', () => {
  /** A peer that shakes hands and then stops reading. */
  async function deafPeer(
    limits: Limits,
  ): Promise<{ transport: TcpPeerTransport; socket: Socket }> {
    let deaf: Socket | undefined;
    const server = await listen((socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.write(encodePeerFrame([HELLO]));
        deaf = socket;
      });
    });
    const { transport } = await open({
      limits,
      peers: [{ id: B, host: '127.0.0.1', port: portOf(server) }],
    });
    await until(() => transport.isReachable(B) && deaf !== undefined);
    if (deaf === undefined) return expect.fail('no connection');
    return { transport, socket: deaf };
  }

  it('a deaf peer: the oldest messages are dropped, the newest arrive', async () => {
    const limits = { ...DEFAULT_LIMITS, peerQueueMessagesMax: 10 };
    const { transport, socket } = await deafPeer(limits);
    const big = new Uint8Array(1 << 20);
    for (let i = 0; i < 200; i += 1) {
      transport.send(B, { shard: shardId(0), payload: [i, big] });
      if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
    }
    const numbers: number[] = [];
    const decoder = new PeerFrameDecoder({ frameBytesMax: limits.peerFrameBytesMax });
    socket.on('data', (chunk) => {
      const items = decoder.push(chunk);
      for (const item of items.ok ? items.value : []) {
        if (item.kind !== 'messages') continue;
        for (const [, payload] of item.messages) numbers.push((payload as [number])[0]);
      }
    });
    socket.resume();
    await until(() => numbers.at(-1) === 199);
    expect(numbers.length).toBeLessThan(200);
    expect(numbers.slice(-10)).toEqual([190, 191, 192, 193, 194, 195, 196, 197, 198, 199]);
  });

  it('a deaf peer: requests beyond the bound are refused at once', async () => {
    const limits = { ...DEFAULT_LIMITS, peerQueueBytesMax: 4 << 20 };
    const { transport } = await deafPeer(limits);
    const { signal } = new AbortController();
    const payload = new Uint8Array(1 << 20);
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 1000; i += 1) {
      transport.request(B, payload, { signal }).catch((error: unknown) => {
        refused ??= error;
      });
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(refused).toMatchObject({ code: 'KV_TOO_MANY_REQUESTS', outcome: 'not-applied' });
  });

  it('requests in flight are counted', async () => {
    const limits = { ...DEFAULT_LIMITS, peerRequestsMax: 2 };
    const { transport } = await deafPeer(limits);
    const { signal } = new AbortController();
    const open = [1, 2].map((i) => transport.request(B, i, { signal }).catch(() => undefined));
    await expect(transport.request(B, 3, { signal })).rejects.toMatchObject({
      code: 'KV_TOO_MANY_REQUESTS',
    });
    await transport.close();
    await Promise.all(open);
  });

  it('a request larger than a frame is refused, and so is such an answer', async () => {
    const limits = { ...DEFAULT_LIMITS, peerFrameBytesMax: 1 << 20 };
    const [a, b] = await pair({ limits });
    const { signal } = new AbortController();
    const large = new Uint8Array(1 << 20);
    const tooLarge = { code: 'KV_REQUEST_TOO_LARGE' };
    await expect(a.transport.request(B, large, { signal })).rejects.toMatchObject(tooLarge);
    b.transport.onRequest(async () => large);
    await expect(a.transport.request(B, 'small', { signal })).rejects.toMatchObject(tooLarge);
    b.transport.onRequest(async (_, payload) => payload);
    expect(await a.transport.request(B, 'fine', { signal })).toBe('fine');
  });

  it('a peer that was silent for too long is dropped and redialled', async () => {
    let skewMs = 0;
    const timers: (() => void)[] = [];
    const clock: Clock = {
      ...realClock,
      nowMs: () => performance.now() + skewMs,
      // The ping timer is fired by hand.
      setTimer(delayMs, callback) {
        if (delayMs !== 1000) return realClock.setTimer(delayMs, callback);
        timers.push(callback);
        return () => undefined;
      },
    };
    let dialled = 0;
    const server = await listen((socket) => {
      dialled += 1;
      socket.once('data', () => socket.write(encodePeerFrame([HELLO])));
    });
    const peers = [{ id: B, host: '127.0.0.1', port: portOf(server) }];
    const { transport } = await open({ clock, peers });
    await until(() => transport.isReachable(B));
    skewMs = 6000;
    timers.at(-1)?.();
    await until(() => !transport.isReachable(B));
    await until(() => dialled === 2);
  });
});

describe('tls', () => {
  /** A key and a certificate for 127.0.0.1 that signs itself; undefined without openssl. */
  function newCertificate(directory: string): PeerTls | undefined {
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const request = join(directory, 'request.cnf');
    writeFileSync(
      request,
      '[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=kvorum\n' +
        '[ext]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:true\n',
    );
    const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const files = ['-config', request, '-keyout', keyFile, '-out', certFile];
    try {
      execFileSync('openssl', ['req', '-x509', ...options, ...files], { stdio: 'ignore' });
    } catch {
      return undefined; // the machine has no openssl
    }
    const cert = readFileSync(certFile);
    return { key: readFileSync(keyFile), cert, ca: cert };
  }

  it('carries messages between members with certificates and refuses those without (CVE-2020-15136)', async (test) => {
    const directory = mkdtempSync(join(tmpdir(), 'kvorum-tls-'));
    const tls = newCertificate(directory);
    rmSync(directory, { recursive: true });
    if (tls === undefined) return test.skip('openssl is not installed');
    const [a, b] = await pair({ tls });
    b.transport.onRequest(async (_, payload) => payload);
    const { signal } = new AbortController();
    expect(await a.transport.request(B, 'over tls', { signal })).toBe('over tls');
    const { socket } = await dial(a.transport);
    const closed = once(socket, 'close');
    socket.write(encodePeerFrame([HELLO]));
    await closed;
    await until(() => a.warnings.length > 0);
    expect(a.warnings[0]).toContain('TLS connection was refused');
  });
});
