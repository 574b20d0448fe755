import type { LogIndex, LogOffset, Result, Term } from '@kvorum/base';
import { err, logIndex, logOffset, ok, term } from '@kvorum/base';
import type { HistoryPoint, RaftMessage } from './message.ts';

const HASH_BYTES_MAX = 64;

/** Thrown only inside this file and turned into the Result's error. */
class ParseFailure extends Error {
  override readonly name = 'ParseFailure';
}

/**
 * Reads what a peer sent: plain data of any shape. Unknown fields are ignored, so that newer
 * members may add some.
 *
 * @returns the message, or a text naming the first field that is wrong.
 */
export function parseRaftMessage(value: unknown): Result<RaftMessage, string> {
  try {
    return ok(readMessage(new Fields('message', value)));
  } catch (error) {
    if (error instanceof ParseFailure) return err(error.message);
    throw error;
  }
}

function readMessage(fields: Fields): RaftMessage {
  const kind = fields.get('kind');
  switch (kind) {
    case 'vote-request':
      return {
        kind,
        pre: fields.flag('pre'),
        term: fields.term('term'),
        transfer: fields.flag('transfer'),
        history: fields.history('history'),
      };
    case 'vote-response':
      return {
        kind,
        pre: fields.flag('pre'),
        term: fields.term('term'),
        granted: fields.flag('granted'),
      };
    case 'heartbeat':
      return {
        kind,
        term: fields.term('term'),
        round: fields.counter('round'),
        history: fields.history('history'),
      };
    case 'heartbeat-response':
      return readHeartbeatResponse(fields);
    case 'accepted':
      return { kind, term: fields.term('term'), index: fields.index('index') };
    case 'timeout-now':
      return { kind, term: fields.term('term') };
    case 'read-index-request':
      return { kind, term: fields.term('term'), requestId: fields.counter('requestId') };
    case 'read-index-response':
      return {
        kind,
        term: fields.term('term'),
        requestId: fields.counter('requestId'),
        index: fields.has('index') ? fields.index('index') : undefined,
      };
    default:
      throw new ParseFailure('message.kind: unknown');
  }
}

function readHeartbeatResponse(fields: Fields): RaftMessage {
  return {
    kind: 'heartbeat-response',
    term: fields.term('term'),
    round: fields.counter('round'),
    index: fields.index('index'),
    durableOffset: fields.offset('durableOffset'),
    // Absent from members of an earlier version.
    pinOffset: fields.has('pinOffset') ? fields.offset('pinOffset') : undefined,
    logReachable: fields.flag('logReachable'),
    contradicts: fields.flag('contradicts'),
    eager: fields.has('eager') && fields.flag('eager'),
  };
}

class Fields {
  readonly #path: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(path: string, value: unknown) {
    if (!isRecord(value)) throw new ParseFailure(`${path}: not an object`);
    this.#path = path;
    this.#fields = value;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  /** msgpack turns undefined into null. */
  has(name: string): boolean {
    const value = this.get(name);
    return value !== undefined && value !== null;
  }

  flag(name: string): boolean {
    const value = this.get(name);
    return typeof value === 'boolean' ? value : this.#fail(name, 'not a boolean');
  }

  counter(name: string): number {
    const value = this.get(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      return this.#fail(name, 'not a counter');
    }
    return value;
  }

  term(name: string): Term {
    return term(this.counter(name));
  }

  index(name: string): LogIndex {
    return logIndex(this.counter(name));
  }

  offset(name: string): LogOffset {
    return this.get(name) === -1 ? logOffset(-1) : logOffset(this.counter(name));
  }

  history(name: string): HistoryPoint {
    const point = new Fields(`${this.#path}.${name}`, this.get(name));
    return { index: point.index('index'), chainHash: point.hash('chainHash') };
  }

  hash(name: string): Uint8Array {
    const value = this.get(name);
    if (!(value instanceof Uint8Array)) return this.#fail(name, 'not bytes');
    return value.length <= HASH_BYTES_MAX ? value : this.#fail(name, 'too long');
  }

  #fail(name: string, problem: string): never {
    throw new ParseFailure(`${this.#path}.${name}: ${problem}`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
