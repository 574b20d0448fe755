import type { Socket } from 'node:net';
import { err, isKvError, KvError, type Origin, originOf, type SessionTag } from '@kvorum/base';
import {
  CLIENT_PROTOCOL_VERSION,
  type ClientFrame,
  FRAME,
  OP,
  packFrame,
  parseClientFrame,
  type RequestItem,
  type RequestsFrame,
  type Welcome,
} from '@kvorum/wire';
import type { RawData, WebSocket } from 'ws';
import type { Host } from '../host.ts';
import { isReadOnly, requestBytes } from '../router/request-facts.ts';
import { SocketMemory } from './http-memory.ts';
import {
  codeOf,
  errorItem,
  getItem,
  putItem,
  ResponseBatch,
  requestItem,
  type SizedItem,
} from './response-batch.ts';
import { controlAnswer, controlFor } from './session-control.ts';
import {
  type FrameContext,
  notHere,
  notLeader,
  refuseKey,
  refuseRequest,
  TIMEOUT_MS_MAX,
} from './session-refusals.ts';
import { SessionUser } from './session-user.ts';
import { SessionWatches } from './session-watches.ts';

const HELLO_TIMEOUT_MS = 5000;
/** Above every socket's high-water mark: a socket that holds so much will say `drain`. */
const DRAIN_BYTES_MIN = 131_072;
const CLOSE_POLICY = 1008;
const CLOSE_OVERLOAD = 1013;
const CLOSE_GOING_AWAY = 1001;

type HelloFrame = ClientFrame & { readonly type: typeof FRAME.hello };

/** Name of a request in the metrics. */
function methodOf(item: RequestItem): string {
  if (item[1] === OP.put) return 'put';
  return item[1] === OP.get ? 'get' : item[4].op;
}

/** One native client connection (`/v1/session`). */
export class Session {
  readonly #host: Host;
  readonly #ws: WebSocket;
  readonly #answers: ResponseBatch;
  readonly #watches: SessionWatches;
  readonly #watchBytesMax: number;
  #clientId: string | undefined;
  readonly #user: SessionUser;
  /** Who this client is, for the records it writes. */
  #origin: Origin | undefined;
  /** It has said who it is, and waits for the answer. */
  #loggingIn = false;
  #inflight = 0;
  /** Changes of authorization among them: whoever enables it is to hear that it is, before it has to log in. */
  #authCalls = 0;
  /** A frame's requests are being handed on: an answer to one says nothing about the rest. */
  #taking = false;
  #alive = true;
  #closed = false;
  #pausedReading = false;
  #cancelHello: () => void;
  /** Set while more than the limit is unread. */
  #cancelUnread: (() => void) | undefined;
  #stopTopology: () => void = () => {};
  readonly #stopAuth: () => void;
  readonly #memory: SocketMemory;

  constructor(host: Host, ws: WebSocket, socket: Socket) {
    this.#host = host;
    this.#ws = ws;
    this.#memory = new SocketMemory(host, ws, socket, () => this.#cut());
    const { watchBufferBytesMax, connectionSendBufferBytesMax } = host.limits;
    const wanted = Math.min(watchBufferBytesMax, connectionSendBufferBytesMax / 2);
    this.#watchBytesMax = Math.max(wanted, DRAIN_BYTES_MIN);
    this.#answers = new ResponseBatch((frames) => this.#sendTurn(frames));
    this.#watches = new SessionWatches(host, {
      send: (bytes) => this.#send(bytes),
      hasRoom: () => this.#ws.bufferedAmount < this.#watchBytesMax,
      protocolError: (error) => this.#protocolError(error),
      forbidden: (needs) => this.#user.forbidden(needs),
      holds: (change) => this.#memory.add(change),
    });
    this.#user = new SessionUser(host.auth);
    this.#stopAuth = host.auth.source.onChange(() => this.#onAuthChange());
    this.#cancelHello = host.clock.setTimer(HELLO_TIMEOUT_MS, () => {
      this.#protocolError(new KvError('KV_MALFORMED', 'no hello frame came'));
    });
    ws.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on('pong', () => {
      this.#alive = true;
    });
    ws.on('error', (error) =>
      host.logger.debug({ err: error.message }, 'client connection failed'),
    );
    ws.on('close', () => this.#onClose());
    socket.on('drain', () => this.#onDrain());
  }

  /** Sends a ping; ends the connection when the last one was not answered. */
  keepAlive(): void {
    if (!this.#alive) {
      this.#ws.terminate();
      return;
    }
    this.#alive = false;
    this.#ws.ping();
  }

  get idle(): boolean {
    return this.#inflight === 0;
  }

  /** Ends the connection for a stop of this member: the client goes on elsewhere. */
  stop(error: KvError): void {
    this.#watches.close(error);
    // After the answers of this turn, which are flushed in setImmediate.
    setImmediate(() => this.#ws.close(CLOSE_GOING_AWAY, error.message.slice(0, 120)));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!isBinary || !(data instanceof Uint8Array)) {
      this.#protocolError(new KvError('KV_MALFORMED', 'frames are binary messages'));
      return;
    }
    const frame = parseClientFrame(data);
    if (!frame.ok) this.#protocolError(frame.error);
    else if (this.#clientId === undefined) this.#onHello(frame.value);
    else this.#onFrame(frame.value, this.#clientId);
  }

  #onHello(frame: ClientFrame): void {
    if (frame.type !== FRAME.hello) {
      this.#protocolError(new KvError('KV_MALFORMED', 'the first frame must be hello'));
      return;
    }
    if (frame.protocol !== CLIENT_PROTOCOL_VERSION) {
      const text = `protocol ${frame.protocol} is not spoken here, only ${CLIENT_PROTOCOL_VERSION}`;
      this.#protocolError(new KvError('KV_MALFORMED', text));
      return;
    }
    if (this.#user.isOpen) this.#welcome(frame);
    else void this.#logIn(frame);
  }

  async #logIn(frame: HelloFrame): Promise<void> {
    if (this.#loggingIn) {
      this.#protocolError(new KvError('KV_MALFORMED', 'nothing may come before the welcome'));
      return;
    }
    this.#loggingIn = true;
    try {
      await this.#user.logIn(frame.credentials);
    } catch (error) {
      if (!isKvError(error)) throw error;
      this.#protocolError(error);
      return;
    }
    if (!this.#closed) this.#welcome(frame);
  }

  /** Users, roles or permissions are others now. */
  #onAuthChange(): void {
    if (this.#clientId === undefined) return;
    const lost = this.#user.lost();
    if (lost === undefined || this.#authCalls > 0) this.#watches.recheck();
    else this.#protocolError(lost);
  }

  #welcome(frame: HelloFrame): void {
    this.#clientId = frame.clientId;
    this.#origin = originOf(this.#user.name, frame.name);
    this.#cancelHello();
    const host = this.#host;
    const welcome: Welcome = {
      protocol: CLIENT_PROTOCOL_VERSION,
      version: host.version,
      clusterId: host.clusterId,
      memberId: host.memberId,
      requestBytesMax: host.limits.requestBytesMax,
      map: host.map(),
      leaders: host.leaders(),
    };
    this.#send(packFrame([FRAME.welcome, welcome]));
    this.#stopTopology = host.onTopologyChange(() => {
      this.#send(packFrame([FRAME.mapChanged, host.map(), host.leaders()]));
    });
  }

  #onFrame(frame: ClientFrame, clientId: string): void {
    switch (frame.type) {
      case FRAME.requests:
        this.#onRequests(frame, clientId);
        return;
      case FRAME.watchCreate:
        this.#watches.create(frame.watchId, frame.shard, frame.request);
        return;
      case FRAME.watchCancel:
        this.#watches.cancel(frame.watchId);
        return;
      case FRAME.control:
        this.#onControl(frame.id, frame.method, frame.params);
        return;
      default:
        this.#protocolError(new KvError('KV_MALFORMED', 'hello came twice'));
    }
  }

  #onRequests(frame: RequestsFrame, clientId: string): void {
    const host = this.#host;
    const replica = host.dataReplica(frame.shard);
    const refusal =
      host.refusal() ?? (replica === undefined ? notHere(host, frame.shard) : undefined);
    if (replica === undefined || refusal !== undefined) {
      const error = refusal ?? notHere(host, frame.shard);
      for (const item of frame.items) this.#refuse(frame.shard, item, error);
      return;
    }
    const timeoutMs = frame.timeoutMs === 0 ? host.limits.requestTimeoutMs : frame.timeoutMs;
    const context: FrameContext = {
      frame,
      replica,
      deadlineMs: host.clock.nowMs() + Math.min(timeoutMs, TIMEOUT_MS_MAX),
      notLeader: host.leads(frame.shard) ? undefined : notLeader(host, frame.shard),
      isOpen: this.#user.isOpen,
    };
    this.#taking = true;
    for (const item of frame.items) this.#onItem(context, item, clientId);
    this.#taking = false;
  }

  #onItem(context: FrameContext, item: RequestItem, clientId: string): void {
    const limit = this.#host.limits.connectionInflightMax;
    if (this.#inflight >= limit) {
      const error = new KvError(
        'KV_TOO_MANY_REQUESTS',
        `more than ${limit} unanswered on one connection`,
        {
          details: { limit },
        },
      );
      this.#refuse(context.frame.shard, item, error);
    } else if (!context.isOpen) {
      this.#onGuarded(context, item, clientId);
    } else {
      this.#onAllowed(context, item, clientId);
    }
  }

  #onGuarded(context: FrameContext, item: RequestItem, clientId: string): void {
    const refusal = this.#user.refusalOf(item);
    if (refusal instanceof Promise) {
      this.#inflight += 1;
      void refusal.then((found) => {
        this.#inflight -= 1;
        if (found !== undefined) this.#refuse(context.frame.shard, item, found);
        else this.#onAllowed(context, item, clientId);
      });
    } else if (refusal !== undefined) {
      this.#refuse(context.frame.shard, item, refusal);
    } else {
      this.#onAllowed(context, item, clientId);
    }
  }

  #onAllowed(context: FrameContext, item: RequestItem, clientId: string): void {
    if (item[1] === OP.put) {
      this.#onPut(context, item, clientId);
    } else if (item[1] === OP.get) {
      this.#onGet(context, item);
    } else {
      this.#onRequest(context, item, clientId);
    }
  }

  #answer(shard: string, method: string, answer: SizedItem): void {
    this.#host.metrics.requests.count('session', method, codeOf(answer));
    this.#answers.add(shard, answer);
  }

  /** Answers a request that was under way. The last one waits for no other: whatever this turn still has to do comes after it. */
  #answerPending(shard: string, method: string, answer: SizedItem): void {
    this.#inflight -= 1;
    this.#answer(shard, method, answer);
    if (this.#inflight === 0 && !this.#taking) this.#answers.flush();
  }

  #refuse(shard: string, item: RequestItem, error: KvError): void {
    this.#answer(shard, methodOf(item), errorItem(item[0], error));
  }

  #onPut(
    context: FrameContext,
    item: RequestItem & readonly [number, 1, ...unknown[]],
    clientId: string,
  ): void {
    const [id, , seq, retry, key, value] = item;
    const shard = context.frame.shard;
    const bytes = key.length + value.length;
    const refusal = refuseKey(this.#host, context, key, {
      bytes,
      isRepeated: seq > 0 && retry,
    });
    if (refusal !== undefined) {
      this.#refuse(shard, item, refusal);
      return;
    }
    this.#inflight += 1;
    context.replica.submit({
      request: { op: 'put', key, value },
      session: this.#tag(context, clientId, seq, retry),
      origin: this.#origin,
      deadlineMs: context.deadlineMs,
      bytes: bytes + 64,
      done: (result) => this.#answerPending(shard, 'put', putItem(id, result)),
    });
  }

  #onGet(context: FrameContext, item: RequestItem & readonly [number, 2, ...unknown[]]): void {
    const [id, , key] = item;
    const shard = context.frame.shard;
    const refusal = refuseKey(this.#host, context, key, { bytes: key.length });
    if (refusal !== undefined) {
      this.#refuse(shard, item, refusal);
      return;
    }
    this.#inflight += 1;
    context.replica.get(key, context.deadlineMs, (result) => {
      this.#answerPending(shard, 'get', getItem(id, result));
    });
  }

  #onRequest(
    context: FrameContext,
    item: RequestItem & readonly [number, 3, ...unknown[]],
    clientId: string,
  ): void {
    const [id, , seq, retry, request] = item;
    const shard = context.frame.shard;
    const refusal = refuseRequest(this.#host, context, request, seq > 0 && retry);
    if (refusal !== undefined) {
      this.#refuse(shard, item, refusal);
      return;
    }
    this.#inflight += 1;
    const done = (result: Parameters<typeof requestItem>[1]): void => {
      this.#answerPending(shard, request.op, requestItem(id, result));
    };
    if (isReadOnly(request)) {
      context.replica.read(request, context.deadlineMs, done, context.frame.mapVersion);
      return;
    }
    context.replica.submit({
      request,
      session: this.#tag(context, clientId, seq, retry),
      origin: this.#origin,
      mapVersion: context.frame.mapVersion,
      deadlineMs: context.deadlineMs,
      bytes: requestBytes(request) + 64,
      done,
    });
  }

  #tag(
    context: FrameContext,
    clientId: string,
    seq: number,
    retry: boolean,
  ): SessionTag | undefined {
    if (seq === 0) return undefined;
    return { clientId, seq, ackedThrough: context.frame.ackedThrough, retry };
  }

  #onControl(id: number, method: string, params: unknown): void {
    if (this.#inflight >= this.#host.limits.connectionInflightMax) {
      const refusal = err(new KvError('KV_TOO_MANY_REQUESTS'));
      this.#send(controlAnswer(this.#host, [id, method], refusal));
      return;
    }
    const lost = this.#user.lost();
    if (lost !== undefined) {
      this.#protocolError(lost);
      return;
    }
    this.#inflight += 1;
    const isAuth = method === 'auth';
    if (isAuth) this.#authCalls += 1;
    void controlFor(this.#host, this.#user, [method, params]).then((answer) => {
      this.#inflight -= 1;
      this.#send(controlAnswer(this.#host, [id, method], answer));
      if (!isAuth) return;
      this.#authCalls -= 1;
      this.#onAuthChange();
    });
  }

  #send(bytes: Uint8Array): void {
    this.#sendTurn([bytes]);
  }

  /**
   * Sends what one turn of the event loop has produced, however much that is. Only what earlier turns left unread speaks against
   * a client, and over the plain limit only when it stays unread: the next turn may come before any client could have read.
   */
  #sendTurn(frames: Iterable<Uint8Array>): void {
    if (this.#closed || this.#ws.readyState !== this.#ws.OPEN) return;
    const { limits } = this.#host;
    const limit = limits.connectionSendBufferBytesMax;
    if (this.#ws.bufferedAmount > limits.connectionUnreadBytesMax) {
      this.#cutUnread();
      return;
    }
    for (const bytes of frames) this.#ws.send(bytes, { binary: true });
    const buffered = this.#ws.bufferedAmount;
    this.#memory.countUnread();
    if (buffered > limit && this.#cancelUnread === undefined) {
      this.#cancelUnread = this.#host.clock.setTimer(limits.connectionUnreadMsMax, () => {
        this.#cancelUnread = undefined;
        if (this.#ws.bufferedAmount > limit) this.#cutUnread();
      });
    }
    if (buffered > Math.max(limit / 4, DRAIN_BYTES_MIN) && !this.#pausedReading) {
      this.#pausedReading = true;
      this.#ws.pause();
    }
  }

  #cutUnread(): void {
    const limit = this.#host.limits.connectionSendBufferBytesMax;
    const buffered = this.#ws.bufferedAmount;
    this.#host.logger.warn({ buffered, limit }, 'client does not read its answers; disconnected');
    this.#cut();
  }

  #cut(): void {
    this.#ws.close(CLOSE_OVERLOAD, 'this member holds too much for this connection');
    this.#ws.terminate();
  }

  #onDrain(): void {
    if (this.#closed) return;
    this.#memory.countUnread();
    this.#cancelUnread?.();
    this.#cancelUnread = undefined;
    if (this.#pausedReading) {
      this.#pausedReading = false;
      this.#ws.resume();
    }
    this.#watches.resume();
  }

  #protocolError(error: KvError): void {
    this.#ws.close(CLOSE_POLICY, `${error.code}: ${error.message}`.slice(0, 120));
  }

  #onClose(): void {
    this.#closed = true;
    this.#cancelHello();
    this.#cancelUnread?.();
    this.#stopTopology();
    this.#stopAuth();
    this.#watches.close();
  }
}
