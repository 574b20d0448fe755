import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { KvError } from '@kvorum/base';
import { errorFromPlain, type PeerItem } from '@kvorum/wire';
import { helloRefusal, ownHello } from './handshake.ts';
import type { PeerTransportOptions } from './peer-options.ts';
import { PeerSocket } from './peer-socket.ts';

export type AskOptions = Pick<
  PeerTransportOptions,
  'self' | 'clusterId' | 'diskId' | 'tls' | 'limits' | 'clock' | 'rng'
>;

const REQUEST_ID = 1;

/**
 * One question to whichever member answers at an address, over a connection of its own: for a member that does not know yet who it is
 * and who the others are. `options.self` is then an id that no member has.
 *
 * Errors: KV_UNAVAILABLE when nobody answers or the answer is refused; what the member answered; the abort.
 */
export function askPeer(
  address: { readonly host: string; readonly port: number },
  payload: unknown,
  options: AskOptions & { readonly signal: AbortSignal },
): Promise<unknown> {
  const { tls, limits, signal } = options;
  const where = `${address.host}:${address.port}`;
  // Nothing is listened on and nobody is a peer: what the handshake needs and no more.
  const transport: PeerTransportOptions = { ...options, listen: address, peers: [] };
  return new Promise((resolve, reject) => {
    const raw: Socket =
      tls === undefined ? connectTcp(address) : connectTls({ ...address, ...tls });
    let greeted = false;
    const socket = new PeerSocket(raw, limits, {
      onItem: (item) => {
        if (greeted) answered(item);
        else greet(item);
      },
      onClosed: ({ text }) => {
        signal.removeEventListener('abort', onAbort);
        reject(new KvError('KV_UNAVAILABLE', `${where}: ${text}`));
      },
    });
    const onAbort = (): void => socket.destroy('no answer in time');
    const greet = (item: PeerItem): void => {
      const refusal = helloRefusal(transport, item);
      if (refusal !== undefined) {
        socket.destroy(refusal);
        return;
      }
      greeted = true;
      socket.item({ kind: 'request', id: REQUEST_ID, payload }, payload);
    };
    const answered = (item: PeerItem): void => {
      if (item.kind === 'response') resolve(item.payload);
      else if (item.kind === 'response-error') reject(errorFromPlain(item.error));
      else return;
      socket.destroy('answered');
    };
    raw.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      socket.item(ownHello(transport));
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
