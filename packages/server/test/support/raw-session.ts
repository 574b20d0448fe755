import { once } from 'node:events';
import { FRAME, OP, packFrame, unpackFrame } from '@kvorum/wire';
import { WebSocket } from 'ws';

export const CLIENT_ID = '0123456789abcdef0123456789abcdef';

/** A native connection without a client's manners: every frame as it lies on the wire. */
export class RawSession {
  readonly ws: WebSocket;
  readonly frames: (readonly unknown[])[] = [];
  #waiting: (() => void)[] = [];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;

  constructor(url: string) {
    this.ws = new WebSocket(`${url.replace('http', 'ws')}/v1/session`);
    this.ws.on('message', (data: Buffer) => {
      this.frames.push(unpackFrame(data) ?? []);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.ws.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      this.ws.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        for (const wake of this.#waiting.splice(0)) wake();
      });
    });
  }

  static async open(url: string): Promise<RawSession> {
    const session = new RawSession(url);
    await once(session.ws, 'open');
    session.send([FRAME.hello, 1, CLIENT_ID, 'test']);
    await session.next(FRAME.welcome);
    return session;
  }

  send(frame: readonly unknown[]): void {
    this.ws.send(packFrame(frame));
  }

  sendBytes(bytes: Uint8Array | string): void {
    this.ws.send(bytes);
  }

  /** The next frame of this type (mapChanged frames and others are left where they are). */
  async next(type: number): Promise<readonly unknown[]> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame[0] === type);
      const [frame] = at === -1 ? [] : this.frames.splice(at, 1);
      if (frame !== undefined) return frame;
      if (this.ws.readyState === WebSocket.CLOSED) throw new TypeError('the session is closed');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Items of as many response frames as it takes to get `count`, and how many frames that were. */
  async answers(count: number): Promise<{ readonly items: unknown[][]; readonly frames: number }> {
    const items: unknown[][] = [];
    let frames = 0;
    while (items.length < count) {
      const [, , list] = await this.next(FRAME.responses);
      items.push(...(list as unknown[][]));
      frames += 1;
    }
    return { items, frames };
  }

  requests(shard: string, items: readonly (readonly unknown[])[]): void {
    this.send([FRAME.requests, shard, 1, 5000, 0, items]);
  }

  put(id: number, key: string, value: string): readonly unknown[] {
    return [id, OP.put, 0, false, Buffer.from(key), Buffer.from(value)];
  }

  get(id: number, key: string): readonly unknown[] {
    return [id, OP.get, Buffer.from(key)];
  }

  close(): void {
    this.ws.terminate();
  }
}
