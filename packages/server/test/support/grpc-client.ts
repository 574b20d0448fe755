import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';

/** How a call ended, as it stood on the wire. */
export interface Ended {
  readonly httpStatus: number;
  readonly status: number | undefined;
  readonly message: string;
  readonly messages: readonly Uint8Array[];
  readonly headers: IncomingHttpHeaders;
  /** Of RST_STREAM; 0 = none. */
  readonly reset: number;
}

export function frame(body: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

function messagesIn(bytes: Buffer): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    messages.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return messages;
}

/** A client of gRPC that shows everything and can do everything wrong. */
export class RawGrpc {
  readonly session: ClientHttp2Session;

  /** @param url - of the client port. */
  constructor(url: string, session: ClientHttp2Session = connect(url)) {
    this.session = session;
    this.session.on('error', () => undefined);
  }

  open(path: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const stream = this.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    stream.on('error', () => undefined);
    return stream;
  }

  /** Everything up to the end of the stream. */
  async ended(stream: ClientHttp2Stream): Promise<Ended> {
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('trailers', (received: IncomingHttpHeaders) => {
      trailers = received;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(stream, 'close');
    const status = trailers['grpc-status'] ?? headers['grpc-status'];
    const message = trailers['grpc-message'] ?? headers['grpc-message'] ?? '';
    return {
      httpStatus: Number(headers[':status'] ?? 0),
      status: status === undefined ? undefined : Number(status),
      message: decodeURIComponent(String(message)),
      messages: messagesIn(Buffer.concat(chunks)),
      headers,
      reset: stream.rstCode,
    };
  }

  unary(
    path: string,
    body: Uint8Array = new Uint8Array(0),
    headers: OutgoingHttpHeaders = {},
  ): Promise<Ended> {
    const stream = this.open(path, headers);
    stream.end(frame(body));
    return this.ended(stream);
  }

  /** A call by its descriptor; its answer, or an error that has the status. */
  async call(method: DescMethod, request: Message): Promise<Message> {
    const path = `/${method.parent.typeName}/${method.name}`;
    const { status, message, messages } = await this.unary(path, toBinary(method.input, request));
    const [body] = messages;
    if (status !== 0 || body === undefined) throw new Error(`status ${status}: ${message}`);
    return fromBinary(method.output, body);
  }

  close(): void {
    this.session.destroy();
  }
}
