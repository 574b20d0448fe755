import {
  type CompactResponse,
  copyBytes,
  type DeleteRangeResponse,
  type ErrorDetails,
  errorSpec,
  fromUtf8,
  isErrorCode,
  type KeyValue,
  KvError,
  type KvResponse,
  type LeaseId,
  type PutResponse,
  type RangeResponse,
  type Revision,
  type TxnOpResponse,
  type TxnResponse,
  utf8,
} from '@kvorum/base';
import { ByteReader, ByteWriter } from './binary.ts';
import type { CommandResult } from './command.ts';

// Tags of the stored form; a number is never given a new meaning, since rows outlive versions.
const TAG_ERROR = 0;
const TAG_PUT = 1;
const TAG_PUT_PREV = 2;
const TAG_DELETE = 3;
const TAG_TXN = 4;
const TAG_RANGE = 5;
const TAG_COMPACT = 6;

/** Above every depth that validation lets through; deeper bytes are damaged, and must not exhaust the stack. */
const DEPTH_MAX = 64;

/** The stored form of a result, which a retry of the command is answered from. */
export function encodeResult(result: CommandResult): Uint8Array {
  const out = new ByteWriter(64);
  if (result.ok) writeResponse(out, result.response);
  else writeError(out, result.error);
  return out.view();
}

/** Undefined when the bytes are not a stored result. Keys and values are copies. */
export function decodeResult(bytes: Uint8Array): CommandResult | undefined {
  const input = new ByteReader(copyBytes(bytes));
  const tag = input.u8();
  if (tag === TAG_ERROR) {
    const error = readError(input);
    return error === undefined || !input.finished() ? undefined : { ok: false, error };
  }
  const response = readResponse(input, tag);
  return response === undefined || !input.finished() ? undefined : { ok: true, response };
}

function writeResponse(out: ByteWriter, response: KvResponse): void {
  switch (response.op) {
    case 'put':
      out.u8(response.prevKv === undefined ? TAG_PUT : TAG_PUT_PREV);
      out.varint(response.revision);
      if (response.prevKv !== undefined) writeKeyValue(out, response.prevKv);
      return;
    case 'delete-range':
      out.u8(TAG_DELETE);
      out.varint(response.revision);
      out.varint(response.deleted);
      writeKeyValues(out, response.prevKvs);
      return;
    case 'txn':
      out.u8(TAG_TXN);
      out.varint(response.revision);
      out.u8(response.succeeded ? 1 : 0);
      out.varint(response.responses.length);
      for (const inner of response.responses) writeResponse(out, inner);
      return;
    case 'range':
      out.u8(TAG_RANGE);
      out.varint(response.revision);
      out.u8(response.more ? 1 : 0);
      out.varint(response.count);
      writeKeyValues(out, response.kvs);
      return;
    case 'compact':
      out.u8(TAG_COMPACT);
      out.varint(response.revision);
  }
}

function readResponse(input: ByteReader, tag: number): KvResponse | undefined {
  const revision = input.varint() as Revision;
  if (tag === TAG_COMPACT) {
    const compact: CompactResponse = { op: 'compact', revision };
    return compact;
  }
  return readOpResponse(input, tag, revision, 0);
}

function readOpResponse(
  input: ByteReader,
  tag: number,
  revision: Revision,
  depth: number,
): TxnOpResponse | undefined {
  switch (tag) {
    case TAG_PUT: {
      const put: PutResponse = { op: 'put', revision };
      return put;
    }
    case TAG_PUT_PREV:
      return { op: 'put', revision, prevKv: readKeyValue(input) };
    case TAG_DELETE: {
      const deleted: DeleteRangeResponse = {
        op: 'delete-range',
        revision,
        deleted: input.varint(),
        prevKvs: readKeyValues(input),
      };
      return deleted;
    }
    case TAG_RANGE: {
      const more = input.u8() === 1;
      const count = input.varint();
      const range: RangeResponse = {
        op: 'range',
        revision,
        more,
        count,
        kvs: readKeyValues(input),
      };
      return range;
    }
    case TAG_TXN:
      return readTxn(input, revision, depth);
    default:
      return undefined;
  }
}

function readTxn(input: ByteReader, revision: Revision, depth: number): TxnResponse | undefined {
  if (depth > DEPTH_MAX) return undefined;
  const succeeded = input.u8() === 1;
  const count = input.varint();
  const responses: TxnOpResponse[] = [];
  for (let i = 0; i < count && !input.failed; i += 1) {
    const tag = input.u8();
    const inner = readOpResponse(input, tag, input.varint() as Revision, depth + 1);
    if (inner === undefined) return undefined;
    responses.push(inner);
  }
  return { op: 'txn', revision, succeeded, responses };
}

function writeKeyValues(out: ByteWriter, kvs: readonly KeyValue[]): void {
  out.varint(kvs.length);
  for (const kv of kvs) writeKeyValue(out, kv);
}

function readKeyValues(input: ByteReader): KeyValue[] {
  const count = input.varint();
  const kvs: KeyValue[] = [];
  for (let i = 0; i < count && !input.failed; i += 1) kvs.push(readKeyValue(input));
  return kvs;
}

function writeKeyValue(out: ByteWriter, kv: KeyValue): void {
  out.blob(kv.key);
  out.blob(kv.value);
  out.varint(kv.createRevision);
  out.varint(kv.modRevision);
  out.varint(kv.version);
  out.i64(kv.lease);
}

function readKeyValue(input: ByteReader): KeyValue {
  return {
    key: input.blob(),
    value: input.blob(),
    createRevision: input.varint() as Revision,
    modRevision: input.varint() as Revision,
    version: input.varint(),
    lease: input.i64() as LeaseId,
  };
}

function writeError(out: ByteWriter, error: KvError): void {
  out.u8(TAG_ERROR);
  out.blob(utf8(error.code));
  out.blob(utf8(error.message));
  out.blob(utf8(JSON.stringify(error.details)));
}

function readError(input: ByteReader): KvError | undefined {
  const code = fromUtf8(input.blob());
  const message = fromUtf8(input.blob());
  const details = readDetails(input.blob());
  if (input.failed || !isErrorCode(code) || details === undefined) return undefined;
  const table = errorSpec(code).message;
  const detail = message.startsWith(`${table}: `) ? message.slice(table.length + 2) : undefined;
  return new KvError(code, detail, { details });
}

function readDetails(json: Uint8Array): ErrorDetails | undefined {
  try {
    const value: unknown = JSON.parse(fromUtf8(json));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined; // JSON.parse reports malformed input only by throwing
  }
}
