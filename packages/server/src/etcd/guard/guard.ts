import type { Message } from '@bufbuild/protobuf';
import { type Needs, noNeeds } from '@kvorum/auth';
import { KvError } from '@kvorum/base';
import type { Identity } from '../../auth/identity.ts';
import type { Call, Method, Outgoing, Service } from '../service.ts';
import { callerOf, type GuardParts } from './caller.ts';
import { type Rule, ruleOf } from './rules.ts';
import { guardedWatch, type StreamCall } from './watch-guard.ts';
import { whileAllowed } from './while-allowed.ts';

/** These may wait for long: what they need has to hold until they answer. */
const LONG: ReadonlySet<string> = new Set(['v3lockpb.Lock/Lock', 'v3electionpb.Election/Campaign']);

/** The services as both transports serve them: nothing reaches a handler but what its rule lets through. */
export function guarded(services: readonly Service[], parts: GuardParts): readonly Service[] {
  return services.map(({ name, methods }) => ({
    name,
    methods: methods.map((method) => {
      const called = method.descriptor.name;
      const guard = new Guard(ruleOf(name, called), parts, LONG.has(`${name}/${called}`));
      return guard.around(method);
    }),
  }));
}

/** A call that was let through. */
class AllowedCall implements Call {
  readonly metadata: Call['metadata'];
  readonly deadlineMs: number | undefined;
  readonly signal: AbortSignal;
  readonly user: string;
  readonly #call: Call;

  constructor(call: Call, user: string, signal: AbortSignal) {
    this.#call = call;
    this.metadata = call.metadata;
    this.deadlineMs = call.deadlineMs;
    this.signal = signal;
    this.user = user;
  }

  holds(change: number): void {
    this.#call.holds?.(change);
  }
}

interface Allowed {
  readonly who: Identity;
  readonly needs: Needs;
}

class Guard {
  readonly #rule: Rule | undefined;
  readonly #parts: GuardParts;
  readonly #isLong: boolean;

  constructor(rule: Rule | undefined, parts: GuardParts, isLong: boolean) {
    this.#rule = rule;
    this.#parts = parts;
    this.#isLong = isLong;
  }

  around(method: Method): Method {
    if (this.#rule === 'open') return method;
    const { source } = this.#parts;
    switch (method.kind) {
      case 'unary':
        return {
          ...method,
          handle: (request: Message, call: Call) =>
            source.isOpen
              ? method.handle(request, call)
              : this.#unary((allowed) => method.handle(request, allowed), request, call),
        };
      case 'server_streaming':
        return {
          ...method,
          handle: (request: Message, outgoing: Outgoing<Message>, call: Call) =>
            this.#stream((allowed) => method.handle(request, outgoing, allowed), request, call),
        };
      case 'bidi_streaming':
        return {
          ...method,
          handle: (requests: AsyncIterable<Message>, outgoing: Outgoing<Message>, call: Call) =>
            this.#both(method, { requests, outgoing, call }),
        };
    }
  }

  async #unary(
    run: (call: Call) => Promise<Message>,
    request: Message,
    call: Call,
  ): Promise<Message> {
    const allowed = await this.#allow(request, call);
    if (allowed === undefined) return run(call);
    if (this.#isLong) return this.#while(allowed, call, run);
    return run(new AllowedCall(call, allowed.who.user, call.signal));
  }

  /** It goes on only for as long as it would be allowed; that authorization is enabled meanwhile ends those of nobody. */
  async #stream(
    run: (call: Call) => Promise<void>,
    request: Message | undefined,
    call: Call,
  ): Promise<void> {
    const allowed = await this.#allow(request, call);
    return this.#while(allowed, call, run);
  }

  #both(
    method: Extract<Method, { readonly kind: 'bidi_streaming' }>,
    stream: StreamCall,
  ): Promise<void> {
    if (this.#rule === 'watch') return guardedWatch(method, this.#parts, stream);
    const { requests, outgoing, call } = stream;
    return this.#stream((allowed) => method.handle(requests, outgoing, allowed), undefined, call);
  }

  /** Undefined while authorization is not enabled. Errors: why it is not allowed. */
  async #allow(request: Message | undefined, call: Call): Promise<Allowed | undefined> {
    const { gate, source } = this.#parts;
    if (source.isOpen) return undefined;
    await gate.ready(call.deadlineMs);
    if (!gate.isEnabled) return undefined;
    const who = callerOf(gate, call);
    if (who === undefined) throw new KvError('KV_USER_EMPTY');
    const needs = this.#needs(request, who);
    await gate.authorize(who, needs);
    return { who, needs };
  }

  #needs(request: Message | undefined, who: Identity): Needs {
    const rule = this.#rule;
    if (rule === 'user') return noNeeds();
    if (rule === 'root' || rule === undefined || request === undefined) {
      if (rule === undefined) throw new KvError('KV_PERMISSION_DENIED', 'nobody may call this');
      return { ...noNeeds(), root: true };
    }
    if (typeof rule === 'string') throw new KvError('KV_PERMISSION_DENIED');
    return rule(request, { user: who.user, state: this.#parts.source.state });
  }

  #while<Answer>(
    allowed: Allowed | undefined,
    call: Call,
    run: (call: Call) => Promise<Answer>,
  ): Promise<Answer> {
    const { gate, source } = this.#parts;
    const { who, needs = noNeeds() } = allowed ?? {};
    return whileAllowed(
      source,
      call.signal,
      () => gate.refusal(who, needs),
      (signal) => run(new AllowedCall(call, who?.user ?? '', signal)),
    );
  }
}
