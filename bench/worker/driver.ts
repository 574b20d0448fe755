import type { GrpcConnection } from './grpc-connection.ts';

/** What a `get` resolves to when there is no such key: what the SDK says, so that nothing is wrapped around its promise. */
export const NOT_FOUND = undefined;

/** What a load needs of a system under test. Every call rejects when the system did not answer it. */
export interface Driver {
  /** Of a driver of gRPC: for loads that keep streams open. */
  readonly connections?: readonly GrpcConnection[];
  /** Resolves to anything but {@link NOT_FOUND}. */
  put(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  /** A linearizable read of one key; {@link NOT_FOUND} or anything else. */
  get(key: Uint8Array): Promise<unknown>;
  /** A transaction on one key: it is put where it is there already, and nothing is done where it is not. */
  txn?(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  /** Does each operation once on a key that is there and looks at the whole answer. Rejects when one is not what it must be. */
  check?(key: Uint8Array, value: Uint8Array): Promise<void>;
  /** The least a round trip to the member that serves this key can be: it answers alone, from its own state. */
  hop(key: Uint8Array): Promise<unknown>;
  /** The independent stream (a shard) this key's writes go through. */
  laneOf(key: Uint8Array): Promise<string>;
  close(): Promise<void>;
}

/** Which system a load process drives, and how. */
export type DriverSpec =
  | {
      /** Whatever serves etcd's API over gRPC. */
      readonly system: 'grpc';
      /** host:port of the members to send to; operations go round robin over all connections. */
      readonly endpoints: readonly string[];
      readonly connectionsPerMember: number;
    }
  | { readonly system: 'kafka'; readonly brokers: readonly string[]; readonly topic: string }
  | { readonly system: 'kvorum'; readonly endpoints: readonly string[] };
