import { fromHex, type LogOffset, logOffset, type MemberId, memberId, toHex } from '@kvorum/base';

const FORMAT = 1;
const ID_BYTES = 16;
const DIGEST_BYTES = 32;
const BYTES = 1 + 8 + ID_BYTES + 8 + 4 + 8 + 8 + 1 + DIGEST_BYTES;

/** How far an install has come: a row of the side store, written in one batch with the rows it stands for. */
export interface InstallProgress {
  readonly source: MemberId;
  /** Of the source's snapshot, 32 hex digits. */
  readonly id: string;
  /** The snapshot's position. */
  readonly offset: LogOffset;
  /** Next chunk to ask for. */
  readonly seq: number;
  readonly bytes: number;
  readonly rows: number;
  /** The last chunk is there too, and the whole was checked. */
  readonly done: boolean;
  readonly whole: Uint8Array;
}

/** format u8 · source u64 · id 16 · offset u64 · seq u32 · bytes u64 · rows u64 · done u8 · whole 32, big-endian. */
export function encodeProgress(progress: InstallProgress): Uint8Array {
  const out = new Uint8Array(BYTES);
  const view = new DataView(out.buffer);
  view.setUint8(0, FORMAT);
  view.setBigUint64(1, progress.source);
  out.set(fromHex(progress.id) ?? new Uint8Array(ID_BYTES), 9);
  view.setBigUint64(25, BigInt(progress.offset));
  view.setUint32(33, progress.seq);
  view.setBigUint64(37, BigInt(progress.bytes));
  view.setBigUint64(45, BigInt(progress.rows));
  view.setUint8(53, progress.done ? 1 : 0);
  out.set(progress.whole, 54);
  return out;
}

/** Undefined for none, and for one that another version wrote: the install then begins anew. */
export function decodeProgress(bytes: Uint8Array | undefined): InstallProgress | undefined {
  if (bytes?.length !== BYTES || bytes[0] !== FORMAT) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const source = view.getBigUint64(1);
  if (source === 0n) return undefined;
  return {
    source: memberId(source),
    id: toHex(bytes.subarray(9, 25)),
    offset: logOffset(Number(view.getBigUint64(25))),
    seq: view.getUint32(33),
    bytes: Number(view.getBigUint64(37)),
    rows: Number(view.getBigUint64(45)),
    done: view.getUint8(53) === 1,
    whole: bytes.slice(54),
  };
}
