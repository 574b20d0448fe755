import { create, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { WatchEvent, WatchFilter, WatchRequest } from '@kvorum/base';
import {
  WatchCreateRequest_FilterType as Filter,
  type WatchCreateRequest,
  type WatchResponse,
  type WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { type Event, Event_EventType, EventSchema } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { keyValueMessage, numberOf } from './kv-messages.ts';

/** Tag and length before an event within a response. */
const EVENT_FRAME_BYTES = 6;
/** Of a response beside its events, at most. */
const RESPONSE_BYTES = 128;

/** A copy of it costs a fraction of making one. */
const EMPTY = create(EventSchema);

/** Events are shared by all watches that get them: each is made into a message once. */
const messages = new WeakMap<WatchEvent, Event>();

export function eventMessage(event: WatchEvent): Event {
  const known = messages.get(event);
  if (known !== undefined) return known;
  const kv = keyValueMessage(event.kv);
  const type = event.type === 'put' ? Event_EventType.PUT : Event_EventType.DELETE;
  const message = { ...EMPTY, type, kv };
  if (event.prevKv !== undefined) message.prevKv = keyValueMessage(event.prevKv);
  messages.set(event, message);
  return message;
}

/** An empty key means the lowest one, whatever the range end says. */
export function watchRequestOf(message: WatchCreateRequest): WatchRequest {
  const filters = message.filters.flatMap((filter): WatchFilter[] => {
    if (filter === Filter.NOPUT) return ['no-put'];
    return filter === Filter.NODELETE ? ['no-delete'] : [];
  });
  const { key, rangeEnd, progressNotify, prevKv } = message;
  return {
    key: key.length === 0 ? Uint8Array.of(0) : key,
    startRevision: numberOf(message.startRevision),
    filters,
    prevKv,
    progressNotify,
    ...(rangeEnd.length === 0 ? {} : { rangeEnd }),
  };
}

const bytesOf = (event: Event): number => toBinary(EventSchema, event).length + EVENT_FRAME_BYTES;

function roughBytes(events: readonly Event[]): number {
  let bytes = RESPONSE_BYTES;
  for (const { kv, prevKv } of events) {
    for (const one of [kv, prevKv]) bytes += (one?.key.length ?? 0) + (one?.value.length ?? 0) + 64;
  }
  return bytes;
}

/**
 * One response, or several where it would exceed `bytesMax`: then all but the last say that more of the same revisions comes. A
 * fragment holds at least one event, however large. Source: etcd server/etcdserver/api/v3rpc/watch.go (sendFragments).
 */
export function fragmentsOf(response: WatchResponse, bytesMax: number): readonly WatchResponse[] {
  const { events } = response;
  if (events.length < 2 || roughBytes(events) < bytesMax) return [response];
  const fragments: MessageShape<typeof WatchResponseSchema>[] = [];
  let part: Event[] = [];
  let bytes = RESPONSE_BYTES;
  for (const event of events) {
    const more = bytesOf(event);
    if (part.length > 0 && bytes + more >= bytesMax) {
      fragments.push({ ...response, events: part, fragment: true });
      part = [];
      bytes = RESPONSE_BYTES;
    }
    part.push(event);
    bytes += more;
  }
  fragments.push({ ...response, events: part });
  return fragments;
}
