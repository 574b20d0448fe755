import { PeerFrameDecoder, type PeerItem, packFrame, parseClientFrame } from '@kvorum/wire';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

/** A requests frame with one read, its limit replaced by other msgpack. */
function withLimit(limit: Uint8Array): Uint8Array {
  const range = { op: 'range', key: new Uint8Array([1]), limit: 7 };
  const frame = packFrame([2, '0', 1, 1000, 0, [[1, 3, 0, false, range]]]);
  const at = frame.lastIndexOf(7);
  return Uint8Array.from([...frame.subarray(0, at), ...limit, ...frame.subarray(at + 1)]);
}

/** One transaction inside the other `depth` times, each named twice by the one around it. */
function sharedTxns(depth: number): unknown {
  let txn: unknown = { op: 'txn', compare: [], success: [], failure: [] };
  for (let i = 0; i < depth; i += 1)
    txn = { op: 'txn', compare: [], success: [txn, txn], failure: [] };
  return txn;
}

const cloning = new Packr({
  useRecords: false,
  structuredClone: true,
  moreTypes: false,
  variableMapSize: true,
});

/** `[5, 1]` as one record of a name of its own: define, then use. */
const RECORD = Uint8Array.of(0x92, 5, 0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1);

function peerFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
}

const peerItems = (body: Uint8Array): ReturnType<PeerFrameDecoder['push']> =>
  new PeerFrameDecoder({ frameBytesMax: 1 << 20 }).push(peerFrame(body));

const NO_FRAME = { ok: false, error: { code: 'KV_MALFORMED' } };
const NO_ITEMS = { ok: false, error: 'not a msgpack array of items' };

describe('frames of a hostile sender', () => {
  it('an integer beyond every number is malformed, not a crash', () => {
    const huge = Uint8Array.of(0xc7, 129, 0x42, 0x7f, ...new Uint8Array(128).fill(0xff));
    const parsed = parseClientFrame(withLimit(huge));
    expect(parsed).toMatchObject({ ok: false, error: { code: 'KV_MALFORMED' } });
    expect(parsed.ok || parsed.error.message).toMatch(/request.limit must be an integer/);
  });

  it('an integer as a bigint is taken while it is safe', () => {
    const safe = Uint8Array.of(0xcf, 0, 0, 0, 1, 0, 0, 0, 0);
    expect(parseClientFrame(withLimit(safe))).toMatchObject({
      ok: true,
      value: { items: [[1, 3, 0, false, { limit: 2 ** 32 }]] },
    });
  });

  it('a request that names its parts by reference is refused unread', () => {
    const frame = cloning.pack([2, '0', 1, 1000, 0, [[1, 3, 0, false, sharedTxns(31)]]]);
    expect(frame.length).toBeLessThan(2000);
    expect(parseClientFrame(frame)).toMatchObject(NO_FRAME);
    expect(peerItems(cloning.pack([[3, 1, { request: sharedTxns(31) }]]))).toEqual(NO_ITEMS);
  });

  it('a value that contains itself is refused', () => {
    const cycle: unknown[] = [5, 1, 'status'];
    cycle.push({ cycle });
    expect(parseClientFrame(cloning.pack(cycle))).toMatchObject(NO_FRAME);
  });

  it('records, which msgpackr would compile, are refused and leave nothing behind', () => {
    expect(parseClientFrame(RECORD)).toMatchObject(NO_FRAME);
    expect(peerItems(RECORD)).toEqual(NO_ITEMS);
    const item: PeerItem = { kind: 'request', id: 0x40, payload: 0x7f };
    expect(peerItems(cloning.pack([[3, item.id, item.payload]]))).toEqual({
      ok: true,
      value: [item],
    });
  });
});
