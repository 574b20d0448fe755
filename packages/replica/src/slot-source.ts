import { KvError, type ShardId } from '@kvorum/base';
import type { SlotCommand } from '@kvorum/mvcc';
import type { Clock } from '@kvorum/ports';
import type { ReplicaPort } from './api.ts';
import type { SlotRequest } from './slot-requests.ts';

/** A step that finds no leader, or no log, is taken again by whoever drives the move. */
const STEP_MS = 5000;
/** About what a step takes in the queue beside its rows. */
const STEP_BYTES = 512;

/** Logs a step of a move. Errors: those of any write; KV_INVALID_ARGUMENT when the shard's state does not allow it. */
export async function takeStep(
  replica: ReplicaPort,
  clock: Clock,
  command: SlotCommand,
): Promise<number> {
  const rows = command.action === 'import-rows' ? command.rows : [];
  return new Promise((resolve, reject) => {
    replica.submit({
      request: command,
      session: undefined,
      deadlineMs: clock.nowMs() + STEP_MS,
      bytes: rows.reduce((sum, row) => sum + row.length, STEP_BYTES),
      done: (result) => {
        if (result.ok) resolve(result.response.revision);
        else reject(result.error);
      },
    });
  });
}

/** Whether rows of the move still wait to be dropped. */
export function hasDrops(replica: ReplicaPort, move: string): boolean {
  return replica.slotStatus().ownership?.drops.some((one) => one.move === move) ?? false;
}

/** Drops the next piece, if there is one; resolves with how many pieces may be left. */
export async function dropPiece(
  replica: ReplicaPort,
  clock: Clock,
  move: string,
): Promise<{ readonly left: number }> {
  if (hasDrops(replica, move))
    await takeStep(replica, clock, { op: 'slots', action: 'drop', move });
  return { left: hasDrops(replica, move) ? 1 : 0 };
}

/**
 * Serves the shard that takes slots, on the leader of the shard that gives them.
 *
 * Errors: KV_NOT_LEADER; those of the step.
 */
export async function serveSlotRequest(
  host: {
    readonly clock: Clock;
    readonly leading: (shard: ShardId) => ReplicaPort | undefined;
  },
  request: SlotRequest,
): Promise<unknown> {
  const { clock } = host;
  const { shard } = request;
  const replica = host.leading(shard);
  if (replica === undefined) {
    throw new KvError('KV_NOT_LEADER', undefined, { details: { shard } });
  }
  switch (request.kind) {
    case 'export':
      return replica.exportSlots(request.slots, request.from, clock.nowMs() + STEP_MS);
    case 'freeze': {
      const { move, attempt, mapVersion, slots, owned } = request;
      const command = { op: 'slots', action: 'freeze', move, attempt, mapVersion } as const;
      return { revision: await takeStep(replica, clock, { ...command, slots, owned }) };
    }
    case 'unfreeze': {
      const { kind, shard: _, ...step } = request;
      return { revision: await takeStep(replica, clock, { op: 'slots', action: kind, ...step }) };
    }
    case 'release': {
      const { move, mapVersion } = request;
      return {
        revision: await takeStep(replica, clock, {
          op: 'slots',
          action: 'release',
          move,
          mapVersion,
        }),
      };
    }
    case 'drop':
      return dropPiece(replica, clock, request.move);
  }
}
