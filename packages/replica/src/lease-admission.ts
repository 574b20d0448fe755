import { isKvError, KvError, type LeaseId, NO_LEASE, type TxnOp } from '@kvorum/base';
import type { LeaseRow } from '@kvorum/mvcc';
import { LEASE_HOME } from '@kvorum/shard';
import type { Command } from './api.ts';
import { answerFailed } from './command-queue.ts';
import { type LeaseHost, logLeases } from './lease-host.ts';
import { pause } from './slot-move-driver.ts';

const ASK_MS = 5000;
const RETRY_MS = 20;
const NONE: readonly LeaseId[] = [];

/** Commands that arrived in one turn of the event loop and wait for the same answer of the home. */
interface Group {
  readonly ids: Set<LeaseId>;
  readonly commands: Command[];
}

/**
 * The leases of a shard that is not their home, on its leader: a write with a lease that the shard has not heard of waits until the home
 * has permitted it and the shard's log has admitted it. Whether it exists is decided when the write is executed, as ever.
 */
export class LeaseAdmission {
  readonly #host: LeaseHost;
  readonly #known = new Set<LeaseId>();
  #open: Group | undefined;
  #waiting = 0;
  #waitingBytes = 0;

  constructor(host: LeaseHost) {
    this.#host = host;
  }

  lead(rows: readonly LeaseRow[]): void {
    for (const row of rows) this.applied(row.id, row);
  }

  /** What becomes of the leases is not heard of any more. */
  stop(): void {
    this.#known.clear();
  }

  applied(id: LeaseId, row: LeaseRow | undefined): void {
    if (row === undefined || row.isEnding === true) this.#known.delete(id);
    else this.#known.add(id);
  }

  /** Queues a write, at once or when its leases are admitted. */
  submit(command: Command): void {
    const unknown = this.#unknownOf(command);
    if (unknown.length === 0) {
      this.#host.submit(command);
      return;
    }
    const { shardQueueCommandsMax, shardQueueBytesMax } = this.#host.limits;
    if (this.#waiting >= shardQueueCommandsMax || this.#waitingBytes > shardQueueBytesMax) {
      const text = 'too many writes of this shard wait for the home of their leases';
      answerFailed(command, new KvError('KV_TOO_MANY_REQUESTS', text));
      return;
    }
    this.#waiting += 1;
    this.#waitingBytes += command.bytes;
    if (this.#open === undefined) {
      this.#open = { ids: new Set(), commands: [] };
      queueMicrotask(() => this.#close());
    }
    for (const id of unknown) this.#open.ids.add(id);
    this.#open.commands.push(command);
  }

  #unknownOf({ request }: Command): readonly LeaseId[] {
    const isPlain = request.op === 'put' && (request.lease ?? NO_LEASE) === NO_LEASE;
    const mayHaveLeases = request.op === 'put' || request.op === 'txn';
    if (isPlain || !mayHaveLeases || this.#host.leases === undefined) return NONE;
    const ids: LeaseId[] = [];
    addLeases(request, ids);
    return ids.filter((id) => !this.#known.has(id));
  }

  #close(): void {
    const group = this.#open;
    this.#open = undefined;
    if (group === undefined) return;
    void this.#admit([...group.ids]).then((error) => {
      for (const command of group.commands) {
        this.#waiting -= 1;
        this.#waitingBytes -= command.bytes;
        if (error === undefined) this.#host.submit(command);
        else answerFailed(command, error);
      }
    });
  }

  /**
   * Undefined: what the home knows of these leases is known here, or the shard owns no slots and has none coming. Then the writes are
   * refused for that; slots that begin to come now are adopted only by commands that are queued after them.
   */
  async #admit(ids: readonly LeaseId[]): Promise<KvError | undefined> {
    const { clock, leases: network, shard } = this.#host;
    if (network === undefined) return undefined;
    const deadlineMs = clock.nowMs() + ASK_MS;
    for (;;) {
      try {
        const { permit, leases } = await network.at(LEASE_HOME).permit(ids, deadlineMs);
        if (leases.length === 0) return undefined;
        const command = { op: 'lease', action: 'admit', leases, permit } as const;
        await logLeases(this.#host, command, deadlineMs);
        return undefined;
      } catch (error) {
        if (!isKvError(error)) throw error;
        // Its permit was overtaken by the end of some other lease.
        if (error.code === 'KV_DEPOSED' && clock.nowMs() < deadlineMs) {
          await pause(clock, RETRY_MS);
          continue;
        }
        const text = `the home of its leases (shard ${LEASE_HOME}) cannot be asked: ${error.message}`;
        // The write itself was never queued.
        return new KvError('KV_NO_LEADER', text, { cause: error, details: { shard } });
      }
    }
  }
}

function addLeases(op: TxnOp, ids: LeaseId[]): void {
  if (op.op === 'put') {
    const lease = op.lease ?? NO_LEASE;
    if (lease !== NO_LEASE && !ids.includes(lease)) ids.push(lease);
  } else if (op.op === 'txn') {
    for (const inner of op.success) addLeases(inner, ids);
    for (const inner of op.failure) addLeases(inner, ids);
  }
}
