import { create } from '@bufbuild/protobuf';
import {
  WatchCreateRequest_FilterType as Filter,
  type WatchCreateRequest,
  WatchCreateRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  type Event,
  EventSchema,
  Event_EventType as EventType,
} from '@kvorum/wire/gen/mvccpb/kv_pb';
import type { Subject } from './subject.ts';
import type { WatchStream } from './watch-stream.ts';

/** What a watch must be told of. Revisions are relative to the sequence's first. */
export interface Expected {
  readonly request: WatchCreateRequest;
  readonly start: number;
  /** The last revision before it was canceled; undefined = it runs. */
  readonly until: number | undefined;
}

/** A busy machine has kept etcd waiting for more than five seconds. */
const EVENT_MS_MAX = 60_000;
const ZERO = new Uint8Array([0]);

interface LoggedEvent {
  readonly event: Event;
  readonly revision: number;
}

/** The last thing that `Subject.reset` does. */
const BEFORE: LoggedEvent = {
  event: create(EventSchema, { type: EventType.DELETE, kv: { key: ZERO } }),
  revision: 0,
};

/** Everything that happens on the reference, so that it is known how much a watch still has to be told. */
export class EventLog {
  readonly #subject: Subject;
  readonly #stream: WatchStream;
  readonly #events: LoggedEvent[] = [BEFORE];

  private constructor(subject: Subject) {
    this.#subject = subject;
    this.#stream = subject.openStream((events) => {
      for (const event of events) {
        const revision = subject.relative(event.kv?.modRevision ?? 0n);
        this.#events.push({ event, revision });
      }
    });
  }

  static async open(subject: Subject): Promise<EventLog> {
    const log = new EventLog(subject);
    const request = create(WatchCreateRequestSchema, { key: ZERO, rangeEnd: ZERO });
    await log.#stream.watch(request);
    return log;
  }

  /** Waits for the events of this revision, which has some. */
  async reaches(revision: number): Promise<void> {
    const isThere = (): boolean => (this.#events.at(-1)?.revision ?? 0) >= revision;
    await this.#stream.until(isThere, EVENT_MS_MAX);
    if ((this.#events.at(-1)?.revision ?? 0) < revision) {
      throw new Error(`${this.#subject.name} sent no event of its revision base+${revision}`);
    }
  }

  /** How many of the events so far a watch is told of. */
  count({ request, start, until = Number.POSITIVE_INFINITY }: Expected): number {
    return this.#events.filter(
      ({ event, revision }) =>
        revision >= start &&
        revision <= until &&
        inRange(event.kv?.key ?? new Uint8Array(), request) &&
        !request.filters.includes(event.type === EventType.PUT ? Filter.NOPUT : Filter.NODELETE),
    ).length;
  }

  close(): void {
    this.#stream.close();
  }
}

function inRange(key: Uint8Array, { key: from, rangeEnd }: WatchCreateRequest): boolean {
  const first = from.length === 0 ? ZERO : from;
  if (rangeEnd.length === 0) return Buffer.compare(key, first) === 0;
  if (Buffer.compare(key, first) < 0) return false;
  return Buffer.compare(rangeEnd, ZERO) === 0 || Buffer.compare(key, rangeEnd) < 0;
}
