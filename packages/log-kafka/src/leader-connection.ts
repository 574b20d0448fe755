import { KvError } from '@kvorum/base';
import { BrokerConnection, type ConnectionOptions } from './broker-connection.ts';
import type { ClusterView, PartitionLeader } from './cluster-view.ts';
import { reasonOf } from './kafka-errors.ts';

/**
 * One connection, used by one topic alone, to whichever broker leads it: a slow topic must not hold up another's records.
 */
export class LeaderConnection {
  readonly #topic: string;
  readonly #view: ClusterView;
  readonly #options: ConnectionOptions;
  #current: { readonly leader: PartitionLeader; readonly connection: BrokerConnection } | undefined;

  constructor(topic: string, view: ClusterView, options: ConnectionOptions) {
    this.#topic = topic;
    this.#view = view;
    this.#options = options;
  }

  /**
   * A connection to the leader, waiting for one to be elected until about `deadlineMs` (performance.now's time).
   * Throws KV_LOG_UNAVAILABLE.
   */
  async get(deadlineMs: number): Promise<BrokerConnection> {
    for (;;) {
      const leader = this.#view.leaderOf(this.#topic);
      const { connection, leader: connected } = this.#current ?? {};
      if (connection?.isOpen === true && leader !== undefined && isSame(connected, leader)) {
        return connection;
      }
      try {
        if (leader !== undefined) return await this.#connect(leader);
        await this.#view.refresh();
      } catch (cause) {
        this.#view.suspect(this.#topic);
        if (performance.now() >= deadlineMs) throw this.#unavailable(reasonOf(cause), cause);
        continue;
      }
      const isFound = this.#view.leaderOf(this.#topic) !== undefined;
      if (!isFound && performance.now() >= deadlineMs) throw this.#unavailable('no leader');
    }
  }

  /** After a failure: the next `get` looks for the leader again. */
  drop(): void {
    this.#current?.connection.destroy();
    this.#current = undefined;
    this.#view.suspect(this.#topic);
  }

  close(): void {
    this.#current?.connection.destroy();
    this.#current = undefined;
  }

  async #connect(leader: PartitionLeader): Promise<BrokerConnection> {
    this.close();
    const connection = await BrokerConnection.open(leader, this.#options);
    this.#current = { leader, connection };
    return connection;
  }

  #unavailable(reason: string, cause?: unknown): KvError {
    return new KvError('KV_LOG_UNAVAILABLE', `${this.#topic}: ${reason}`, { cause });
  }
}

function isSame(a: PartitionLeader | undefined, b: PartitionLeader): boolean {
  return a?.id === b.id && a.host === b.host && a.port === b.port;
}
