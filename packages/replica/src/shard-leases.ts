import { KvError, type LeaseId } from '@kvorum/base';
import {
  decodeLease,
  isLeaseRowKey,
  type LeaseRow,
  leaseOfKey,
  type StateChange,
} from '@kvorum/mvcc';
import { LEASE_HOME } from '@kvorum/shard';
import type { Command } from './api.ts';
import { LeaseAdmission } from './lease-admission.ts';
import type { LeaseDrop, LeasePermission, LeaseTime, ReplicaLeases } from './lease-api.ts';
import { type LeaseHost, logLeases } from './lease-host.ts';
import { Lessor } from './lessor.ts';
import type { StateMachine } from './state-machine.ts';

/** The leases of one shard on one replica: its home's are kept time for, another's are admitted. */
export class ShardLeases implements ReplicaLeases {
  readonly #host: LeaseHost;
  readonly #lessor: Lessor | undefined;
  readonly #admission: LeaseAdmission | undefined;
  #leads = false;

  constructor(host: LeaseHost) {
    this.#host = host;
    if (host.shard === LEASE_HOME) this.#lessor = new Lessor(host);
    else this.#admission = new LeaseAdmission(host);
  }

  /** This replica serves as leader from now on; these are the leases of its applied state. */
  lead(term: number, rows: readonly LeaseRow[]): void {
    this.#leads = true;
    this.#lessor?.lead(term, rows);
    this.#admission?.lead(rows);
  }

  /** It leads no more. */
  stop(): void {
    this.#leads = false;
    this.#lessor?.stop();
    this.#admission?.stop();
  }

  /** Leases that its home's leader keeps time for, and those that are ending. */
  get count(): number {
    return this.#lessor?.count ?? 0;
  }

  applied(changes: readonly StateChange[]): void {
    if (!this.#leads && this.#lessor === undefined) return;
    for (const { storeKey, value } of changes) {
      if (!isLeaseRowKey(storeKey)) continue;
      const row = value === undefined ? undefined : decodeLease(value);
      if (row?.ok === false) throw row.error;
      const id = leaseOfKey(storeKey);
      if (this.#lessor !== undefined) this.#count(row?.value);
      this.#lessor?.applied(id, row?.value);
      if (this.#leads) this.#admission?.applied(id, row?.value);
    }
  }

  /** At the home: a row appears with a grant, is marked once when the lease ends, and goes with it. */
  #count(row: LeaseRow | undefined): void {
    const { leases } = this.#host.metrics;
    if (row === undefined) leases.revoked();
    else if (row.isEnding !== true) leases.granted(row.ttlSeconds);
  }

  tick(nowMs: number): void {
    this.#lessor?.tick(nowMs);
  }

  /** Queues a write. */
  submit(command: Command): void {
    if (this.#admission === undefined) this.#host.submit(command);
    else this.#admission.submit(command);
  }

  async grant(...asked: Parameters<ReplicaLeases['grant']>): ReturnType<ReplicaLeases['grant']> {
    return this.#home().grant(...asked);
  }

  async revoke(id: LeaseId, deadlineMs: number): ReturnType<ReplicaLeases['revoke']> {
    return this.#home().revoke(id, deadlineMs);
  }

  async keepAlive(id: LeaseId, deadlineMs: number): ReturnType<ReplicaLeases['keepAlive']> {
    return this.#home().keepAlive(id, deadlineMs);
  }

  async timeToLive(id: LeaseId, wantsKeys: boolean, deadlineMs: number): Promise<LeaseTime> {
    return this.#home().timeToLive(id, wantsKeys, deadlineMs);
  }

  async list(deadlineMs: number): ReturnType<ReplicaLeases['list']> {
    return this.#home().list(deadlineMs);
  }

  async permit(ids: readonly LeaseId[], deadlineMs: number): Promise<LeasePermission> {
    return this.#home().permit(ids, deadlineMs);
  }

  async drop(drop: LeaseDrop, deadlineMs: number): Promise<boolean> {
    this.#checkLeads();
    const command = { op: 'lease', action: 'drop', ...drop } as const;
    return (await logLeases(this.#host, command, deadlineMs)).isDone;
  }

  async keys(id: LeaseId, deadlineMs: number): Promise<readonly Uint8Array[]> {
    this.#checkLeads();
    await this.#host.confirm(deadlineMs);
    return this.#host.keysOf(id);
  }

  #checkLeads(): void {
    if (!this.#leads) throw this.#host.notLeading();
  }

  #home(): Lessor {
    if (this.#lessor !== undefined) return this.#lessor;
    const hint = `shard ${LEASE_HOME} is`;
    throw new KvError('KV_INVALID_ARGUMENT', `this shard is not the home of leases: ${hint}`);
  }
}

/** The leases of a replica, told of what its state machine applies. */
export function shardLeasesOf(
  options: Omit<LeaseHost, 'submit' | 'confirm' | 'notLeading' | 'revision' | 'keysOf'>,
  machine: StateMachine,
  shell: Pick<LeaseHost, 'submit' | 'confirm' | 'notLeading'>,
): ShardLeases {
  const leases = new ShardLeases({
    ...options,
    ...shell,
    revision: () => machine.revision,
    keysOf: (id) => machine.keysOfLease(id),
  });
  machine.onLeases((changes) => leases.applied(changes));
  return leases;
}
