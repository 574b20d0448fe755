import type { Message } from '@bufbuild/protobuf';
import type { WatchCreateRequest } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { MethodName } from './methods.ts';
import { textOf } from './normal-form.ts';

/** One step of a sequence. Numbers in requests may be symbols (`symbols.ts`). */
export type Operation =
  | {
      readonly kind: 'call';
      readonly method: MethodName;
      readonly request: Message;
      /** With the token that this user got last; absent = with none. */
      readonly as?: string;
    }
  | { readonly kind: 'keepAlive'; readonly id: bigint }
  /** Grants a lease of the shortest time, hangs keys on it, and waits until it has run out. */
  | { readonly kind: 'expire'; readonly id: bigint; readonly keys: readonly Uint8Array[] }
  | { readonly kind: 'watch'; readonly stream: number; readonly request: WatchCreateRequest }
  | { readonly kind: 'cancel'; readonly stream: number; readonly watchId: bigint }
  | { readonly kind: 'progress'; readonly stream: number }
  /** The client says that it will send no more on this stream, and goes on listening. */
  | { readonly kind: 'halfClose'; readonly stream: number };

/** One line, from which the request can be written again by hand. */
export function operationText(operation: Operation): string {
  switch (operation.kind) {
    case 'call':
      return `${operation.method} ${textOf(operation.request)}${operation.as === undefined ? '' : ` as ${operation.as}`}`;
    case 'keepAlive':
      return `keepAlive ${textOf({ id: operation.id })}`;
    case 'expire':
      return `let lease ${operation.id} of ${textOf({ keys: operation.keys })} expire`;
    case 'watch':
      return `watch on stream ${operation.stream} ${textOf(operation.request)}`;
    case 'cancel':
      return `cancel watch ${operation.watchId} on stream ${operation.stream}`;
    case 'progress':
      return `ask stream ${operation.stream} for its progress`;
    case 'halfClose':
      return `half-close stream ${operation.stream}`;
  }
}
