import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type Message,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  AuthDisableRequestSchema,
  type AuthenticateRequest,
  AuthenticateRequestSchema,
  type AuthenticateResponse,
  AuthRoleDeleteRequestSchema,
  AuthRoleListRequestSchema,
  type AuthRoleListResponse,
  AuthStatusRequestSchema,
  type AuthStatusResponse,
  AuthUserDeleteRequestSchema,
  AuthUserListRequestSchema,
  type AuthUserListResponse,
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  type DeleteRangeResponse,
  Lease,
  LeaseGrantRequestSchema,
  type LeaseGrantResponse,
  LeaseKeepAliveRequestSchema,
  type LeaseKeepAliveResponse,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesRequestSchema,
  type LeaseLeasesResponse,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  type LeaseTimeToLiveResponse,
  PutRequestSchema,
  RangeRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Event } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { PASSWORDS } from './generate-auth.ts';
import { METHODS, type MethodName, pathOf } from './methods.ts';
import type { Numbers } from './normal-form.ts';
import { meaningOf } from './symbols.ts';
import { WatchStream } from './watch-stream.ts';

const DEADLINE_MS = 30_000;
const FIRST_BASE = 64n;
const FOREIGN_LEASE = 777_777n;
const FORGED_TOKEN = 'XXXXXXXXXXXXXXXX.17';
const AUTH_METHODS = /^(auth|user|role)/;
const INVALID_ARGUMENT = 3;
const EXPIRY_LOOK_MS = 100;
const EXPIRY_MS_MAX = 20_000;
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
  #authBase = 0n;
  /** Of users that have logged in. */
  readonly #tokens = new Map<string, string>();
  /** Users or roles may be there. */
  #hasAuth = true;

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
    authRevision: (value) => `base+${value - this.#authBase}`,
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
    if (this.#hasAuth) await this.#resetAuth();
    const listed = await this.#must('leases', create(LeaseLeasesRequestSchema));
    for (const { ID } of (listed as LeaseLeasesResponse).leases) {
      await this.#must('revoke', create(LeaseRevokeRequestSchema, { ID }));
    }
    await this.#deleteAll();
    // What is deleted at the compacted revision itself can still be watched: the same on both, whatever was there.
    await this.#must('put', create(PutRequestSchema, { key: ZERO }));
    let revision = await this.#deleteAll();
    // So far from the first revision that what is asked for is none below it.
    while (revision < FIRST_BASE) {
      await this.#must('put', create(PutRequestSchema, { key: ZERO }));
      revision = await this.#deleteAll();
    }
    await this.#must('compact', create(CompactionRequestSchema, { revision }));
    this.#base = revision;
  }

  async #deleteAll(): Promise<bigint> {
    const everything = create(DeleteRangeRequestSchema, { key: ZERO, rangeEnd: ZERO });
    const deleted = await this.#must('deleteRange', everything);
    return (deleted as DeleteRangeResponse).header?.revision ?? 0n;
  }

  /** @param as - whose token goes with it; one that has none goes without. */
  async call(method: MethodName, request: Message, as?: string): Promise<Answer> {
    const descriptor = METHODS[method];
    if (AUTH_METHODS.test(method)) this.#hasAuth = true;
    const metadata = new Metadata();
    const token = as === 'forged' ? FORGED_TOKEN : this.#tokens.get(as ?? '');
    if (token !== undefined) metadata.set('token', token);
    const answer = await this.#unary(descriptor, request, metadata);
    if (method === 'authenticate' && answer.ok) {
      const { name } = request as AuthenticateRequest;
      this.#tokens.set(name, (answer.message as AuthenticateResponse).token);
    }
    return answer;
  }

  /** Nobody, and authorization off. etcd 3.4 has no status to ask for, and no users here. */
  async #resetAuth(): Promise<void> {
    this.#tokens.clear();
    const status = await this.call('authStatus', create(AuthStatusRequestSchema));
    // etcd 3.6 answers only root once it is on, kvd everybody.
    const isOn = status.ok
      ? (status.message as AuthStatusResponse).enabled
      : status.code === INVALID_ARGUMENT;
    if (isOn) {
      for (const password of PASSWORDS) {
        const request = create(AuthenticateRequestSchema, { name: 'root', password });
        if ((await this.call('authenticate', request)).ok) break;
      }
      const off = await this.call('authDisable', create(AuthDisableRequestSchema), 'root');
      if (!off.ok) throw new Error(`${this.name}: authorization stays on: ${off.text}`);
    }
    if (status.ok || isOn) await this.#removeUsers();
    const after = await this.call('authStatus', create(AuthStatusRequestSchema));
    if (after.ok) this.#authBase = (after.message as AuthStatusResponse).authRevision;
    this.#tokens.clear();
    this.#hasAuth = false;
  }

  async #removeUsers(): Promise<void> {
    const { users } = (await this.#must(
      'userList',
      create(AuthUserListRequestSchema),
    )) as AuthUserListResponse;
    for (const name of users) {
      await this.#must('userDelete', create(AuthUserDeleteRequestSchema, { name }));
    }
    const { roles } = (await this.#must(
      'roleList',
      create(AuthRoleListRequestSchema),
    )) as AuthRoleListResponse;
    for (const role of roles) {
      await this.#must('roleDelete', create(AuthRoleDeleteRequestSchema, { role }));
    }
  }

  /** @param slot - of the symbol that the request had for an id; undefined = it named one itself. */
  async grant(request: Message, slot: number | undefined, as?: string): Promise<Answer> {
    const answer = await this.call('grant', request, as);
    if (slot === undefined || !answer.ok) return answer;
    const { ID } = answer.message as LeaseGrantResponse;
    this.#leases.set(slot, ID);
    this.#leaseNames.set(ID, `lease ${this.#leaseNames.size} of slot ${slot}`);
    return answer;
  }

  /**
   * A lease of the shortest time with these keys, until it has run out. Answers what is there then; how many keys, and at which
   * revision; when there is such a lease already, the refusal.
   */
  async expire(ID: bigint, keys: readonly Uint8Array[]): Promise<Answer> {
    const granted = await this.call('grant', create(LeaseGrantRequestSchema, { ID, TTL: 1n }));
    if (!granted.ok) return granted;
    for (const key of keys) {
      await this.#must('put', create(PutRequestSchema, { key, lease: ID }));
    }
    const asked = create(LeaseTimeToLiveRequestSchema, { ID });
    for (let left = EXPIRY_MS_MAX; left > 0; left -= EXPIRY_LOOK_MS) {
      const { grantedTTL } = (await this.#must('timeToLive', asked)) as LeaseTimeToLiveResponse;
      if (grantedTTL === 0n) break;
      await new Promise((done) => setTimeout(done, EXPIRY_LOOK_MS));
    }
    const everything = { key: ZERO, rangeEnd: ZERO, keysOnly: true };
    return this.call('range', create(RangeRequestSchema, everything));
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
    method: DescMethodUnary<DescMessage, DescMessage>,
    request: Message,
    metadata: Metadata,
  ): Promise<Answer> {
    const { input, output } = method;
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(
        pathOf(method),
        (message: Message) => Buffer.from(toBinary(input, message)),
        (bytes: Buffer) => fromBinary(output, bytes),
        request,
        metadata,
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
