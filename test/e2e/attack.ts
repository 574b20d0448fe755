import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { RawSession } from '../../packages/server/test/support/raw-session.ts';

const AT_ONCE = 500;

export interface HalfOpen {
  /** Connections the member accepted. */
  readonly connected: number;
  /** Why the others were not made, by error code. */
  readonly refused: Readonly<Record<string, number>>;
  close(): void;
}

/** Opens connections that say nothing (even ones) or begin a request and never end it (odd ones). */
export async function openHalf(url: string, count: number): Promise<HalfOpen> {
  const { hostname, port } = new URL(url);
  const sockets: Socket[] = [];
  const refused: Record<string, number> = {};
  let connected = 0;
  const one = async (i: number): Promise<void> => {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    try {
      await once(socket, 'connect');
      connected += 1;
      if (i % 2 === 1) socket.write('GET /v1/status HTTP/1.1\r\nhost: slow');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      refused[code] = (refused[code] ?? 0) + 1;
    }
    socket.on('error', () => undefined);
  };
  for (let i = 0; i < count; i += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, j) => one(i + j)));
  }
  return {
    connected,
    refused,
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What a member answers to bytes on a plain connection, until it closes it. */
export async function rawHttp(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  await once(socket, 'close');
  return answer;
}

/** How a member ends a session that sent `frame` (bytes as they are, text, or an array as msgpack). */
export async function sessionEnd(
  url: string,
  frame: Uint8Array | string | readonly unknown[],
): Promise<{ readonly code: number; readonly reason: string }> {
  const session = await RawSession.open(url);
  if (frame instanceof Uint8Array || typeof frame === 'string') session.sendBytes(frame);
  else session.send(frame);
  return session.closed;
}

/** Resident memory of a member, bytes. */
export async function residentBytes(url: string): Promise<number> {
  const answer = await fetch(`${url}/v1/status`);
  return ((await answer.json()) as { readonly residentBytes: number }).residentBytes;
}
