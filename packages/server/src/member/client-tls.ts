import { statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { KvError } from '@kvorum/base';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { readPem } from './peer-options.ts';

/** Certificate, key and authority, PEM. */
export interface ClientTlsPem {
  readonly cert: string;
  readonly key: string;
  /** Signs the clients: those without a certificate of it are refused. */
  readonly ca?: string;
}

/** TLS of the client port. */
export interface ClientTls extends ClientTlsPem {
  /** What stands in the files now, if that is something else than before, and usable. To be asked before each handshake. */
  renewed(): ClientTlsPem | undefined;
}

/** As configured, read from its files. Errors: KV_CONFIG. */
export function clientTls(config: KvdConfig, logger: Logger): ClientTls | undefined {
  const files = config.clientTls;
  if (files === undefined) return undefined;
  const paths = [files.certFile, files.keyFile, ...(files.caFile ? [files.caFile] : [])];
  let seen = stampOf(paths);
  const pem = read(files);
  return {
    ...pem,
    renewed() {
      const stamp = stampOf(paths);
      if (stamp === seen) return undefined;
      seen = stamp;
      try {
        const now = read(files);
        logger.info('clientTls: certificates are read again');
        return now;
      } catch (error) {
        // Such as a new certificate whose key is not there yet; it is looked at again when one of the files changes.
        logger.warn({ err: error }, 'clientTls: changed files are not usable; the old ones stay');
        return undefined;
      }
    },
  };
}

/** Changes when one of the files does. */
function stampOf(paths: readonly string[]): string {
  const stamps = paths.map((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found === undefined ? 'none' : `${found.ino} ${found.size} ${found.mtimeMs}`;
  });
  return stamps.join(',');
}

function read(files: NonNullable<KvdConfig['clientTls']>): ClientTlsPem {
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
