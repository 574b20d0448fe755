import type { Duplex } from 'node:stream';
import { FRAME_HEAD_BYTES } from './frames.ts';

const NO_BYTES = Buffer.alloc(0);
/** A connection that says little takes little: each arena is twice as large as the one before it, up to the maximum. */
const ARENA_BYTES_MIN = 1024;
const ARENA_BYTES_MAX = 65_536;

/** Frames on their way to one connection: those of one turn of the event loop are written together. */
export class Output {
  readonly #socket: Duplex;
  #arena: Buffer = NO_BYTES;
  #start = 0;
  #end = 0;
  #scheduled = false;
  /** Since {@link rest} was called last. */
  #used = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** Head of a frame whose `length` bytes of payload are added next. */
  head(type: number, flags: number, id: number, length: number): void {
    this.#reserve(FRAME_HEAD_BYTES + length);
    const arena = this.#arena;
    const at = this.#end;
    arena[at] = length >> 16;
    arena[at + 1] = length >> 8;
    arena[at + 2] = length;
    arena[at + 3] = type;
    arena[at + 4] = flags;
    arena[at + 5] = id >> 24;
    arena[at + 6] = id >> 16;
    arena[at + 7] = id >> 8;
    arena[at + 8] = id;
    this.#end = at + FRAME_HEAD_BYTES;
  }

  add(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#arena.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  uint16(value: number): void {
    this.#reserve(2);
    this.#end = this.#arena.writeUInt16BE(value, this.#end);
  }

  uint32(value: number): void {
    this.#reserve(4);
    this.#end = this.#arena.writeUInt32BE(value, this.#end);
  }

  /** Writes what there is at the end of this turn. */
  flushLater(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#onTurnEnd);
  }

  flush(): void {
    if (this.#start === this.#end) return;
    this.#used = true;
    const bytes = this.#arena.subarray(this.#start, this.#end);
    this.#start = this.#end;
    if (!this.#socket.destroyed && !this.#socket.writableEnded) this.#socket.write(bytes);
  }

  /** Called every now and then: gives the arena back when nothing was written since the last time. */
  rest(): void {
    if (!this.#used && this.#start === this.#end) {
      this.#arena = NO_BYTES;
      this.#start = 0;
      this.#end = 0;
    }
    this.#used = false;
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#arena.length) return;
    this.flush();
    // What is on its way still lies in the old one.
    const twice = Math.max(ARENA_BYTES_MIN, 2 * this.#arena.length);
    this.#arena = Buffer.allocUnsafeSlow(Math.max(Math.min(ARENA_BYTES_MAX, twice), bytes));
    this.#start = 0;
    this.#end = 0;
  }
}
