import { Packr, Unpackr } from 'msgpackr';

/** msgpack of plain data, for frames of clients and of members alike. */
export const plainPackr: Packr = new Packr({
  useRecords: false,
  moreTypes: false,
  variableMapSize: true,
});

const NO_RECORDS: [] = [];

const unpackr = new Unpackr({
  useRecords: false,
  // References: with them a few hundred bytes name one object 2^32 times, and whoever walks the value never ends.
  structuredClone: false,
  structures: NO_RECORDS,
});
// Nor may the sender define records: msgpackr compiles a function for each, 3 s for a frame of 1.5 MB.
Object.freeze(NO_RECORDS);

/**
 * The value of one msgpack document; undefined when it is none, or uses references or records. What else may be in it (dates,
 * errors, integers of any size) is the caller's to refuse, field by field.
 */
export function unpackPlain(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch {
    return undefined; // msgpackr reports malformed input only by throwing
  }
}
