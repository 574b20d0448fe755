import type { ServerResponse } from 'node:http';
import { needsOfWatch } from '@kvorum/auth';
import { fromBase64, KvError, type WatchRequest } from '@kvorum/base';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { MemoryHolder } from '../client-memory.ts';
import type { Host } from '../host.ts';
import { MultiWatch } from '../router/multi-watch.ts';
import { decodeResumeToken, type WatchPosition } from '../router/resume-token.ts';
import { errorBody } from './error-reply.ts';
import { holderOf } from './http-memory.ts';
import { eventToJson, rangeFromJson } from './json-forms.ts';
import { checkAllowed, whenForbidden } from './rest-access.ts';
import { WATCH_QUERY } from './rest-schemas.ts';

/** Above every stream's high-water mark: a stream that holds so much will say `drain`. */
const DRAIN_BYTES_MIN = 131_072;
const HEARTBEAT_MS = 15_000;
/** A reader that takes nothing for so long is gone. */
const STALLED_MS_MAX = 60_000;

interface WatchQuery {
  readonly key: string;
  readonly rangeEnd?: string;
  readonly prefix?: boolean;
  readonly encoding?: 'utf8' | 'base64';
  readonly startRevision?: number;
  readonly prevKv?: boolean;
  readonly noPut?: boolean;
  readonly noDelete?: boolean;
  readonly resume?: string;
}

function watchRequest(query: WatchQuery): WatchRequest {
  const coded = (text: string): unknown => (query.encoding === 'base64' ? { base64: text } : text);
  if (query.encoding === 'base64' && fromBase64(query.key) === undefined) {
    throw new KvError('KV_MALFORMED', 'key is not base64');
  }
  const range = rangeFromJson({
    key: coded(query.key),
    ...(query.rangeEnd === undefined ? {} : { rangeEnd: coded(query.rangeEnd) }),
    ...(query.prefix === undefined ? {} : { prefix: query.prefix }),
  });
  if (!range.ok) throw range.error;
  const { key, rangeEnd } = range.value;
  if (key.length === 0) throw new KvError('KV_EMPTY_KEY');
  const filters = [
    ...(query.noPut === true ? (['no-put'] as const) : []),
    ...(query.noDelete === true ? (['no-delete'] as const) : []),
  ];
  return {
    key,
    filters,
    progressNotify: true,
    ...(rangeEnd === undefined ? {} : { rangeEnd }),
    ...(query.startRevision === undefined ? {} : { startRevision: query.startRevision }),
    ...(query.prevKv === undefined ? {} : { prevKv: query.prevKv }),
  };
}

function resumePosition(http: FastifyRequest, query: WatchQuery): WatchPosition | undefined {
  const header = http.headers['last-event-id'];
  const token = typeof header === 'string' && header !== '' ? header : query.resume;
  if (token === undefined) return undefined;
  const position = decodeResumeToken(token);
  if (!position.ok) throw position.error;
  return position.value;
}

/** One open event stream. A reader that falls behind holds at most the watch buffer; the rest waits on disk. */
class EventStream {
  readonly #out: ServerResponse;
  readonly #bytesMax: number;
  readonly #memory: MemoryHolder;
  #stalledSince: number | undefined;

  constructor(out: ServerResponse, bytesMax: number, memory: MemoryHolder) {
    this.#out = out;
    this.#memory = memory;
    this.#bytesMax = Math.max(bytesMax, DRAIN_BYTES_MIN);
    out.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    out.flushHeaders();
  }

  get hasRoom(): boolean {
    return this.#out.writableLength < this.#bytesMax;
  }

  send(event: string, data: unknown, id: string | undefined): void {
    const idLine = id === undefined ? '' : `id: ${id}\n`;
    this.#out.write(`event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`);
    this.account();
  }

  account(): void {
    this.#memory.set(this.#out.writableLength);
  }

  /** Returns false when the reader has been stalled for too long. */
  heartbeat(nowMs: number): boolean {
    if (!this.#out.writableNeedDrain) {
      this.#stalledSince = undefined;
      this.#out.write(': heartbeat\n\n');
      return true;
    }
    this.#stalledSince ??= nowMs;
    return nowMs - this.#stalledSince < STALLED_MS_MAX;
  }
}

interface Asked {
  readonly http: FastifyRequest;
  readonly request: WatchRequest;
}

function serve(host: Host, asked: Asked, out: ServerResponse, open: Set<() => void>): void {
  const { http, request } = asked;
  const query = http.query as WatchQuery;
  let stream: EventStream | undefined;
  const early: (() => void)[] = [];
  /** Before the watch stands nothing has been written, so that a refusal is a proper HTTP error. */
  const whenOpen = (action: (stream: EventStream) => void): void => {
    if (stream === undefined) early.push(() => stream !== undefined && action(stream));
    else action(stream);
  };
  const end = (error: KvError): void =>
    whenOpen((s) => {
      s.send('error', errorBody(error), undefined);
      out.end();
    });
  const watch = new MultiWatch(host, request, resumePosition(http, query), {
    created: (token) => whenOpen((s) => s.send('created', {}, token)),
    events: ({ shard, events, tokenAfter }) => {
      if (stream?.hasRoom === false) return false;
      for (const [i, event] of events.entries()) {
        const at = event.kv.modRevision;
        const token = events[i + 1]?.kv.modRevision === at ? undefined : tokenAfter(at);
        whenOpen((s) => s.send(event.type, eventToJson(event, shard), token));
      }
      return true;
    },
    cancelled: (error) => end(error),
  });
  const memory = holderOf(host, http.raw);
  stream = new EventStream(out, host.limits.watchBufferBytesMax, memory);
  for (const action of early) action();
  const timer = setInterval(() => {
    if (stream?.heartbeat(host.clock.nowMs()) === false) out.destroy();
  }, HEARTBEAT_MS);
  const stop = (): void => {
    watch.close();
    stream?.send('stopping', {}, watch.token());
    out.end();
  };
  open.add(stop);
  const unguard = whenForbidden(host, http, needsOfWatch(request), (error) => {
    watch.close();
    end(error);
  });
  out.on('drain', () => {
    stream?.account();
    watch.resume();
  });
  out.on('close', () => {
    clearInterval(timer);
    open.delete(stop);
    memory.close();
    unguard();
    watch.close();
  });
}

/** GET /v1/kv/watch. Returns how to end all open streams, each with the token to go on from elsewhere. */
export function watchRoute(app: FastifyInstance, host: Host): () => void {
  const open = new Set<() => void>();
  app.get('/v1/kv/watch', {
    schema: {
      tags: ['kv'],
      summary:
        'Server-sent events (put, delete) of a key, prefix or range; the id of an event resumes after it.',
      querystring: WATCH_QUERY,
    },
    handler: async (http, reply) => {
      const refusal = host.refusal();
      if (refusal !== undefined) throw refusal;
      const request = watchRequest(http.query as WatchQuery);
      await checkAllowed(host, http, () => needsOfWatch(request));
      serve(host, { http, request }, reply.raw, open);
      host.metrics.requests.count('rest', 'watch', 'OK');
      reply.hijack();
    },
  });
  return () => {
    for (const stop of [...open]) stop();
  };
}
