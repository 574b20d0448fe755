import { createSecureContext } from 'node:tls';
import { KvError } from '@kvorum/base';
import type { KvdConfig } from '../config/schema.ts';
import { readPem } from './peer-options.ts';

/** TLS of the client port, PEM. */
export interface ClientTls {
  readonly cert: string;
  readonly key: string;
  /** Signs the clients: those without a certificate of it are refused. */
  readonly ca?: string;
}

/** As configured, read from its files. Errors: KV_CONFIG. */
export function clientTls({ clientTls: files }: KvdConfig): ClientTls | undefined {
  if (files === undefined) return undefined;
  const { certFile, keyFile, caFile } = files;
  const tls = {
    cert: readPem('clientTls', certFile),
    key: readPem('clientTls', keyFile),
    ...(caFile === undefined ? {} : { ca: readPem('clientTls', caFile) }),
  };
  try {
    createSecureContext(tls);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new KvError(
      'KV_CONFIG',
      `clientTls: ${certFile} with ${keyFile} is not usable: ${text}`,
      {
        cause: error,
      },
    );
  }
  return tls;
}
