import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KvError, type KvRequest, type PutRequest, type TxnRequest } from '@kvorum/base';
import type { MemberEntry } from '@kvorum/shard';
import {
  FRAME,
  OP,
  packFrame,
  parseClientFrame,
  plainError,
  type RequestItem,
  type RequestsFrame,
} from '@kvorum/wire';
import { WebSocket, WebSocketServer } from 'ws';
import { plainMap, shardIn } from './plain-map.ts';

/** What one item gets: an answer in wire form, or nothing at all. */
export type Reply = readonly unknown[] | undefined;

interface Row {
  value: Uint8Array;
  create: number;
  mod: number;
  version: number;
}
interface LoggedEvent {
  readonly shard: string;
  readonly revision: number;
  readonly plain: readonly unknown[];
  readonly key: Uint8Array;
}

/**
 * What all members share: the one store, sessions included, so that exactly-once can be counted.
 */
export class FakeStore {
  readonly revisions = new Map<string, number>();
  readonly compacted = new Map<string, number>();
  readonly rows = new Map<string, Row>();
  readonly events: LoggedEvent[] = [];
  /** `client/shard/seq` → revision it was applied at. */
  readonly applied = new Map<string, number>();
  puts = 0;
  readonly listeners = new Set<(event: LoggedEvent) => void>();

  revisionOf(shard: string): number {
    return this.revisions.get(shard) ?? 1;
  }

  put(shard: string, session: string | undefined, key: Uint8Array, value: Uint8Array): number {
    const done = session === undefined ? undefined : this.applied.get(session);
    if (done !== undefined) return done;
    this.puts += 1;
    const revision = this.revisionOf(shard) + 1;
    this.revisions.set(shard, revision);
    const name = Buffer.from(key).toString('latin1');
    const old = this.rows.get(name);
    const row = {
      value,
      create: old?.create ?? revision,
      mod: revision,
      version: (old?.version ?? 0) + 1,
    };
    this.rows.set(name, row);
    if (session !== undefined) this.applied.set(session, revision);
    const plain = [false, key, value, row.create, revision, row.version, 0, null];
    this.#publish({ shard, revision, plain, key });
    return revision;
  }

  #publish(event: LoggedEvent): void {
    this.events.push(event);
    for (const listener of this.listeners) listener(event);
  }

  get(key: Uint8Array): Row | undefined {
    return this.rows.get(Buffer.from(key).toString('latin1'));
  }

  keysOf(shard: string, map: unknown): { key: Uint8Array; row: Row }[] {
    return [...this.rows]
      .map(([name, row]) => ({ key: Buffer.from(name, 'latin1') as Uint8Array, row }))
      .filter(({ key }) => shardIn(map, key) === shard)
      .sort((a, b) => Buffer.compare(a.key, b.key));
  }
}

/** One scripted connection. */
export class FakeSession {
  readonly member: FakeMember;
  readonly ws: WebSocket;
  clientId = '';
  readonly frames: RequestsFrame[] = [];
  readonly #watches = new Map<number, (event: LoggedEvent) => void>();

  constructor(member: FakeMember, ws: WebSocket) {
    this.member = member;
    this.ws = ws;
    ws.on('message', (data: Buffer) => this.#onMessage(data));
    ws.on('close', () => {
      for (const listener of this.#watches.values())
        member.cluster.store.listeners.delete(listener);
    });
  }

  send(frame: readonly unknown[]): void {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(packFrame(frame));
  }

  #onMessage(data: Buffer): void {
    const { member } = this;
    if (member.frozen) return;
    const frame = parseClientFrame(data);
    if (!frame.ok) throw frame.error;
    const value = frame.value;
    switch (value.type) {
      case FRAME.hello:
        this.clientId = value.clientId;
        this.send([FRAME.welcome, member.welcome()]);
        break;
      case FRAME.requests:
        this.frames.push(value);
        member.onRequests(this, value);
        break;
      case FRAME.control:
        this.#control(value.id, value.method, value.params);
        break;
      case FRAME.watchCreate:
        this.#watch(value.watchId, value.shard, value.request as never);
        break;
      case FRAME.watchCancel: {
        const listener = this.#watches.get(value.watchId);
        if (listener !== undefined) member.cluster.store.listeners.delete(listener);
        break;
      }
    }
  }

  #control(id: number, method: string, params: unknown): void {
    const result = this.member.onControl(method, params);
    if (result instanceof KvError) this.send([FRAME.controlResponse, id, plainError(result), null]);
    else this.send([FRAME.controlResponse, id, null, result]);
  }

  #watch(
    watchId: number,
    shard: string,
    request: { key: Uint8Array; rangeEnd?: Uint8Array; startRevision?: number },
  ): void {
    const { store } = this.member.cluster;
    const compacted = store.compacted.get(shard) ?? 0;
    const start = request.startRevision ?? 0;
    if (start > 0 && start < compacted) {
      const error = new KvError('KV_COMPACTED', undefined, {
        details: { compactRevision: compacted },
      });
      this.send([FRAME.watchCancelled, watchId, plainError(error)]);
      return;
    }
    this.send([FRAME.watchCreated, watchId, store.revisionOf(shard)]);
    const from = start > 0 ? start : store.revisionOf(shard) + 1;
    const listener = (event: LoggedEvent): void => {
      if (event.shard !== shard || event.revision < from || this.member.frozen) return;
      if (!covers(request, event.key)) return;
      this.send([FRAME.watchEvents, watchId, event.revision, [event.plain]]);
    };
    for (const event of store.events) listener(event);
    store.listeners.add(listener);
    this.#watches.set(watchId, listener);
  }
}

function covers(request: { key: Uint8Array; rangeEnd?: Uint8Array }, key: Uint8Array): boolean {
  const end = request.rangeEnd;
  if (end === undefined || end.length === 0) return Buffer.compare(request.key, key) === 0;
  if (Buffer.compare(key, request.key) < 0) return false;
  return (end.length === 1 && end[0] === 0) || Buffer.compare(key, end) < 0;
}

/**
 * A member that speaks the protocol over real sockets; a test replaces `reply` or `onRequests` to
 * misbehave.
 */
export class FakeMember {
  readonly cluster: FakeCluster;
  readonly id: string;
  readonly sessions: FakeSession[] = [];
  /** Like SIGSTOP: sockets stay open, nothing is read or answered. */
  frozen = false;
  reply: (session: FakeSession, frame: RequestsFrame, item: RequestItem) => Reply;
  readonly #http: Server = createServer();
  readonly #wss: WebSocketServer;
  #port = 0;

  constructor(cluster: FakeCluster, id: string) {
    this.cluster = cluster;
    this.id = id;
    this.reply = (session, frame, item) => this.execute(session, frame, item);
    this.#wss = new WebSocketServer({ server: this.#http, path: '/v1/session', autoPong: false });
    this.#wss.on('connection', (ws) => {
      ws.on('ping', (data: Buffer) => {
        if (!this.frozen) ws.pong(data);
      });
      this.sessions.push(new FakeSession(this, ws));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#http.listen(this.#port, '127.0.0.1');
    await once(this.#http, 'listening');
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  /** Starts again, at another address. */
  async move(): Promise<void> {
    await this.stop();
    this.#port = 0;
    await this.start();
  }

  /** Like kill -9: every socket is cut. */
  async stop(): Promise<void> {
    for (const ws of this.#wss.clients) ws.terminate();
    this.#http.closeAllConnections();
    if (this.#http.listening) {
      this.#http.close();
      await once(this.#http, 'close');
    }
  }

  welcome(): object {
    return {
      protocol: 1,
      version: '0.1.0',
      clusterId: '00000000000000c1',
      memberId: this.id,
      requestBytesMax: 1024 * 1024,
      map: this.cluster.map,
      leaders: Object.fromEntries(this.cluster.leaders),
    };
  }

  onRequests(session: FakeSession, frame: RequestsFrame): void {
    const replies: unknown[] = [];
    for (const item of frame.items) {
      const reply = this.reply(session, frame, item);
      if (reply !== undefined) replies.push(reply);
    }
    if (replies.length > 0) session.send([FRAME.responses, frame.shard, replies]);
  }

  onControl(method: string, _params: unknown): unknown {
    const { cluster } = this;
    switch (method) {
      case 'members':
        return cluster.members.map((member, i) => ({
          id: member.id,
          name: `m${i + 1}`,
          clientUrls: [member.url],
          peerAddress: '127.0.0.1:1',
        }));
      case 'health':
        return { healthy: true, reasons: [] };
      default:
        return new KvError('KV_NOT_FOUND', method);
    }
  }

  /** What a correct member answers. */
  execute(session: FakeSession, frame: RequestsFrame, item: RequestItem): Reply {
    const { cluster } = this;
    const id = item[0];
    const { shard } = frame;
    const leader = cluster.leaders.get(shard);
    if (leader !== this.id) {
      const details = leader === undefined ? { shard } : { shard, leader };
      const code = leader === undefined ? 'KV_NO_LEADER' : 'KV_NOT_LEADER';
      return [id, 2, plainError(new KvError(code, undefined, { details }))];
    }
    if (item[1] === OP.get) {
      const row = cluster.store.get(item[2]);
      if (row === undefined) return [id, 0, null];
      const revision = cluster.store.revisionOf(shard);
      return [id, 0, revision, row.value, row.create, row.mod, row.version, 0];
    }
    const seq = item[2];
    const tag = seq === 0 ? undefined : `${session.clientId}/${shard}/${seq}`;
    if (item[1] === OP.put) return [id, 0, cluster.store.put(shard, tag, item[4], item[5])];
    return [id, 1, this.#request(shard, tag, item[4])];
  }

  #request(shard: string, tag: string | undefined, request: KvRequest): unknown {
    const { store } = this.cluster;
    switch (request.op) {
      case 'put':
        return { op: 'put', revision: store.put(shard, tag, request.key, request.value) };
      case 'range': {
        const found = store
          .keysOf(shard, this.cluster.map)
          .filter(({ key }) => covers(request, key));
        const limit =
          request.limit !== undefined && request.limit > 0 ? request.limit : found.length;
        const kvs = found.slice(0, limit).map(({ key, row }) => ({
          key,
          value: row.value,
          createRevision: row.create,
          modRevision: row.mod,
          version: row.version,
          lease: 0,
        }));
        const revision = store.revisionOf(shard);
        return { op: 'range', revision, kvs, more: found.length > limit, count: found.length };
      }
      case 'txn':
        return this.#txn(shard, tag, request);
      case 'compact':
        store.compacted.set(shard, request.revision);
        return { op: 'compact', revision: store.revisionOf(shard) };
      default:
        return { op: 'delete-range', revision: store.revisionOf(shard), deleted: 0, prevKvs: [] };
    }
  }

  #txn(shard: string, tag: string | undefined, request: TxnRequest): unknown {
    const { store } = this.cluster;
    const puts = request.success.filter((op): op is PutRequest => op.op === 'put');
    const responses = puts.map((op) => ({
      op: 'put',
      revision: store.put(shard, tag, op.key, op.value),
    }));
    return { op: 'txn', revision: store.revisionOf(shard), succeeded: true, responses };
  }
}

/** Members over one shared store. */
export class FakeCluster {
  readonly store = new FakeStore();
  readonly members: FakeMember[] = [];
  readonly leaders = new Map<string, string>();
  readonly shards: number;
  /** Known once the members listen. */
  map: unknown = undefined;

  constructor(members: number, shards: number) {
    this.shards = shards;
    for (let i = 1; i <= members; i += 1) {
      this.members.push(new FakeMember(this, i.toString(16).padStart(16, '0')));
    }
    for (let shard = 0; shard < shards; shard += 1) {
      const leader = this.members[shard % members];
      if (leader !== undefined) this.leaders.set(String(shard), leader.id);
    }
  }

  static async start(members: number, shards: number): Promise<FakeCluster> {
    const cluster = new FakeCluster(members, shards);
    await Promise.all(cluster.members.map((member) => member.start()));
    cluster.map = plainMap(shards, cluster.#entries());
    return cluster;
  }

  #entries(): readonly MemberEntry[] {
    return this.members.map((member, i) => ({
      id: member.id,
      name: `m${i + 1}`,
      peer: '127.0.0.1:1',
      client: member.url,
    }));
  }

  /** The member goes to another address; the next map says so. */
  async move(member: FakeMember): Promise<void> {
    await member.move();
    const map = this.map as { readonly version: number };
    this.map = { ...map, version: map.version + 1, members: this.#entries() };
  }

  get endpoints(): readonly string[] {
    return this.members.map((member) => member.url);
  }

  member(at: number): FakeMember {
    const member = this.members[at];
    if (member === undefined) throw new RangeError(`no member ${at}`);
    return member;
  }

  /** Elects a leader; `announce` = every member that is not frozen tells its clients. */
  lead(shard: string, member: FakeMember, announce: boolean): void {
    this.leaders.set(shard, member.id);
    if (!announce) return;
    const frame = [FRAME.mapChanged, this.map, Object.fromEntries(this.leaders)];
    for (const one of this.members) {
      if (!one.frozen) for (const session of one.sessions) session.send(frame);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
  }
}
