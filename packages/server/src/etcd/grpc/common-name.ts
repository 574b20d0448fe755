import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** The common name in the certificate that a client has shown and that its authority signed; undefined without one. */
export function commonNameOf(socket: Duplex): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // A certificate with several common names has an array here, and is nobody's.
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' && name !== '' ? name : undefined;
}
