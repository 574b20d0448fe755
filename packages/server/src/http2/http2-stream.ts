import type { HeaderList } from './header-decoder.ts';

export type Header = readonly [name: string, value: string];

/** What reads the request of a stream. */
export interface StreamReceiver {
  /** The bytes are valid during the call. */
  onData(chunk: Buffer): void;
  /** The request is complete. */
  onEnd(): void;
  /** The peer has reset the stream or is gone: nothing can be sent or received any more. */
  onClosed(): void;
  /** Everything written is on its way. */
  onDrained(): void;
}

/** The connection, as its streams see it. */
export interface StreamOwner {
  sendHeaders(stream: Http2Stream, headers: readonly Header[], isLast: boolean): void;
  /** Sends of what is queued as much as the windows allow. */
  sendQueued(stream: Http2Stream): void;
  sendReset(stream: Http2Stream, code: number): void;
  sendCredit(stream: Http2Stream): void;
  /** Of all its requests. */
  readonly heldBytes: number;
  /** So many bytes more, or less, are held for requests. */
  holds(change: number): void;
  /** So many bytes more are queued on a stream. */
  queued(bytes: number): void;
}

/** One request and its answer. */
export class Http2Stream {
  readonly id: number;
  /** Undefined: they were longer than the maximum. */
  readonly headers: HeaderList | undefined;
  /** What they take. */
  readonly headerBytes: number;
  receiver: StreamReceiver | undefined;
  /** The request is complete. */
  remoteEnded: boolean;
  /** Either side reset it, or both have ended. */
  closed = false;
  /** Bytes that the peer takes now. */
  sendWindow: number;
  /** Bytes received for which the peer has no new credit yet. */
  uncredited = 0;
  /** Credit waits until the receiver has room. */
  held = false;
  readonly queue: Uint8Array[] = [];
  queuedBytes = 0;
  /** To be sent behind the queue. */
  trailers: readonly Header[] | undefined;
  headersSent = false;
  readonly #owner: StreamOwner;

  constructor(
    owner: StreamOwner,
    start: {
      readonly id: number;
      readonly headers: HeaderList | undefined;
      readonly headerBytes: number;
      readonly remoteEnded: boolean;
      readonly sendWindow: number;
    },
  ) {
    this.#owner = owner;
    this.id = start.id;
    this.headers = start.headers;
    this.headerBytes = start.headerBytes;
    this.remoteEnded = start.remoteEnded;
    this.sendWindow = start.sendWindow;
  }

  /** @param isLast - nothing follows. */
  respond(headers: readonly Header[], isLast: boolean): void {
    if (this.closed) return;
    this.headersSent = true;
    this.#owner.sendHeaders(this, headers, isLast);
  }

  /** False: not all of it is on its way yet. */
  write(bytes: Uint8Array): boolean {
    if (this.closed) return true;
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    this.#owner.queued(bytes.length);
    this.#owner.sendQueued(this);
    return this.queuedBytes === 0;
  }

  /** Ends the answer behind what was written. */
  end(trailers: readonly Header[]): void {
    if (this.closed) return;
    this.trailers = trailers;
    this.#owner.sendQueued(this);
  }

  reset(code: number): void {
    if (!this.closed) this.#owner.sendReset(this, code);
  }

  /** What is held for all requests of the connection. */
  get connectionBytes(): number {
    return this.#owner.heldBytes;
  }

  /** Who reads the request keeps so many bytes more, or less, of it. */
  holds(change: number): void {
    this.#owner.holds(change);
  }

  /** The peer may send what the window still allows, and no more until {@link release}. */
  hold(): void {
    this.held = true;
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    if (!this.closed) this.#owner.sendCredit(this);
  }
}
