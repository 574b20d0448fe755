import type { Message } from '@bufbuild/protobuf';
import type { Host } from '../host.ts';
import { checkLeaders, requiresLeader } from './route-options.ts';
import type { Call, Method, Outgoing, Service } from './service.ts';

/**
 * A service whose requests name no keys: who requires a leader is refused while one of these shards has none. Requests about keys,
 * leases and watches ask about their own shards.
 */
export function requiringLeaders(
  host: Pick<Host, 'leaders'>,
  { name, methods }: Service,
  shards: () => readonly string[],
): Service {
  const check = (call: Call): void => {
    if (requiresLeader(call)) checkLeaders(host, shards());
  };
  return { name, methods: methods.map((method) => checked(method, check)) };
}

function checked(method: Method, check: (call: Call) => void): Method {
  switch (method.kind) {
    case 'unary':
      return {
        ...method,
        handle: async (request: Message, call: Call) => {
          check(call);
          return method.handle(request, call);
        },
      };
    case 'server_streaming':
      return {
        ...method,
        handle: async (request: Message, outgoing: Outgoing<Message>, call: Call) => {
          check(call);
          return method.handle(request, outgoing, call);
        },
      };
    case 'bidi_streaming':
      return method;
  }
}
