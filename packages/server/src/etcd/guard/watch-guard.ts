import { create, type Message } from '@bufbuild/protobuf';
import { type Needs, needsOfWatch } from '@kvorum/auth';
import { isKvError, KvError } from '@kvorum/base';
import {
  type WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Identity } from '../../auth/identity.ts';
import type { Call, Method, Outgoing } from '../service.ts';
import { callerOf, type GuardParts } from './caller.ts';
import { whileAllowed } from './while-allowed.ts';

/** Watch id of an answer to a watch that was never created. Source: etcd clientv3 InvalidWatchID. */
const NO_WATCH_ID = -1n;

/** A call whose requests and answers both are streams. */
export interface StreamCall {
  readonly requests: AsyncIterable<Message>;
  readonly outgoing: Outgoing<Message>;
  readonly call: Call;
}

/** Refusals that wait for answers to watches before them. */
const REFUSED_MAX = 1000;

/** As Go prints the status, which is what etcd sends. */
const GO_CODES: Readonly<Record<string, string>> = {
  KV_UNAUTHENTICATED: 'Unauthenticated',
  KV_AUTH_OLD_REVISION: 'InvalidArgument',
  KV_USER_EMPTY: 'InvalidArgument',
  KV_UNAVAILABLE: 'Unavailable',
};

function reasonOf(refusal: KvError): string {
  return `rpc error: code = ${GO_CODES[refusal.code] ?? 'PermissionDenied'} desc = ${refusal.message}`;
}

/**
 * A watch stream, each of whose watches is asked about when it is created. One that is refused gets etcd's answer, after those to the
 * watches before it, since clients tell them apart by their order. The stream ends when one of its watches would not be allowed any
 * more: the client opens it again, and hears which one.
 */
export async function guardedWatch(
  method: Extract<Method, { readonly kind: 'bidi_streaming' }>,
  parts: GuardParts,
  streamCall: StreamCall,
): Promise<void> {
  const guard = new WatchGuard(parts, streamCall);
  const { call } = streamCall;
  const { metadata, deadlineMs, signal: caller } = call;
  const holds = (change: number): void => call.holds?.(change);
  await whileAllowed(
    parts.source,
    caller,
    () => guard.refusal(),
    (signal) => method.handle(guard.requests(), guard, { metadata, deadlineMs, signal, holds }),
  );
}

interface Watched {
  readonly who: Identity | undefined;
  readonly needs: Needs;
}

class WatchGuard implements Outgoing<Message> {
  readonly #parts: GuardParts;
  readonly #given: StreamCall;
  /** Watches that were let through, by somebody or while authorization was not enabled, and stand; by their ids. */
  readonly #watched = new Map<bigint, Watched>();
  /** Those of them that are not answered yet, in their order. */
  readonly #asked: Watched[] = [];
  /** Watches whose creation was passed on, and how many of them are answered. */
  #passed = 0;
  #answered = 0;
  /** Refusals, each to be sent when so many are answered. */
  #refused: { readonly after: number; readonly answer: WatchResponse }[] = [];

  constructor(parts: GuardParts, given: StreamCall) {
    this.#parts = parts;
    this.#given = given;
  }

  /** Why a watch that was let through would not be any more. */
  refusal(): KvError | undefined {
    for (const { who, needs } of [...this.#watched.values(), ...this.#asked]) {
      const refusal = this.#parts.gate.refusal(who, needs);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  async *requests(): AsyncGenerator<Message, void, undefined> {
    for await (const message of this.#given.requests) {
      const { requestUnion } = message as WatchRequest;
      if (requestUnion.case === 'createRequest') {
        const refusal = await this.#refusalOf(requestUnion.value);
        if (refusal !== undefined) {
          if (this.#refused.length >= REFUSED_MAX) throw new KvError('KV_TOO_MANY_REQUESTS');
          this.#refuse(refusal);
          continue;
        }
        this.#passed += 1;
      }
      yield message;
    }
  }

  async #refusalOf(request: WatchCreateRequest): Promise<KvError | undefined> {
    const { gate, source } = this.#parts;
    const needs = needsOfWatch(request);
    try {
      if (!source.isOpen) await gate.ready(undefined);
      const who = gate.isEnabled ? callerOf(gate, this.#given.call) : undefined;
      const refusal = gate.isEnabled ? gate.refusal(who, needs) : undefined;
      if (refusal === undefined) this.#asked.push({ who, needs });
      return refusal;
    } catch (error) {
      if (isKvError(error)) return error;
      throw error;
    }
  }

  #refuse(refusal: KvError): void {
    const answer = create(WatchResponseSchema, {
      header: this.#parts.headers({ revision: 0 }),
      watchId: NO_WATCH_ID,
      created: true,
      canceled: true,
      cancelReason: reasonOf(refusal),
    });
    this.#refused.push({ after: this.#passed, answer });
    this.#sendRefusals();
  }

  #sendRefusals(): void {
    for (let [first] = this.#refused; first !== undefined; [first] = this.#refused) {
      if (first.after > this.#answered) return;
      this.#refused.shift();
      this.#given.outgoing.send(first.answer);
    }
  }

  send(message: Message): boolean {
    const hasRoom = this.#given.outgoing.send(message);
    const { created, canceled, watchId } = message as WatchResponse;
    if (created) {
      this.#answered += 1;
      const watched = this.#asked.shift();
      if (watched !== undefined && !canceled) this.#watched.set(watchId, watched);
      this.#sendRefusals();
    } else if (canceled) {
      this.#watched.delete(watchId);
    }
    return hasRoom;
  }

  drained(): Promise<void> {
    return this.#given.outgoing.drained();
  }
}
