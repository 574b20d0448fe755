import { parseRaftMessage, type RaftMessage } from '@kvorum/raft';
import type { ReplicaLogger } from './replica-options.ts';

/**
 * Says in each message which generation of the log its sender reads. What replicas of two generations say to each other means nothing:
 * a leader of the old one must not be confirmed by those that have gone on. Generation 0 is not written: the version before knows no other.
 */
export class MessageStamp {
  readonly #generation: number;
  #last: { readonly message: RaftMessage; readonly stamped: unknown } | undefined;

  constructor(generation: number) {
    this.#generation = generation;
  }

  /** One object for all receivers of one message, so that a shared medium carries it once. */
  stamp(message: RaftMessage): unknown {
    if (this.#generation === 0) return message;
    if (this.#last?.message !== message) {
      this.#last = { message, stamped: { ...message, generation: this.#generation } };
    }
    return this.#last.stamped;
  }

  /** What a peer says; undefined when it is of another generation, or malformed, which is told. */
  read(payload: unknown, logger: ReplicaLogger): RaftMessage | undefined {
    if (!this.#fits(payload)) return undefined;
    const message = parseRaftMessage(payload);
    if (message.ok) return message.value;
    logger.warn({ problem: message.error }, 'malformed message from a peer dropped');
    return undefined;
  }

  #fits(payload: unknown): boolean {
    const isObject = typeof payload === 'object' && payload !== null;
    const found = isObject && 'generation' in payload ? payload.generation : undefined;
    return (found ?? 0) === this.#generation;
  }
}
