import {
  err,
  isCount,
  isShardId,
  KvError,
  ok,
  type Plain,
  type Result,
  type ShardId,
  type WatchEvent,
  type WatchRequest,
} from '@kvorum/base';
import { errorFromPlain, plainError } from '@kvorum/wire';
import { parseWatchRequest } from '../http/watch-request.ts';
import { eventOfPlain, plainEvent } from './plain-event.ts';

/**
 * Watches of a shard that the asking member has no replica of, over requests with one answer each. All watches from one member at
 * another form a *link*, named by the asker. `watch-open` adds one to it; one `watch-poll` at a time waits for whatever they have
 * to tell, in order. A link that either side lost is lost as a whole: the asker opens its watches anew where they stood.
 */
export type WatchMessage =
  | {
      readonly kind: 'watch-open';
      readonly link: string;
      /** Begins the link: unless this is set, one that is not known has been lost. */
      readonly first: boolean;
      readonly id: number;
      readonly shard: ShardId;
      readonly request: WatchRequest;
    }
  | { readonly kind: 'watch-poll'; readonly link: string }
  /** Asks for a mark of progress of one watch; it comes with a poll, in order. */
  | { readonly kind: 'watch-progress'; readonly link: string; readonly id: number }
  | { readonly kind: 'watch-cancel'; readonly link: string; readonly id: number };

/** What a watch tells its asker. A batch too large for one answer comes in parts; the last of them is `events`. */
export type WatchItem =
  | { readonly kind: 'created'; readonly id: number; readonly revision: number }
  | { readonly kind: 'part'; readonly id: number; readonly events: readonly WatchEvent[] }
  | {
      readonly kind: 'events';
      readonly id: number;
      readonly events: readonly WatchEvent[];
      readonly revision: number;
      readonly bytes: number;
    }
  | { readonly kind: 'cancelled'; readonly id: number; readonly error: KvError };

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', `forwarded watch: ${what}`));

const WATCH_KINDS = ['watch-open', 'watch-poll', 'watch-progress', 'watch-cancel'];

/** Whether a request of another member is one about watches. */
export function isWatchMessage(kind: unknown): boolean {
  return WATCH_KINDS.some((known) => known === kind);
}

/** Checks a payload of another member. Errors: KV_MALFORMED. */
export function parseWatchMessage(from: Plain): Result<WatchMessage, KvError> {
  const { kind, link, id, shard, first } = from as Readonly<
    Record<'kind' | 'link' | 'id' | 'shard' | 'first', unknown>
  >;
  if (typeof link !== 'string' || link === '' || link.length > 64) return malformed('link');
  if (kind === 'watch-poll') return ok({ kind, link });
  if (!isCount(id)) return malformed('id');
  if (kind === 'watch-cancel' || kind === 'watch-progress') return ok({ kind, link, id });
  if (kind !== 'watch-open' || !isShardId(shard)) return malformed('shard');
  const request = parseWatchRequest(from['request']);
  if (!request.ok) return request;
  return ok({ kind, link, first: first === true, id, shard, request: request.value });
}

function plainItem(item: WatchItem): readonly unknown[] {
  switch (item.kind) {
    case 'created':
      return [item.kind, item.id, item.revision];
    case 'part':
      return [item.kind, item.id, item.events.map(plainEvent)];
    case 'events':
      return [item.kind, item.id, item.events.map(plainEvent), item.revision, item.bytes];
    case 'cancelled':
      return [item.kind, item.id, plainError(item.error)];
  }
}

export function encodeWatchItems(items: readonly WatchItem[]): unknown {
  return { items: items.map(plainItem) };
}

function eventsOf(plain: unknown): readonly WatchEvent[] | undefined {
  if (!Array.isArray(plain)) return undefined;
  const events: WatchEvent[] = [];
  for (const one of plain as readonly unknown[]) {
    const event = eventOfPlain(one);
    if (event === undefined) return undefined;
    events.push(event);
  }
  return events;
}

function itemOf(plain: unknown): WatchItem | undefined {
  if (!Array.isArray(plain)) return undefined;
  const [kind, id, third, revision, bytes] = plain as readonly unknown[];
  if (!isCount(id)) return undefined;
  if (kind === 'created') return isCount(third) ? { kind, id, revision: third } : undefined;
  if (kind === 'cancelled') return { kind, id, error: errorFromPlain(third) };
  const events = eventsOf(third);
  if (events === undefined) return undefined;
  if (kind === 'part') return { kind, id, events };
  if (kind !== 'events' || !isCount(revision) || !isCount(bytes)) return undefined;
  return { kind, id, events, revision, bytes };
}

/** Reads the answer to a poll. Errors: the one it holds; KV_MALFORMED, after which nothing of the link can be relied on. */
export function parseWatchItems(answer: unknown): Result<readonly WatchItem[], KvError> {
  if (typeof answer !== 'object' || answer === null) return malformed('answer');
  const { items, error } = answer as Readonly<Record<'items' | 'error', unknown>>;
  if (error !== undefined) return err(errorFromPlain(error));
  if (!Array.isArray(items)) return malformed('answer');
  const parsed: WatchItem[] = [];
  for (const one of items as readonly unknown[]) {
    const item = itemOf(one);
    if (item === undefined) return malformed('item');
    parsed.push(item);
  }
  return ok(parsed);
}
