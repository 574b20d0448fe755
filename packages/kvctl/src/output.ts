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

export const FORMATS = ['simple', 'fields', 'json', 'table'] as const;
export type Format = (typeof FORMATS)[number];

/** How the user wants to see it. */
export interface Look {
  readonly format: Format;
  /** Every byte of keys and values as \\xNN, in `simple`. */
  readonly hex: boolean;
}

/**
 * Text as it is; other bytes with \xNN for what is not printable, so that a terminal survives them.
 */
export function shown(bytes: Uint8Array, hex = false): string {
  if (hex) return Buffer.from(bytes).toString('hex').replace(/../g, '\\x$&');
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

const simpleEntry = (entry: Entry, { hex }: Look): string =>
  `${shown(entry.key, hex)}\n${shown(entry.value, hex)}\n`;

/** `"Name" : value`, a line each, as etcdctl has them. */
export const fieldLines = (fields: Readonly<Record<string, string | number | boolean>>): string =>
  Object.entries(fields)
    .map(([name, value]) => `"${name}" : ${value}\n`)
    .join('');

const quoted = (bytes: Uint8Array): string => JSON.stringify(shown(bytes));

function entryFields(entry: Entry, { hex }: Look, prefix = ''): string {
  return fieldLines({
    [`${prefix}Key`]: quoted(entry.key),
    [`${prefix}CreateRevision`]: entry.createRevision,
    [`${prefix}ModRevision`]: entry.modRevision,
    [`${prefix}Version`]: entry.version,
    [`${prefix}Value`]: quoted(entry.value),
    [`${prefix}Lease`]: hex ? leaseHex(entry.lease) : entry.lease.toString(),
  });
}

/** Which shard answered, and its revision: what etcd's header is here. */
const headFields = ({ shard, revision }: { shard: string; revision: number }): string =>
  fieldLines({ Shard: JSON.stringify(shard), Revision: revision });

/** 16 digits, as etcdctl writes the id of a lease. */
export const leaseHex = (id: bigint): string =>
  BigInt.asUintN(64, id).toString(16).padStart(16, '0');

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

export function printRange(look: Look, result: RangeResult, view: GetView): string {
  const { count, more, shards, entries } = result;
  switch (look.format) {
    case 'json':
      return jsonLine({ count, more, shards, kvs: entries.map(jsonOfEntry) });
    case 'fields':
      return [
        ...shards.map(headFields),
        ...entries.map((entry) => entryFields(entry, look)),
        fieldLines({ More: more, Count: count }),
      ].join('');
    case 'table':
      return view.countOnly ? `${count}\n` : drawTable(ENTRY_HEAD, entries.map(entryRow));
    case 'simple': {
      if (view.countOnly) return `${count}\n`;
      const { hex } = look;
      const one = (entry: Entry): string =>
        view.valueOnly ? `${shown(entry.value, hex)}\n` : simpleEntry(entry, look);
      return entries.map(one).join('');
    }
  }
}

export function printPut(look: Look, result: PutResult): string {
  const { shard, revision, prevKv } = result;
  switch (look.format) {
    case 'json': {
      const previous = prevKv === undefined ? {} : { prevKv: jsonOfEntry(prevKv) };
      return jsonLine({ shard, revision, ...previous });
    }
    case 'fields':
      return headFields(result) + (prevKv === undefined ? '' : entryFields(prevKv, look, 'Prev'));
    case 'table':
      return drawTable(['SHARD', 'REVISION'], [[shard, String(revision)]]);
    case 'simple':
      return `OK\n${prevKv === undefined ? '' : simpleEntry(prevKv, look)}`;
  }
}

export function printDelete(look: Look, results: readonly DeleteResult[]): string {
  const deleted = results.reduce((sum, result) => sum + result.deleted, 0);
  const previous = results.flatMap((result) => result.prevKvs);
  switch (look.format) {
    case 'json': {
      const shards = results.map(({ shard, revision }) => ({ shard, revision }));
      return jsonLine({ deleted, shards, prevKvs: previous.map(jsonOfEntry) });
    }
    case 'fields':
      return [
        ...results.map(headFields),
        fieldLines({ Deleted: deleted }),
        ...previous.map((entry) => entryFields(entry, look, 'Prev')),
      ].join('');
    case 'table':
      return drawTable(
        ['SHARD', 'REVISION', 'DELETED'],
        results.map((result) => [result.shard, String(result.revision), String(result.deleted)]),
      );
    case 'simple':
      return `${deleted}\n${previous.map((entry) => simpleEntry(entry, look)).join('')}`;
  }
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

const ALL_OF_IT: GetView = { valueOnly: false, countOnly: false };

function plainOp(result: TxnOpResult, look: Look): string {
  switch (result.op) {
    case 'put':
      return printPut(look, result);
    case 'range':
      return printRange(look, { ...result, shards: [result] }, ALL_OF_IT);
    case 'delete-range':
      return printDelete(look, [result]);
    case 'txn':
      return plainTxn(result, look);
  }
}

function plainTxn(result: TxnResult, look: Look): string {
  const parts = result.responses.map((response) => plainOp(response, look));
  if (look.format === 'fields') {
    return headFields(result) + fieldLines({ Succeeded: result.succeeded }) + parts.join('');
  }
  return `${result.succeeded ? 'SUCCESS' : 'FAILURE'}\n${parts.map((part) => `\n${part}`).join('')}`;
}

/** A txn has no table form: `table` prints it as `simple`. */
export function printTxn(look: Look, result: TxnResult): string {
  if (look.format === 'json') return jsonLine(jsonOfTxn(result));
  return plainTxn(result, look.format === 'table' ? { ...look, format: 'simple' } : look);
}

/** One event: two or three lines as etcdctl prints them, or one JSON line. */
export function printEvent(look: Look, event: WatchEvent): string {
  const { type, shard, kv, prevKv } = event;
  if (look.format === 'json') {
    const previous = prevKv === undefined ? {} : { prevKv: jsonOfEntry(prevKv) };
    return jsonLine({ type, shard, revision: kv.modRevision, kv: jsonOfEntry(kv), ...previous });
  }
  if (look.format === 'fields') {
    return [
      headFields({ shard, revision: kv.modRevision }),
      fieldLines({ Type: type.toUpperCase() }),
      prevKv === undefined ? '' : entryFields(prevKv, look, 'Prev'),
      entryFields(kv, look),
    ].join('');
  }
  const before = prevKv === undefined ? '' : simpleEntry(prevKv, look);
  return `${type.toUpperCase()}\n${before}${simpleEntry(kv, look)}`;
}

/** Everything up to these revisions was delivered: one number, or shard=revision,…; '' before the watch stands. */
export function progressText(resumeAt: Readonly<Record<string, number>>): string {
  const places = Object.entries(resumeAt).map(([place, next]) => ({
    shard: place.split(':', 1)[0] ?? place,
    revision: next - 1,
  }));
  const [first, ...others] = places;
  if (first === undefined || others.length === 0)
    return first === undefined ? '' : `${first.revision}`;
  return places.map(({ shard, revision }) => `${shard}=${revision}`).join(',');
}

/** How far a watch is, as etcdctl prints it. */
export function printProgress(look: Look, resumeAt: Readonly<Record<string, number>>): string {
  if (look.format === 'json') return jsonLine({ type: 'progress', resumeAt });
  return `progress notify: ${progressText(resumeAt)}\n`;
}
