import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { isKvError } from '@kvorum/base';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import type { Call, Outgoing } from '../../src/etcd/service.ts';
import type { Host } from '../../src/host.ts';

/** A call without a transport. */
export function callOf(
  metadata: Readonly<Record<string, string>> = {},
  signal: AbortSignal = new AbortController().signal,
): Call {
  return { metadata: new Map(Object.entries(metadata)), deadlineMs: undefined, signal };
}

/** A message as JSON; of its headers only the revision, since ids and terms differ between runs. */
export function plain<Schema extends DescMessage>(
  schema: Schema,
  message: MessageShape<Schema>,
): unknown {
  const text = JSON.stringify(toJson(schema, message), (name, value: unknown) =>
    ['clusterId', 'memberId', 'raftTerm'].includes(name) ? undefined : value,
  );
  return JSON.parse(text) as unknown;
}

/** The status and text of what a handler refuses with. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof GrpcError) return `${error.status} ${error.message}`;
    if (isKvError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'OK';
}

/** The same member as if it knew no leader of any shard. */
export function withoutLeaders(host: Host): Host {
  return but(host, 'leaders', () => ({}));
}

/** The same member with one thing about it changed. */
export function but<Name extends keyof Host>(host: Host, changed: Name, value: Host[Name]): Host {
  return new Proxy(host, {
    get: (of, name): unknown => {
      if (name === changed) return value;
      const found: unknown = Reflect.get(of, name, of);
      return typeof found === 'function' ? (found.bind(of) as unknown) : found;
    },
  });
}

/** Collects what a streaming handler sends. */
export class Collected<Message> implements Outgoing<Message> {
  readonly messages: Message[] = [];
  /** What `send` answers. */
  hasRoom = true;
  readonly #waiting: (() => void)[] = [];
  readonly #drained: (() => void)[] = [];

  send(message: Message): boolean {
    this.messages.push(message);
    for (const wake of this.#waiting.splice(0)) wake();
    return this.hasRoom;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  drain(): void {
    this.hasRoom = true;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** The messages as soon as there are `count` of them. */
  async first(count: number): Promise<readonly Message[]> {
    while (this.messages.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.messages.slice(0, count);
  }
}

/** Requests of a stream, pushed one by one. */
export class Pushed<Message> implements AsyncIterable<Message> {
  readonly #queue: Message[] = [];
  #wake = (): void => {};
  #ended = false;

  push(message: Message): void {
    this.#queue.push(message);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
