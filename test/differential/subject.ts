import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  Lease,
  type LeaseGrantResponse,
  LeaseKeepAliveRequestSchema,
  type LeaseKeepAliveResponse,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesRequestSchema,
  type LeaseLeasesResponse,
  LeaseRevokeRequestSchema,
  PutRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Event } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { METHODS, type MethodName, pathOf } from './methods.ts';
import type { Numbers } from './normal-form.ts';
import { meaningOf } from './symbols.ts';
import { WatchStream } from './watch-stream.ts';

const DEADLINE_MS = 10_000;
const FOREIGN_LEASE = 777_777n;
/** The key that stands for the beginning, and the end that stands for no end. */
const ZERO = new Uint8Array([0]);

export type Answer =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly code: number; readonly text: string };

/** Where the sequence is, in revisions relative to its first: the reference's, and so the same for both systems. */
export interface Position {
  current: number;
  compacted: number;
}

/** One of the two systems, over gRPC, and what the numbers of the running sequence mean to it. */
export class Subject {
  readonly name: string;
  readonly #client: Client;
  readonly #streams = new Map<number, WatchStream>();
  /** The newest id of a slot, and the names of all of them. */
  readonly #leases = new Map<number, bigint>();
  readonly #leaseNames = new Map<bigint, string>();
  #base = 0n;

  /** @param endpoint - `host:port`, plain text. */
  constructor(name: string, endpoint: string) {
    this.name = name;
    this.#client = new Client(endpoint, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
    });
  }

  readonly numbers: Numbers = {
    revision: (value) => {
      if (value < this.#base || this.#base === 0n) return String(value);
      return `base+${value - this.#base}`;
    },
    lease: (value) => {
      return this.#leaseNames.get(value) ?? String(value);
    },
  };

  /** What both were at when the sequence began. */
  get base(): bigint {
    return this.#base;
  }

  /** A revision relative to the sequence's first. */
  relative(revision: bigint): number {
    return Number(revision - this.#base);
  }

  /** Empty, everything compacted, no lease, no stream: what the sequence before left does not show. */
  async reset(): Promise<void> {
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
    this.#leases.clear();
    this.#leaseNames.clear();
    this.#base = 0n;
    const listed = await this.#must('leases', create(LeaseLeasesRequestSchema));
    for (const { ID } of (listed as LeaseLeasesResponse).leases) {
      await this.#must('revoke', create(LeaseRevokeRequestSchema, { ID }));
    }
    const everything = create(DeleteRangeRequestSchema, { key: ZERO, rangeEnd: ZERO });
    await this.#must('deleteRange', everything);
    // What is deleted at the compacted revision itself can still be watched: the same on both, whatever was there.
    await this.#must('put', create(PutRequestSchema, { key: ZERO }));
    const deleted = await this.#must('deleteRange', everything);
    const { revision } = (deleted as { header?: { revision: bigint } }).header ?? { revision: 0n };
    await this.#must('compact', create(CompactionRequestSchema, { revision }));
    this.#base = revision;
  }

  async call(method: MethodName, request: Message): Promise<Answer> {
    const descriptor = METHODS[method];
    const answer = await this.#unary(pathOf(descriptor), descriptor, request);
    return answer;
  }

  /** @param slot - of the symbol that the request had for an id; undefined = it named one itself. */
  async grant(request: Message, slot: number | undefined): Promise<Answer> {
    const answer = await this.call('grant', request);
    if (slot === undefined || !answer.ok) return answer;
    const { ID } = answer.message as LeaseGrantResponse;
    this.#leases.set(slot, ID);
    this.#leaseNames.set(ID, `lease ${this.#leaseNames.size} of slot ${slot}`);
    return answer;
  }

  /** One request and one answer on a stream of its own. */
  async keepAlive(id: bigint): Promise<Answer> {
    const call = this.#client.makeBidiStreamRequest(
      pathOf(Lease.method.leaseKeepAlive),
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(LeaseKeepAliveResponseSchema, bytes),
      { deadline: Date.now() + DEADLINE_MS },
    );
    try {
      return await new Promise<Answer>((resolve) => {
        call.on('data', (message: LeaseKeepAliveResponse) => resolve({ ok: true, message }));
        call.on('error', (error: ServiceError) => resolve(failure(error)));
        const request = create(LeaseKeepAliveRequestSchema, { ID: id });
        call.write(Buffer.from(toBinary(LeaseKeepAliveRequestSchema, request)));
      });
    } finally {
      call.cancel();
    }
  }

  /** The stream of this number, opened at its first use. */
  stream(at: number): WatchStream {
    const open = this.#streams.get(at) ?? this.openStream();
    this.#streams.set(at, open);
    return open;
  }

  /** A stream that no operation uses. */
  openStream(onEvents: (events: readonly Event[]) => void = () => undefined): WatchStream {
    return new WatchStream(this.#client, this.numbers, onEvents);
  }

  streams(): readonly WatchStream[] {
    return [...this.#streams.values()];
  }

  /** The request with the numbers that its symbols stand for here. */
  resolved<T extends object>(request: T, position: Position): T {
    return this.#resolved(request, position) as T;
  }

  close(): void {
    for (const stream of this.#streams.values()) stream.close();
    this.#client.close();
  }

  #resolved(value: unknown, position: Position): unknown {
    if (typeof value === 'bigint') return this.number(value, position);
    if (Array.isArray(value)) return value.map((item: unknown) => this.#resolved(item, position));
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, this.#resolved(item, position)]),
    );
  }

  number(value: bigint, position: Position): bigint {
    const meaning = meaningOf(value);
    if (meaning === undefined) return value;
    const { anchor, plus } = meaning;
    if (anchor === 'lease') return this.#leases.get(plus) ?? FOREIGN_LEASE;
    const from = anchor === 'base' ? 0 : position[anchor];
    return this.#base + BigInt(from + plus);
  }

  async #must(method: MethodName, request: Message): Promise<Message> {
    const answer = await this.call(method, request);
    if (answer.ok) return answer.message;
    throw new Error(`${this.name}: ${method} between sequences: ${answer.code} ${answer.text}`);
  }

  async #unary(
    path: string,
    { input, output }: { readonly input: DescMessage; readonly output: DescMessage },
    request: Message,
  ): Promise<Answer> {
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        path,
        (message: Message) => Buffer.from(toBinary(input, message)),
        (bytes: Buffer) => fromBinary(output, bytes),
        request,
        { deadline: Date.now() + DEADLINE_MS },
        (error, message) => {
          if (error !== null) resolve(failure(error));
          else if (message !== undefined) resolve({ ok: true, message });
        },
      );
    });
  }
}

function failure({ code, details }: ServiceError): Answer {
  return { ok: false, code, text: details };
}
