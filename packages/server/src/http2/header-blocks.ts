import { ConnectionError, ERROR, FLAG, type Frame, unpadded } from './frames.ts';
import { HeaderDecoder, type HeaderList } from './header-decoder.ts';

/** A block in pieces; of one piece it is as long as a frame. */
const BLOCK_BYTES_MAX = 65_536;
const CONTINUATIONS_MAX = 16;
const PRIORITY_BYTES = 5;

export interface HeaderBlock {
  readonly id: number;
  readonly endStream: boolean;
  /** Undefined: they are longer than the maximum. */
  readonly headers: HeaderList | undefined;
  /** What they take; nothing when they are too long. */
  readonly bytes: number;
}

interface Open {
  readonly id: number;
  readonly endStream: boolean;
  readonly pieces: Buffer[];
  bytes: number;
  readonly sinceMs: number;
}

/** Puts the header blocks of a connection together and decodes them. */
export class HeaderBlocks {
  readonly #decoder: HeaderDecoder;
  #open: Open | undefined;

  constructor(listBytesMax: number) {
    this.#decoder = new HeaderDecoder(listBytesMax);
  }

  /** Since when a block waits for its rest; undefined = none does. */
  get openSinceMs(): number | undefined {
    return this.#open?.sinceMs;
  }

  /** Takes HEADERS; the block when it is complete. Errors: ConnectionError, CompressionError. */
  begin(frame: Frame, nowMs: number): HeaderBlock | undefined {
    const { id, flags } = frame;
    if (id % 2 === 0) throw new ConnectionError(ERROR.protocol, `headers on stream ${id}`);
    const piece = unpadded(frame, (flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
    const endStream = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) !== 0) {
      return this.#decode({ id, endStream }, piece);
    }
    const pieces = [Buffer.from(piece)];
    this.#open = { id, endStream, pieces, bytes: piece.length, sinceMs: nowMs };
    return undefined;
  }

  /** Takes CONTINUATION; the block when it is complete. Errors: ConnectionError, CompressionError. */
  resume({ id, flags, payload }: Frame): HeaderBlock | undefined {
    const open = this.#open;
    if (open?.id !== id) throw new ConnectionError(ERROR.protocol, 'nothing to continue');
    open.pieces.push(Buffer.from(payload));
    open.bytes += payload.length;
    if (open.bytes > BLOCK_BYTES_MAX || open.pieces.length > CONTINUATIONS_MAX) {
      throw new ConnectionError(ERROR.enhanceYourCalm, 'headers without an end');
    }
    if ((flags & FLAG.endHeaders) === 0) return undefined;
    this.#open = undefined;
    return this.#decode({ id, endStream: open.endStream }, Buffer.concat(open.pieces));
  }

  #decode(of: Pick<HeaderBlock, 'id' | 'endStream'>, block: Buffer): HeaderBlock {
    const headers = this.#decoder.decode(block);
    return { ...of, headers, bytes: headers === undefined ? 0 : this.#decoder.listBytes };
  }
}
