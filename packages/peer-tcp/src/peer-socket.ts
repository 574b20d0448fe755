import type { Socket } from 'node:net';
import type { Limits, MemberId, ShardId } from '@kvorum/base';
import { PeerFrameDecoder, type PeerItem } from '@kvorum/wire';
import { FrameWriter, type Queued } from './frame-writer.ts';
import type { PeerMetrics } from './peer-options.ts';

export interface PeerSocketHandlers {
  onItem(item: PeerItem): void;
  /** Once, when the connection has ended for whatever reason. */
  onClosed(reason: CloseReason): void;
}

export interface CloseReason {
  readonly text: string;
  /** The other side broke the protocol: worth a warning, unlike a connection that just ended. */
  readonly violation: boolean;
}

/** Frames over one socket, in both directions. */
export class PeerSocket {
  readonly #socket: Socket;
  readonly #handlers: PeerSocketHandlers;
  readonly #writer: FrameWriter;
  readonly #decoder: PeerFrameDecoder;
  #reason: CloseReason = { text: 'the connection was closed by the other side', violation: false };
  #closed = false;
  /** As of the last report. */
  #sentBytes = 0;
  #receivedBytes = 0;

  constructor(socket: Socket, limits: Limits, handlers: PeerSocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#writer = new FrameWriter(socket, limits);
    this.#decoder = new PeerFrameDecoder({ frameBytesMax: limits.peerFrameBytesMax });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => {
      if (!this.#closed) this.#reason = { text: error.message, violation: false };
    });
    socket.on('close', () => this.#finish());
  }

  message(shard: ShardId, payload: unknown): void {
    if (!this.#closed) this.#writer.message(shard, payload);
  }

  item(item: PeerItem, payload?: unknown): Queued {
    return this.#closed ? 'full' : this.#writer.item(item, payload);
  }

  /** Tells what has gone both ways since the last report. */
  reportBytes(peer: MemberId, metrics: PeerMetrics | undefined): void {
    const { bytesWritten, bytesRead } = this.#socket;
    metrics?.sent(peer, bytesWritten - this.#sentBytes);
    metrics?.received(peer, bytesRead - this.#receivedBytes);
    this.#sentBytes = bytesWritten;
    this.#receivedBytes = bytesRead;
  }

  /** Sends what is queued and ends the connection; whoever calls also sets a time-out and destroys. */
  end(): void {
    this.#writer.flush();
    this.#socket.end();
  }

  /** Ends the connection at once; `onClosed` follows in a later turn of the event loop. */
  destroy(text: string, violation = false): void {
    if (this.#closed) return;
    this.#reason = { text, violation };
    this.#closed = true;
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return;
    const items = this.#decoder.push(chunk);
    if (!items.ok) {
      this.destroy(`malformed frame: ${items.error}`, true);
      return;
    }
    for (const item of items.value) {
      if (this.#closed) return;
      this.#handlers.onItem(item);
    }
  }

  #finish(): void {
    this.#closed = true;
    this.#handlers.onClosed(this.#reason);
  }
}
