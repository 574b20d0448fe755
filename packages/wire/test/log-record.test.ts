import { readFileSync, writeFileSync } from 'node:fs';
import { InvariantError, leaderId, term, toHex, utf8 } from '@kvorum/base';
import {
  decodeLogRecord,
  encodeLogRecord,
  LOG_RECORD_HEADER_BYTES,
  type LogRecord,
} from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const GOLDEN = new URL('./golden/record-v1.hex', import.meta.url);

const bytesFrom = (first: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (first + i) & 0xff);

const BATCH: LogRecord = {
  shardUid: bytesFrom(0x10, 16),
  generation: 2,
  term: term(7),
  leaderId: leaderId('0123456789abcdef00112233445566ff'),
  seq: 2 ** 40 + 3,
  prevHash: bytesFrom(0x80, 32),
  kind: 'batch',
  leaderTimeMs: 1_700_000_000_123,
  payload: utf8('payload'),
};
const BARRIER: LogRecord = {
  ...BATCH,
  kind: 'barrier',
  seq: 0,
  prevHash: new Uint8Array(32),
  payload: new Uint8Array(0),
};

/** Says that its payload is so long. */
function withLength(bytes: Uint8Array, length: number): Uint8Array {
  const out = Uint8Array.from(bytes);
  new DataView(out.buffer).setUint32(104, length);
  return out;
}

describe('log record', () => {
  it('keeps its bytes: records in existing topics must stay readable', () => {
    const text = `${[BATCH, BARRIER].map((record) => toHex(encodeLogRecord(record))).join('\n')}\n`;
    if (process.env['KV_REWRITE'] === '1') writeFileSync(GOLDEN, text);
    expect(text).toBe(readFileSync(GOLDEN, 'utf8'));
  });

  it('reads back any record', () => {
    const counter = fc.maxSafeNat();
    const record = fc.record({
      shardUid: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      generation: counter,
      term: counter.map(term),
      leaderId: fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((bytes) => leaderId(toHex(bytes))),
      seq: counter,
      prevHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      kind: fc.constantFrom('batch' as const, 'config' as const, 'genesis' as const),
      leaderTimeMs: counter,
      payload: fc.uint8Array(),
    });
    fc.assert(
      fc.property(record, (value) => {
        expect(decodeLogRecord(encodeLogRecord(value))).toEqual({ ok: true, value });
      }),
    );
  });

  it('returns the payload as a view, without a copy', () => {
    const bytes = encodeLogRecord(BATCH);
    const decoded = decodeLogRecord(bytes);
    expect(decoded.ok && decoded.value.payload.buffer).toBe(bytes.buffer);
    expect(decoded.ok && decoded.value.payload.byteOffset).toBe(LOG_RECORD_HEADER_BYTES);
  });

  it('reads a record that lies inside a larger buffer', () => {
    const bytes = encodeLogRecord(BATCH);
    const larger = new Uint8Array(bytes.length + 10);
    larger.set(bytes, 5);
    expect(decodeLogRecord(larger.subarray(5, 5 + bytes.length))).toEqual({
      ok: true,
      value: BATCH,
    });
  });

  it('tells a newer version from damage', () => {
    const newer = encodeLogRecord(BATCH);
    newer[4] = 2;
    expect(decodeLogRecord(newer)).toEqual({ ok: false, error: 'unknown-version' });
    expect(decodeLogRecord(newer.subarray(0, 20))).toEqual({ ok: false, error: 'unknown-version' });
  });

  it.each([
    ['empty', (): Uint8Array => new Uint8Array(0)],
    ['foreign bytes', (): Uint8Array => new Uint8Array(300)],
    ['cut in the header', (bytes: Uint8Array): Uint8Array => bytes.subarray(0, 50)],
    ['cut in the payload', (bytes: Uint8Array): Uint8Array => bytes.subarray(0, -1)],
    ['bytes after the payload', (bytes: Uint8Array): Uint8Array => Uint8Array.of(...bytes, 0)],
    ['a length of 0', (bytes: Uint8Array): Uint8Array => withLength(bytes, 0)],
    ['a length of 4 GiB', (bytes: Uint8Array): Uint8Array => withLength(bytes, 2 ** 32 - 1)],
    ['unknown kind', (bytes: Uint8Array): Uint8Array => bytes.with(5, 9)],
    ['kind 0', (bytes: Uint8Array): Uint8Array => bytes.with(5, 0)],
    ['reserved byte set', (bytes: Uint8Array): Uint8Array => bytes.with(6, 1)],
    ['term beyond 2^53', (bytes: Uint8Array): Uint8Array => bytes.with(32, 1)],
    ['seq beyond 2^53', (bytes: Uint8Array): Uint8Array => bytes.with(56, 255)],
    ['barrier with a prevHash', (bytes: Uint8Array): Uint8Array => bytes.with(5, 1)],
  ])('refuses %s (CVE-2020-15106, CVE-2020-15112)', (_, damage) => {
    expect(decodeLogRecord(damage(encodeLogRecord(BATCH)))).toEqual({
      ok: false,
      error: 'malformed',
    });
  });

  it('never throws on any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(150),
        fc.nat(255),
        (noise, at, byte) => {
          decodeLogRecord(noise);
          decodeLogRecord(encodeLogRecord(BATCH).with(Math.min(at, 114), byte));
        },
      ),
    );
  });

  it.each([
    ['shardUid', { shardUid: new Uint8Array(15) }],
    ['prevHash', { prevHash: new Uint8Array(31) }],
    ['generation', { generation: -1 }],
    ['seq', { seq: 2 ** 53 }],
    ['leaderTimeMs', { leaderTimeMs: 1.5 }],
    ['barrier', { kind: 'barrier' as const }],
  ])('asserts %s when encoding', (_, wrong) => {
    expect(() => encodeLogRecord({ ...BATCH, ...wrong })).toThrow(InvariantError);
  });
});
