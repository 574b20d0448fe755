import { assert, KvError, type Limits } from '@kvorum/base';
import type { Command } from './api.ts';

/** A command is answered once; a batch keeps it until then. */
export function answerFailed(command: Pick<Command, 'done'>, error: KvError): void {
  command.done({ ok: false, error });
}

/**
 * The bounded queue of writes that wait for the next batch of one shard, oldest first.
 *
 * Invariant: bytes = sum of the queued commands' bytes <= shardQueueBytesMax, except that one command always fits.
 */
export class CommandQueue {
  readonly #limits: Limits;
  #commands: Command[] = [];
  #head = 0;
  #bytes = 0;
  /** No queued command expires before this; may be too early after a seal. */
  #earliestMs = Number.POSITIVE_INFINITY;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#commands.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when the queue is full. */
  push(command: Command): boolean {
    const full =
      this.length >= this.#limits.shardQueueCommandsMax ||
      (this.length > 0 && this.#bytes + command.bytes > this.#limits.shardQueueBytesMax);
    if (full) return false;
    this.#commands.push(command);
    this.#bytes += command.bytes;
    this.#earliestMs = Math.min(this.#earliestMs, command.deadlineMs);
    return true;
  }

  /** Seals a batch: as many waiting commands as fit the record target; expired ones are answered on the way. */
  seal(nowMs: number): Command[] {
    const batch: Command[] = [];
    let bytes = 0;
    while (this.#head < this.#commands.length && batch.length < this.#limits.batchCommandsMax) {
      const command = this.#commands[this.#head] as Command;
      const fits = batch.length === 0 || bytes + command.bytes <= this.#limits.recordBytesTarget;
      // A step of a slot move changes what others may do: it stands alone.
      const alone = batch[0]?.request.op === 'slots' || command.request.op === 'slots';
      if (!fits || (alone && batch.length > 0)) break;
      this.#head += 1;
      this.#bytes -= command.bytes;
      if (command.deadlineMs <= nowMs) {
        answerFailed(command, new KvError('KV_DEADLINE'));
        continue;
      }
      batch.push(command);
      bytes += command.bytes;
    }
    this.#shrink();
    return batch;
  }

  /** Answers and removes everything that waits. */
  failAll(error: () => KvError): void {
    const waiting = this.#commands.slice(this.#head);
    this.#commands = [];
    this.#head = 0;
    this.#bytes = 0;
    for (const command of waiting) answerFailed(command, error());
  }

  /** Answers and removes what has passed its deadline. */
  expire(nowMs: number): void {
    if (nowMs < this.#earliestMs) return;
    this.#earliestMs = Number.POSITIVE_INFINITY;
    const expired: Command[] = [];
    const alive: Command[] = [];
    for (let i = this.#head; i < this.#commands.length; i += 1) {
      const command = this.#commands[i] as Command;
      (command.deadlineMs <= nowMs ? expired : alive).push(command);
      if (command.deadlineMs > nowMs) {
        this.#earliestMs = Math.min(this.#earliestMs, command.deadlineMs);
      }
    }
    this.#commands = alive;
    this.#head = 0;
    for (const command of expired) {
      this.#bytes -= command.bytes;
      answerFailed(command, new KvError('KV_DEADLINE'));
    }
    assert(this.#bytes >= 0, 'command queue counts negative bytes');
  }

  #shrink(): void {
    if (this.#head === this.#commands.length) {
      this.#commands = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#commands = this.#commands.slice(this.#head);
      this.#head = 0;
    }
  }
}
