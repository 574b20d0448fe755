import type { Driver } from './driver.ts';
import { GrpcConnection } from './grpc-connection.ts';

const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
/** Header and counts of an answer take less than this, so anything longer carries the value. */
const EMPTY_ANSWER_BYTES_MAX = 64;
/** Protobuf tags, wire type 2 (length-delimited): PutRequest and RangeRequest {1 key, 2 value}. */
const FIELD_1_BYTES = 0x0a;
const FIELD_2_BYTES = 0x12;
/** RangeRequest.serializable, wire type 0. */
const FIELD_7_VARINT = 0x38;

/** Drives etcd's KV service; operations go round robin over the connections. Reads are linearizable. */
export async function openEtcd(
  endpoints: readonly string[],
  connectionsPerMember: number,
): Promise<Driver> {
  const connections: GrpcConnection[] = [];
  for (let i = 0; i < connectionsPerMember; i += 1) {
    for (const endpoint of endpoints) connections.push(await GrpcConnection.open(endpoint));
  }
  let turn = 0;
  const next = (): GrpcConnection => {
    turn = (turn + 1) % connections.length;
    return connections[turn] as GrpcConnection;
  };
  return {
    put: (key, value) => next().call(PUT, putRequest(key, value)),
    get: (key) => next().call(RANGE, rangeRequest(key), EMPTY_ANSWER_BYTES_MAX),
    hop: (key) => next().call(RANGE, serializableRequest(key)),
    laneOf: async () => 'all',
    close: async () => {
      for (const connection of connections) connection.close();
    },
  };
}

function putRequest(key: Uint8Array, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + key.length + 1 + varintBytes(value.length) + value.length);
  out[0] = FIELD_1_BYTES;
  out[1] = key.length; // benchmark keys are below 128 bytes, one varint byte
  out.set(key, 2);
  let at = 2 + key.length;
  out[at] = FIELD_2_BYTES;
  at += 1;
  let rest = value.length;
  while (rest >= 0x80) {
    out[at] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    at += 1;
  }
  out[at] = rest;
  out.set(value, at + 1);
  return out;
}

function rangeRequest(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + key.length);
  out[0] = FIELD_1_BYTES;
  out[1] = key.length;
  out.set(key, 2);
  return out;
}

function serializableRequest(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + key.length);
  out.set(rangeRequest(key));
  out[2 + key.length] = FIELD_7_VARINT;
  out[3 + key.length] = 1;
  return out;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest >>>= 7) bytes += 1;
  return bytes;
}
