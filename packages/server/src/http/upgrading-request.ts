import { IncomingMessage } from 'node:http';

const offered = new WeakSet<IncomingMessage>();

/**
 * A request that may become a WebSocket and nothing else. Clients that prefer HTTP/2 ask for it in every request (`Upgrade: h2c`; Java's
 * does so by itself): what a server does not know it ignores, and answers. RFC 9110 §7.8. Node gives every such request to whoever
 * listens for one kind of them.
 */
export class UpgradingRequest extends IncomingMessage {
  get upgrade(): boolean {
    return offered.has(this) && this.headers.upgrade?.toLowerCase() === 'websocket';
  }

  // Set by the constructor above already: a field of this class would not be there yet.
  set upgrade(isOffered: boolean) {
    if (isOffered) offered.add(this);
  }
}
