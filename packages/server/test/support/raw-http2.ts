import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FRAME, FrameReader, PREFACE } from '../../src/http2/frames.ts';

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function rawFrame(type: number, flags: number, id: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header written out, without tables and Huffman codes. */
export function literal(name: string, value: string): Buffer {
  const length = (text: string): Buffer => {
    if (text.length < 127) return Buffer.from([text.length]);
    const rest = text.length - 127;
    return Buffer.from([127, (rest % 128) + 128, Math.floor(rest / 128) % 128]);
  };
  return Buffer.concat([
    Buffer.from([0]),
    length(name),
    Buffer.from(name),
    length(value),
    Buffer.from(value),
  ]);
}

export function requestBlock(path: string, more: readonly Buffer[] = []): Buffer {
  const head = [literal(':path', path), literal('content-type', 'application/grpc'), ...more];
  return Buffer.concat([Buffer.from([0x83, 0x86]), ...head]);
}

/** A client that writes frames, right or wrong, and shows those that come. */
export class RawHttp2 {
  readonly socket: Socket;
  readonly frames: SeenFrame[] = [];
  readonly #reader = new FrameReader();

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('error', () => undefined).setMaxListeners(0);
    this.#reader.push(PREFACE);
    this.#reader.next();
    this.socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk);
      for (let one = this.#reader.next(); one !== undefined; one = this.#reader.next()) {
        this.frames.push({ ...one, payload: Buffer.from(one.payload) });
      }
      this.socket.emit('frames');
    });
    this.write(PREFACE, rawFrame(FRAME.settings, 0, 0, Buffer.alloc(0)));
  }

  write(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** The first frame that matches, seen already or to come; undefined when the connection ends before. */
  async seen(matches: (frame: SeenFrame) => boolean): Promise<SeenFrame | undefined> {
    for (;;) {
      const found = this.frames.find(matches);
      if (found !== undefined || this.socket.closed) return found;
      await Promise.race([once(this.socket, 'frames'), once(this.socket, 'close')]);
    }
  }

  /** Code and text of the GOAWAY that ends the connection. */
  async goAway(): Promise<{ readonly code: number; readonly text: string }> {
    const frame = await this.seen(({ type }) => type === FRAME.goAway);
    const payload = frame?.payload ?? Buffer.alloc(8);
    return { code: payload.readUInt32BE(4), text: payload.subarray(8).toString() };
  }
}
