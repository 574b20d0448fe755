/** What a load needs of a system under test. Every call rejects when the system did not answer it. */
export interface Driver {
  put(key: Uint8Array, value: Uint8Array): Promise<void>;
  /** A linearizable read of one key; whether it was found. */
  get(key: Uint8Array): Promise<boolean>;
  /** The independent stream (a shard) this key's writes go through. */
  laneOf(key: Uint8Array): Promise<string>;
  close(): Promise<void>;
}

/** Which system a load process drives, and how. */
export type DriverSpec =
  | {
      readonly system: 'etcd';
      /** host:port of the members to send to; operations go round robin over all connections. */
      readonly endpoints: readonly string[];
      readonly connectionsPerMember: number;
    }
  | { readonly system: 'kafka'; readonly brokers: readonly string[]; readonly topic: string }
  | { readonly system: 'kvorum'; readonly endpoints: readonly string[] };
