import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';
import type { ClientTls } from '../member/client-tls.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** For as many bytes as tell the protocols apart; then HTTP/1's own timeouts begin, or HTTP/2's. */
const FIRST_BYTES_TIMEOUT_MS = 10_000;

/** Undefined: too few bytes to tell. */
function startsHttp2(bytes: Buffer): boolean | undefined {
  const length = Math.min(bytes.length, PREFACE.length);
  if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) return false;
  return length === PREFACE.length ? true : undefined;
}

/** Waits for the bytes that tell; `found` gets the socket as if nothing had been read. */
function look(socket: Socket, found: (isHttp2: boolean) => void): void {
  let start: Buffer = Buffer.alloc(0);
  const read = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    start = start.length === 0 ? chunk : Buffer.concat([start, chunk]);
    const isHttp2 = startsHttp2(start);
    if (isHttp2 === undefined) return;
    stop();
    socket.unshift(start);
    found(isHttp2);
  };
  const ignore = (): void => undefined;
  const stop = (): void => {
    socket.off('readable', read);
    socket.off('error', ignore);
  };
  socket.on('readable', read);
  socket.on('error', ignore);
}

/** Decrypts connections; a client that offers both protocols gets HTTP/1, as one that speaks gRPC offers no other than HTTP/2. */
function decrypted(tls: ClientTls, take: (socket: Socket) => void): (socket: Socket) => void {
  const { cert, key, ca } = tls;
  const options: TlsOptions = {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    requestCert: tls.ca !== undefined,
    ALPNProtocols: ['http/1.1', 'h2'],
    handshakeTimeout: FIRST_BYTES_TIMEOUT_MS,
  };
  const server = createServer(options, take);
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return (socket) => {
    const renewed = tls.renewed();
    if (renewed !== undefined) server.setSecureContext(renewed);
    server.emit('connection', socket);
  };
}

/**
 * Gives connections that begin with HTTP/2's preface to `takeHttp2`; the server goes on serving the others. Returns how to cut those
 * that have not said enough yet to be told apart; with TLS all.
 */
export function sharePort(
  server: Server,
  takeHttp2: (socket: Socket) => void,
  tls?: ClientTls,
): () => void {
  const cuttable = new Set<Socket>();
  const listeners = server.listeners('connection');
  const decide = (socket: Socket): void => {
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_TIMEOUT_MS);
    const finish = (): void => {
      clearTimeout(timer);
      if (tls === undefined) cuttable.delete(socket);
      socket.off('close', finish);
    };
    socket.on('close', finish);
    look(socket, (isHttp2) => {
      finish();
      if (isHttp2) takeHttp2(socket);
      else for (const listener of listeners) Reflect.apply(listener, server, [socket]);
    });
  };
  const take = tls === undefined ? decide : decrypted(tls, decide);
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (socket.destroyed) return; // refused by who looked at it before
    cuttable.add(socket);
    socket.on('close', () => cuttable.delete(socket));
    take(socket);
  });
  return () => {
    for (const socket of cuttable) socket.destroy();
  };
}
