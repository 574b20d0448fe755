import { isKvError, KvError, type KvRequest, type KvResponse, type TxnOp } from '@kvorum/base';
import { isSerializable, validate } from '@kvorum/mvcc';
import type { Host } from '../host.ts';
import type { RoutedResponse, RouteOptions } from '../router/router.ts';
import { GrpcError } from './grpc-error.ts';
import { type HeaderMaker, headersOf, type ResponseHeader } from './header.ts';
import { routeOptionsOf } from './route-options.ts';
import type { Call } from './service.ts';

/** An answer of the kind that its request has. */
export type AnswerTo<Request extends KvRequest> = Extract<
  KvResponse,
  { readonly op: Request['op'] }
>;

export interface Answered<Request extends KvRequest> {
  readonly response: AnswerTo<Request>;
  readonly header: ResponseHeader;
}

/** Runs requests for the etcd services: checks, route, header. */
export class KvCalls {
  readonly host: Host;
  readonly #headers: HeaderMaker;

  constructor(host: Host) {
    this.host = host;
    this.#headers = headersOf(host);
  }

  /** Errors: those of validation in etcd's order; FAILED_PRECONDITION that tells keys of several shards apart; the router's. */
  async run<Request extends KvRequest>(request: Request, call: Call): Promise<Answered<Request>> {
    const fault = validate(request, this.host.limits);
    if (fault !== undefined) throw fault;
    try {
      const options = routeOptionsOf(this.host, call, request);
      const { response, shards } = await this.#execute(request, options);
      const [shard] = Object.keys(shards);
      const header = this.#headers({ revision: response.revision, shard });
      return { response: response as AnswerTo<Request>, header };
    } catch (error) {
      throw explained(
        error,
        this.host.clock.nowMs() < (call.deadlineMs ?? Number.POSITIVE_INFINITY),
      );
    }
  }

  /**
   * A revision that a local reading does not find may only not have come here yet: clients that read at several endpoints ask for it.
   * etcd refuses them at once; here a linearizable reading waits for what there is, within the deadline.
   */
  async #execute(request: KvRequest, options: RouteOptions): Promise<RoutedResponse> {
    try {
      return await this.host.router.execute(request, options);
    } catch (error) {
      const mayCome = isKvError(error) && error.code === 'KV_FUTURE_REVISION';
      if (!mayCome || !isSerializable(request)) throw error;
      return this.host.router.execute(proven(request), options);
    }
  }
}

/** The same reading of what is proven to be current. */
function proven(request: KvRequest): KvRequest {
  if (request.op === 'range') return { ...request, serializable: false };
  if (request.op !== 'txn') return request;
  const ops = (branch: readonly TxnOp[]): readonly TxnOp[] =>
    branch.map((op) => (op.op === 'range' ? { ...op, serializable: false } : op));
  return { ...request, success: ops(request.success), failure: ops(request.failure) };
}

/**
 * Over gRPC a message is all there is of an error: what would bring the keys together has to be part of it. And a deadline of this
 * member's own is, for the caller, a request that timed out.
 */
export function explained(error: unknown, isOwnDeadline: boolean): unknown {
  if (!isKvError(error)) return error;
  if (error.code === 'KV_DEADLINE' && isOwnDeadline) {
    return new KvError('KV_TIMEOUT', error.message, { cause: error, outcome: error.outcome });
  }
  if (error.code !== 'KV_CROSS_SHARD') return error;
  const { hint } = error.details;
  return new GrpcError('FAILED_PRECONDITION', `${error.message}. ${hint ?? ''}`.trimEnd());
}
