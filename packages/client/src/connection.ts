import type { IncomingMessage } from 'node:http';
import { type ErrorCode, fromUtf8, isKvError, KvError } from '@kvorum/base';
import {
  CLIENT_PROTOCOL_VERSION,
  FRAME,
  packFrame,
  parseServerFrame,
  type ResponseItem,
  type ServerFrame,
  type Welcome,
} from '@kvorum/wire';
import { WebSocket } from 'ws';
import { MalformedAnswer, plainObject } from './answer.ts';
import type { Call } from './call.ts';
import type { Settings } from './options.ts';

/** How long a member may take to accept a connection and to say welcome. */
const WELCOME_MS = 2500;
/** One incoming message at most: the largest range answer a member sends, with room. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;

/** A watch as its connection sees it. */
export interface WatchTarget {
  readonly shard: string;
  readonly created: (revision: number) => void;
  readonly events: (revision: number, events: readonly unknown[]) => void;
  /** The server ended it. */
  readonly cancelled: (error: unknown) => void;
  /** The connection is gone. */
  readonly lost: () => void;
}

/** A control request as its connection sees it. */
export interface ControlTarget {
  readonly answered: (error: unknown, result: unknown) => void;
  readonly lost: (error: KvError) => void;
}

export interface ConnectionHandler {
  readonly onWelcome: (connection: Connection, welcome: Welcome) => void;
  readonly onResponses: (
    connection: Connection,
    shard: string,
    items: readonly ResponseItem[],
  ) => void;
  readonly onMapChanged: (map: unknown, leaders: Readonly<Record<string, string>>) => void;
  /** Exactly once, also when it never opened. */
  readonly onClosed: (connection: Connection, reason: KvError) => void;
}

const REFUSAL_BYTES_MAX = 65_536;

/** The member's process answers, but serves nothing yet or any more. */
export class NotServingError extends KvError {
  readonly state: 'starting' | 'stopping';

  constructor(
    state: 'starting' | 'stopping',
    detail: string,
    options: ConstructorParameters<typeof KvError>[2] = {},
  ) {
    super('KV_UNAVAILABLE', detail, options);
    this.state = state;
  }
}

type State = 'opening' | 'open' | 'closed';

/** One WebSocket to one member: framing, liveness, and who waits for which id. */
export class Connection {
  readonly url: string;
  readonly pending: Map<number, Call> = new Map();
  readonly watches: Map<number, WatchTarget> = new Map();
  readonly controls: Map<number, ControlTarget> = new Map();
  welcome: Welcome | undefined = undefined;
  lastHeardMs: number;
  readonly #openedMs: number;
  readonly #socket: WebSocket;
  readonly #handler: ConnectionHandler;
  readonly #now: () => number;
  #state: State = 'opening';
  #pingSentMs: number | undefined = undefined;

  constructor(
    url: string,
    settings: Settings & { readonly clientId: string },
    handler: ConnectionHandler,
    now: () => number,
  ) {
    this.url = url;
    this.#handler = handler;
    this.#now = now;
    this.#openedMs = now();
    this.lastHeardMs = this.#openedMs;
    this.#socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/session`, {
      ...settings.tls,
      perMessageDeflate: false,
      handshakeTimeout: WELCOME_MS,
      maxPayload: MESSAGE_BYTES_MAX,
      skipUTF8Validation: true,
      // A zero mask is legal, and spares both sides the work: masking protects browsers' proxies,
      // not programs.
      generateMask: (mask: Buffer) => mask.fill(0),
    });
    this.#socket.on('open', () => {
      const { auth, clientId, name } = settings;
      const shown = auth === undefined ? [] : [auth];
      this.send([FRAME.hello, CLIENT_PROTOCOL_VERSION, clientId, name, ...shown]);
    });
    this.#socket.on('message', (data: Buffer) => this.#onMessage(data));
    this.#socket.on('pong', () => this.#heard());
    this.#socket.on('ping', () => this.#heard());
    this.#socket.on('unexpected-response', (_request, response) => {
      void refusalOf(url, response).then((reason) => this.#close(reason));
    });
    this.#socket.on('error', (error: Error) => this.#close(reasonOf(url, error)));
    this.#socket.on('close', (code: number, reason: Buffer) =>
      this.#close(closeReason(url, code, reason)),
    );
  }

  get open(): boolean {
    return this.#state === 'open';
  }
  get opening(): boolean {
    return this.#state === 'opening';
  }
  /** Member id, once welcomed. */
  get memberId(): string | undefined {
    return this.welcome?.memberId;
  }

  send(frame: readonly unknown[]): void {
    this.#socket.send(packFrame(frame));
  }

  /**
   * Pings when silent, gives up when a ping or the welcome stays unanswered. Called a few times a
   * second.
   */
  checkAlive(now: number, pingIntervalMs: number, pingTimeoutMs: number): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'opening') {
      if (now - this.#openedMs > WELCOME_MS) this.abandon('no welcome came');
      return;
    }
    if (this.#pingSentMs !== undefined) {
      if (now - this.#pingSentMs > pingTimeoutMs) this.abandon('it stopped answering');
    } else if (now - this.lastHeardMs > pingIntervalMs) {
      this.#pingSentMs = now;
      this.#socket.ping();
    }
  }

  /**
   * Forgets a ping under way: this process itself was stopped, so its clock says nothing about the
   * member.
   */
  excuse(now: number): void {
    this.lastHeardMs = now;
    this.#pingSentMs = undefined;
  }

  /** Cuts the connection without waiting for the other side. */
  abandon(why: string): void {
    this.#close(new KvError('KV_UNAVAILABLE', `${this.url}: ${why}`));
  }

  /** Ends it politely, at most `graceMs` long. */
  end(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.readyState === WebSocket.CLOSED) {
        resolve();
        return;
      }
      const timer = setTimeout(() => this.#socket.terminate(), graceMs);
      this.#socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#socket.close(1000);
    });
  }

  #heard(): void {
    this.lastHeardMs = this.#now();
    this.#pingSentMs = undefined;
  }

  #close(reason: KvError): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#socket.terminate();
    this.#handler.onClosed(this, reason);
    const watches = [...this.watches.values()];
    const controls = [...this.controls.values()];
    this.watches.clear();
    this.controls.clear();
    for (const watch of watches) watch.lost();
    for (const control of controls) control.lost(reason);
  }

  #onMessage(data: Buffer): void {
    if (this.#state === 'closed') return;
    this.#heard();
    const frame = parseServerFrame(data);
    if (frame === undefined) {
      // A frame of a newer protocol is skipped; bytes that are no frame at all end the connection.
      if (data[0] === undefined || (data[0] & 0xf0) !== 0x90) this.#malformed('not a frame');
      return;
    }
    try {
      this.#dispatch(frame);
    } catch (error) {
      if (error instanceof MalformedAnswer) this.#malformed(error.message);
      else if (isKvError(error)) this.#close(error);
      else throw error;
    }
  }

  #malformed(what: string): void {
    this.#close(new KvError('KV_MALFORMED', `${this.url} sent a bad answer: ${what}`));
  }

  #dispatch(frame: ServerFrame): void {
    switch (frame.type) {
      case FRAME.responses:
        if (!Array.isArray(frame.items)) throw new MalformedAnswer('responses need items');
        this.#handler.onResponses(this, frame.shard, frame.items);
        break;
      case FRAME.welcome:
        this.#onWelcome(frame.welcome);
        break;
      case FRAME.watchCreated:
        this.watches.get(frame.watchId)?.created(frame.revision);
        break;
      case FRAME.watchEvents:
        if (!Array.isArray(frame.events)) throw new MalformedAnswer('watch events need a list');
        this.watches.get(frame.watchId)?.events(frame.revision, frame.events);
        break;
      case FRAME.watchCancelled: {
        const watch = this.watches.get(frame.watchId);
        this.watches.delete(frame.watchId);
        watch?.cancelled(frame.error);
        break;
      }
      case FRAME.controlResponse: {
        const control = this.controls.get(frame.id);
        this.controls.delete(frame.id);
        control?.answered(frame.error, frame.result);
        break;
      }
      case FRAME.mapChanged:
        this.#handler.onMapChanged(frame.map, leadersOf(frame.leaders));
        break;
    }
  }

  #onWelcome(welcome: Welcome): void {
    if (typeof welcome !== 'object' || welcome === null || typeof welcome.memberId !== 'string') {
      throw new MalformedAnswer('a welcome names the member');
    }
    if (welcome.protocol !== CLIENT_PROTOCOL_VERSION) {
      throw new MalformedAnswer(`it speaks protocol ${String(welcome.protocol)}`);
    }
    if (this.#state !== 'opening') return;
    this.#state = 'open';
    this.welcome = { ...welcome, leaders: leadersOf(welcome.leaders) };
    this.#handler.onWelcome(this, this.welcome);
  }
}

function leadersOf(value: unknown): Readonly<Record<string, string>> {
  const leaders: Record<string, string> = {};
  if (typeof value !== 'object' || value === null) return leaders;
  for (const [shard, member] of Object.entries(value)) {
    if (typeof member === 'string' && member !== '') leaders[shard] = member;
  }
  return leaders;
}

function reasonOf(url: string, error: Error & { readonly code?: unknown }): KvError {
  // An AggregateError (several addresses tried) has an empty message; its code says what happened.
  const what =
    error.message === ''
      ? typeof error.code === 'string'
        ? error.code
        : error.name
      : error.message;
  return new KvError('KV_UNAVAILABLE', `${url}: ${what}`, { cause: error });
}

/** Why a member answered HTTP instead of a session: it tells while it starts and while it stops. */
async function refusalOf(url: string, response: IncomingMessage): Promise<KvError> {
  const status =
    `${url}: HTTP ${response.statusCode ?? '?'} ${response.statusMessage ?? ''}`.trim();
  try {
    let body = '';
    for await (const chunk of response) {
      body += String(chunk);
      if (body.length > REFUSAL_BYTES_MAX) break;
    }
    const said = plainObject(plainObject(JSON.parse(body), 'body')['error'], 'error');
    const message = String(said['message']).replace(/^kv: [^:]*: /, '');
    const state = said['code'] === 'KV_STOPPED' ? 'stopping' : 'starting';
    return new NotServingError(state, `${url}: ${message}`);
  } catch {
    return new KvError('KV_UNAVAILABLE', status);
  }
}

/** What a member closes a connection with whose user it does not let in. */
const NOT_LET_IN: readonly ErrorCode[] = [
  'KV_USER_EMPTY',
  'KV_AUTH_FAILED',
  'KV_UNAUTHENTICATED',
  'KV_AUTH_OLD_REVISION',
];

/** Whether another attempt with the same credentials is of no use. */
export function isNotLetIn(error: KvError): boolean {
  return NOT_LET_IN.includes(error.code);
}

function closeReason(url: string, code: number, reason: Uint8Array): KvError {
  const text = fromUtf8(reason);
  const refused = NOT_LET_IN.find((known) => text.startsWith(`${known}: `));
  if (refused !== undefined) {
    const hint = 'connect with `auth`: the user and its password (kvctl: --user and --password)';
    return new KvError(refused, url, { details: { hint } });
  }
  return new KvError(
    'KV_UNAVAILABLE',
    `${url}: connection closed (${code}${text === '' ? '' : `, ${text}`})`,
  );
}
