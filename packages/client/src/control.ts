import { KvError } from '@kvorum/base';
import {
  type AuthAnswer,
  type ControlMethod,
  type HealthStatus,
  type LogPage,
  type LogParams,
  type MemberChanged,
  type MemberChangeParams,
  type MemberInfo,
  type MemberStatus,
  type MoveInfo,
  type MoveReplicaParams,
  parseHealth,
  parseLogPage,
  parseMemberChanged,
  parseMemberStatus,
  parseMembers,
  parseMoves,
  parseRecoveryView,
  parseShardHash,
  parseShards,
  parseSlotsView,
  type RecoverParams,
  type RecoveryView,
  type ReshardParams,
  type ShardHash,
  type ShardInfo,
  type SlotsParams,
  type SlotsView,
} from '@kvorum/wire';
import { type Connection, NotServingError } from './connection.ts';
import type { Dispatcher } from './dispatcher.ts';
import { type CallOptions, normalEndpoint } from './options.ts';
import { aborted, ask, type Parse, type Question } from './question.ts';

/** One endpoint's own account, or why there is none. */
export type EndpointStatus =
  | {
      readonly endpoint: string;
      readonly state: 'up';
      readonly status: MemberStatus;
      readonly error?: undefined;
    }
  | {
      readonly endpoint: string;
      /** `starting` and `stopping`: the process answers, and `error` says what it waits for. */
      readonly state: 'starting' | 'stopping' | 'down';
      readonly status?: undefined;
      readonly error: KvError;
    };

/** How a member is that cannot be asked for its status. */
export function stateOf(error: unknown): 'starting' | 'stopping' | 'down' {
  return error instanceof NotServingError ? error.state : 'down';
}

/** A leadership that was handed over. */
export interface Transferred {
  /** The new leader keeps it for so long against the even spread of leaders, unless it restarts. */
  readonly holdMs: number;
}

interface Waiter {
  readonly wanted: () => boolean;
  readonly resolve: () => void;
}

/**
 * Calls about the cluster instead of its data: rare, addressed to one member, each with its own
 * timer.
 */
export class Control {
  readonly #dispatcher: Dispatcher;
  readonly #waiters = new Set<Waiter>();

  constructor(dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher;
  }

  /** A connection opened or closed, a map or a leader changed. */
  onTopology(): void {
    for (const waiter of this.#waiters) if (waiter.wanted()) waiter.resolve();
  }

  /**
   * Resolves once any member is welcomed. Errors: KV_UNAVAILABLE with every endpoint's failure,
   * KV_CANCELLED; why a member does not let this client in, at once.
   */
  async connected(options: CallOptions): Promise<Connection> {
    const { pool, now } = this.#dispatcher;
    await this.#until(
      () => pool.anyOpen() !== undefined || pool.refusalSince(now) !== undefined,
      options,
      () => pool.failures(),
    );
    const connection = pool.anyOpen();
    if (connection === undefined) throw pool.failures();
    return connection;
  }

  members(options: CallOptions): Promise<readonly MemberInfo[]> {
    return this.#askAny('members', parseMembers, options);
  }

  shards(options: CallOptions): Promise<readonly ShardInfo[]> {
    return this.#askAny('shards', parseShards, options);
  }

  moves(options: CallOptions): Promise<readonly MoveInfo[]> {
    return this.#askAny('moves', parseMoves, options);
  }

  async slots(params: SlotsParams, options: CallOptions): Promise<SlotsView> {
    const connection = await this.connected(options);
    return this.#ask(connection, { method: 'slots', params, parse: parseSlotsView }, options);
  }

  async reshard(params: ReshardParams, options: CallOptions): Promise<readonly MoveInfo[]> {
    const connection = await this.connected(options);
    return this.#ask(
      connection,
      { method: 'reshard', params, parse: parseMoves, isWrite: true },
      options,
    );
  }

  async transfer(shard: string, member: string, options: CallOptions): Promise<Transferred> {
    const connection = await this.connected(options);
    return this.#ask(
      connection,
      { method: 'transfer', params: { shard, member }, parse: parseTransferred, isWrite: true },
      options,
    );
  }

  async changeMember(params: MemberChangeParams, options: CallOptions): Promise<MemberChanged> {
    const connection = await this.connected(options);
    const question = {
      method: 'changeMember',
      params,
      parse: parseMemberChanged,
      isWrite: true,
    } as const;
    return this.#ask(connection, question, options);
  }

  async moveReplica(params: MoveReplicaParams, options: CallOptions): Promise<void> {
    const connection = await this.connected(options);
    const parse: Parse<undefined> = () => ({ ok: true, value: undefined });
    await this.#ask(connection, { method: 'moveReplica', params, parse, isWrite: true }, options);
  }

  async recover(params: RecoverParams, options: CallOptions): Promise<RecoveryView> {
    const connection = await this.connected(options);
    return this.#ask(
      connection,
      { method: 'recover', params, parse: parseRecoveryView, isWrite: params.apply === true },
      options,
    );
  }

  /** A question or a change about users and roles, to any member. */
  async auth(question: Question<AuthAnswer>, options: CallOptions): Promise<AuthAnswer> {
    return this.#ask(await this.connected(options), question, options);
  }

  /** Connections that were made while nobody asked are closed by their members: new ones show who this is. */
  logInAgain(): void {
    for (const connection of [...this.#dispatcher.pool.connections()]) {
      connection.abandon('authorization was enabled');
    }
  }

  async health(endpoint: string, options: CallOptions): Promise<HealthStatus> {
    const connection = await this.#connectedTo(normalEndpoint(endpoint), options);
    return this.#ask(connection, { method: 'health', parse: parseHealth }, options);
  }

  async hash(endpoint: string, shard: string, options: CallOptions): Promise<ShardHash> {
    const connection = await this.#connectedTo(normalEndpoint(endpoint), options);
    return this.#ask(
      connection,
      { method: 'hash', params: { shard }, parse: parseShardHash },
      options,
    );
  }

  /** From the shard's leader when it is connected, else from any member: all read the same log. */
  async logPage(params: LogParams, options: CallOptions): Promise<LogPage> {
    const anybody = await this.connected(options);
    const connection = this.#dispatcher.pool.connectionFor(params.shard) ?? anybody;
    return this.#ask(connection, { method: 'log', params, parse: parseLogPage }, options);
  }

  async statusOfAll(options: CallOptions): Promise<readonly EndpointStatus[]> {
    const { pool } = this.#dispatcher;
    // Whoever is connected told of the members that were not named.
    await this.connected(options).catch(() => undefined);
    const all = await Promise.all(pool.urls.map((endpoint) => this.#statusOf(endpoint, options)));
    // One member may be known under two addresses.
    const seen = new Set<string>();
    return all.filter(({ status }) => {
      if (status === undefined) return true;
      const isNew = !seen.has(status.member.id);
      seen.add(status.member.id);
      return isNew;
    });
  }

  async #statusOf(endpoint: string, options: CallOptions): Promise<EndpointStatus> {
    try {
      const connection = await this.#connectedTo(endpoint, options);
      const status = await this.#ask(
        connection,
        { method: 'status', parse: parseMemberStatus },
        options,
      );
      return { endpoint, state: 'up', status };
    } catch (error) {
      if (error instanceof KvError) return { endpoint, state: stateOf(error), error };
      throw error;
    }
  }

  /**
   * Gives up at the endpoint's first failure: unlike data, one member cannot stand in for another.
   */
  async #connectedTo(endpoint: string, options: CallOptions): Promise<Connection> {
    const { pool } = this.#dispatcher;
    const failed = (): KvError =>
      pool.lastFailureOf(endpoint) ?? new KvError('KV_UNAVAILABLE', `${endpoint} does not answer`);
    if (!pool.urls.includes(endpoint)) {
      throw new KvError('KV_UNAVAILABLE', `${endpoint} is not among ${pool.urls.join(', ')}`);
    }
    let tried = pool.connectionTo(endpoint);
    await this.#until(
      () => {
        tried = pool.connectionTo(endpoint);
        return tried !== undefined || pool.lastFailureOf(endpoint) !== undefined;
      },
      options,
      failed,
    );
    if (tried === undefined) throw failed();
    return tried;
  }

  async #askAny<T>(method: ControlMethod, parse: Parse<T>, options: CallOptions): Promise<T> {
    const connection = await this.connected(options);
    return this.#ask(connection, { method, parse }, options);
  }

  /** Polled as well as told: back-off ends without an event. */
  #until(wanted: () => boolean, options: CallOptions, late: () => KvError): Promise<void> {
    if (wanted()) return Promise.resolve();
    if (this.#dispatcher.closed)
      return Promise.reject(new KvError('KV_CANCELLED', 'the client is closed'));
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const end = (error?: KvError): void => {
        clearTimeout(timer);
        clearInterval(poll);
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = (): void => end(aborted(signal));
      const waiter: Waiter = { wanted, resolve: () => end() };
      const timer = setTimeout(
        () => end(late()),
        options.timeoutMs ?? this.#dispatcher.settings.timeoutMs,
      );
      const poll = setInterval(() => {
        if (wanted()) end();
        else if (this.#dispatcher.closed) end(new KvError('KV_CANCELLED', 'the client was closed'));
      }, 25);
      this.#waiters.add(waiter);
      if (signal?.aborted === true) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #ask<T>(connection: Connection, question: Question<T>, options: CallOptions): Promise<T> {
    const { signal, timeoutMs = this.#dispatcher.settings.timeoutMs } = options;
    return ask(this.#dispatcher, connection, question, { timeoutMs, signal });
  }
}

/** A member of an older version answers null: it keeps nothing. */
const parseTransferred: Parse<Transferred> = (value) => {
  const found = typeof value === 'object' && value !== null && 'holdMs' in value;
  const holdMs = found && typeof value.holdMs === 'number' ? value.holdMs : 0;
  return { ok: true, value: { holdMs } };
};
