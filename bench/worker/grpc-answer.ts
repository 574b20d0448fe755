import {
  type GrpcCallError,
  type GrpcConnection,
  PREFIX_BYTES,
  type Receiver,
} from './grpc-connection.ts';

/** Takes the messages of a call out of its bytes, which are cut anywhere. */
export class MessageReceiver implements Receiver {
  readonly #onMessage: (message: Buffer) => void;
  readonly #onEnd: (error: GrpcCallError | undefined) => void;
  #rest: Buffer = Buffer.alloc(0);

  /** @param onMessage - gets each message without its prefix; valid during the call. */
  constructor(
    onMessage: (message: Buffer) => void,
    onEnd: (error: GrpcCallError | undefined) => void,
  ) {
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
  }

  onData(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + PREFIX_BYTES <= bytes.length) {
      const end = at + PREFIX_BYTES + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#onMessage(bytes.subarray(at + PREFIX_BYTES, end));
      at = end;
    }
    // What is kept must not lie in memory that is read into again.
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
  }

  onEnd(error: GrpcCallError | undefined): void {
    this.#onEnd(error);
  }
}

/** The one message that answers a call. Rejects when there is none, or the status is not OK. */
export function wholeAnswer(
  connection: GrpcConnection,
  path: string,
  request: Uint8Array,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let answer: Uint8Array | undefined;
    const onEnd = (error: GrpcCallError | undefined): void => {
      if (error === undefined && answer !== undefined) resolve(answer);
      else reject(error ?? new Error(`${path}: an answer without a message`));
    };
    const onMessage = (message: Buffer): void => {
      answer = Uint8Array.from(message);
    };
    connection.unary(path, request, new MessageReceiver(onMessage, onEnd));
  });
}
