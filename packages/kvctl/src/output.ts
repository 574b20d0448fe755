import { tryUtf8 } from '@kvorum/base';
import type {
  DeleteResult,
  Entry,
  PutResult,
  RangeResult,
  TxnOpResult,
  TxnResult,
  WatchEvent,
} from '@kvorum/client';
import { drawTable } from './table.ts';

export const FORMATS = ['simple', 'json', 'table'] as const;
export type Format = (typeof FORMATS)[number];

/**
 * Text as it is; other bytes with \xNN for what is not printable, so that a terminal survives them.
 */
export function shown(bytes: Uint8Array): string {
  const text = tryUtf8(bytes);
  if (text !== undefined) return text;
  let out = '';
  for (const byte of bytes) {
    const printable = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
    out += printable ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return out;
}

/** `{ key: 'text' }` when the bytes are UTF-8, else `{ keyBase64: '…' }`. */
export function bytesField(name: string, bytes: Uint8Array): Readonly<Record<string, string>> {
  const text = tryUtf8(bytes);
  return text === undefined
    ? { [`${name}Base64`]: Buffer.from(bytes).toString('base64') }
    : { [name]: text };
}

export function jsonOfEntry(entry: Entry): Readonly<Record<string, unknown>> {
  return {
    ...bytesField('key', entry.key),
    ...bytesField('value', entry.value),
    createRevision: entry.createRevision,
    modRevision: entry.modRevision,
    version: entry.version,
    lease: entry.lease.toString(),
  };
}

export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`;

const simpleEntry = (entry: Entry): string => `${shown(entry.key)}\n${shown(entry.value)}\n`;

const ENTRY_HEAD = ['KEY', 'VALUE', 'CREATE', 'MOD', 'VERSION', 'LEASE'];
const entryRow = (entry: Entry): string[] => [
  shown(entry.key),
  shown(entry.value),
  String(entry.createRevision),
  String(entry.modRevision),
  String(entry.version),
  entry.lease.toString(16),
];

export interface GetView {
  readonly valueOnly: boolean;
  readonly countOnly: boolean;
}

export function printRange(format: Format, result: RangeResult, view: GetView): string {
  if (format === 'json') {
    const { count, more, shards } = result;
    return jsonLine({ count, more, shards, kvs: result.entries.map(jsonOfEntry) });
  }
  if (view.countOnly) return `${result.count}\n`;
  if (format === 'table') return drawTable(ENTRY_HEAD, result.entries.map(entryRow));
  const one = view.valueOnly ? (entry: Entry) => `${shown(entry.value)}\n` : simpleEntry;
  return result.entries.map(one).join('');
}

export function printPut(format: Format, result: PutResult): string {
  const { shard, revision, prevKv } = result;
  const previous = prevKv === undefined ? {} : { prevKv: jsonOfEntry(prevKv) };
  if (format === 'json') return jsonLine({ shard, revision, ...previous });
  if (format === 'table') return drawTable(['SHARD', 'REVISION'], [[shard, String(revision)]]);
  return `OK\n${prevKv === undefined ? '' : simpleEntry(prevKv)}`;
}

export function printDelete(format: Format, results: readonly DeleteResult[]): string {
  const deleted = results.reduce((sum, result) => sum + result.deleted, 0);
  const previous = results.flatMap((result) => result.prevKvs);
  if (format === 'json') {
    const shards = results.map(({ shard, revision }) => ({ shard, revision }));
    return jsonLine({ deleted, shards, prevKvs: previous.map(jsonOfEntry) });
  }
  if (format === 'table') {
    return drawTable(
      ['SHARD', 'REVISION', 'DELETED'],
      results.map((result) => [result.shard, String(result.revision), String(result.deleted)]),
    );
  }
  return `${deleted}\n${previous.map(simpleEntry).join('')}`;
}

function jsonOfOp(result: TxnOpResult): unknown {
  switch (result.op) {
    case 'put':
      return {
        op: 'put',
        ...(result.prevKv === undefined ? {} : { prevKv: jsonOfEntry(result.prevKv) }),
      };
    case 'range': {
      const { count, more } = result;
      return { op: 'get', count, more, kvs: result.entries.map(jsonOfEntry) };
    }
    case 'delete-range':
      return { op: 'del', deleted: result.deleted, prevKvs: result.prevKvs.map(jsonOfEntry) };
    case 'txn':
      return jsonOfTxn(result);
  }
}

function jsonOfTxn(result: TxnResult): Readonly<Record<string, unknown>> {
  const { succeeded, shard, revision } = result;
  return { op: 'txn', succeeded, shard, revision, responses: result.responses.map(jsonOfOp) };
}

function simpleOp(result: TxnOpResult): string {
  switch (result.op) {
    case 'put':
      return printPut('simple', result);
    case 'range':
      return result.entries.map(simpleEntry).join('');
    case 'delete-range':
      return printDelete('simple', [result]);
    case 'txn':
      return simpleTxn(result);
  }
}

function simpleTxn(result: TxnResult): string {
  const parts = result.responses.map((response) => `\n${simpleOp(response)}`);
  return `${result.succeeded ? 'SUCCESS' : 'FAILURE'}\n${parts.join('')}`;
}

/** A txn has no table form: `table` prints it as `simple`. */
export function printTxn(format: Format, result: TxnResult): string {
  return format === 'json' ? jsonLine(jsonOfTxn(result)) : simpleTxn(result);
}

/** One event: two or three lines as etcdctl prints them, or one JSON line. */
export function printEvent(format: Format, event: WatchEvent): string {
  const { type, shard, kv, prevKv } = event;
  if (format === 'json') {
    const previous = prevKv === undefined ? {} : { prevKv: jsonOfEntry(prevKv) };
    return jsonLine({ type, shard, revision: kv.modRevision, kv: jsonOfEntry(kv), ...previous });
  }
  const before = prevKv === undefined ? '' : simpleEntry(prevKv);
  return `${type.toUpperCase()}\n${before}${simpleEntry(kv)}`;
}
