import { fromHex, type LogOffset, logOffset, type MemberId, memberId, toHex } from '@kvorum/base';

const FORMAT = 2;
const ID_BYTES = 16;
const DIGEST_BYTES = 32;
const BYTES = 1 + 8 + ID_BYTES + 8 + 4 + 8 + 1 + DIGEST_BYTES;

/** How far an install has come: the note of its side store, saved with the bytes it stands for. */
export interface InstallProgress {
  readonly source: MemberId;
  /** Of the source's snapshot, 32 hex digits. */
  readonly id: string;
  /** The snapshot's position. */
  readonly offset: LogOffset;
  /** Next chunk to ask for. */
  readonly seq: number;
  readonly bytes: number;
  /** The last chunk is there too. */
  readonly done: boolean;
  readonly whole: Uint8Array;
}

/** format u8 · source u64 · id 16 · offset u64 · seq u32 · bytes u64 · done u8 · whole 32, big-endian. */
export function encodeProgress(progress: InstallProgress): Uint8Array {
  const out = new Uint8Array(BYTES);
  const view = new DataView(out.buffer);
  view.setUint8(0, FORMAT);
  view.setBigUint64(1, progress.source);
  out.set(fromHex(progress.id) ?? new Uint8Array(ID_BYTES), 9);
  view.setBigUint64(25, BigInt(progress.offset));
  view.setUint32(33, progress.seq);
  view.setBigUint64(37, BigInt(progress.bytes));
  view.setUint8(45, progress.done ? 1 : 0);
  out.set(progress.whole, 46);
  return out;
}

/** Undefined for one that another version wrote: the install then begins anew. */
export function decodeProgress(bytes: Uint8Array): InstallProgress | undefined {
  if (bytes.length !== BYTES || bytes[0] !== FORMAT) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const source = view.getBigUint64(1);
  if (source === 0n) return undefined;
  return {
    source: memberId(source),
    id: toHex(bytes.subarray(9, 25)),
    offset: logOffset(Number(view.getBigUint64(25))),
    seq: view.getUint32(33),
    bytes: Number(view.getBigUint64(37)),
    done: view.getUint8(45) === 1,
    whole: bytes.slice(46),
  };
}
