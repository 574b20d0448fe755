/** Longest encoding of a number, bigint or the head of a text, an array or an object. */
const HEAD_BYTES = 9;

/**
 * An upper bound of the bytes that plain data takes as msgpack. Queues are bounded by it without encoding anything; it
 * costs a small part of the encoding itself.
 */
export function payloadBytesMax(payload: unknown): number {
  switch (typeof payload) {
    case 'string':
      return HEAD_BYTES + 3 * payload.length;
    case 'object':
      return payload === null ? HEAD_BYTES : objectBytesMax(payload);
    default:
      return HEAD_BYTES;
  }
}

function objectBytesMax(payload: object): number {
  if (payload instanceof Uint8Array) return HEAD_BYTES + payload.length;
  let bytes = HEAD_BYTES;
  if (Array.isArray(payload)) {
    for (const item of payload as readonly unknown[]) bytes += payloadBytesMax(item);
    return bytes;
  }
  for (const [name, value] of Object.entries(payload)) {
    bytes += HEAD_BYTES + 3 * name.length + payloadBytesMax(value);
  }
  return bytes;
}
