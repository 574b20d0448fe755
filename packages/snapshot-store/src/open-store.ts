import { fileURLToPath } from 'node:url';
import { KvError } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import { openDirectoryStore } from './directory-store.ts';

export interface SnapshotStoreSettings {
  /** `dir:///path`, `file:///path`, a plain path, or `s3://bucket/prefix`. */
  readonly store: string;
  /** URL of an S3 server that is not AWS; default AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. */
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** Default: when there is an endpoint. */
  readonly pathStyle?: boolean | undefined;
}

const HINT = 'write dir:///path, a path, or s3://bucket/prefix';

function badStore(store: string, why: string): KvError {
  return new KvError('KV_CONFIG', `snapshot store "${store}": ${why}`, { details: { hint: HINT } });
}

function url(store: string): URL {
  try {
    return new URL(store);
  } catch (error) {
    throw badStore(store, error instanceof Error ? error.message : String(error));
  }
}

function directoryOf(store: string): string {
  if (!/^[a-z0-9+.-]+:\/\//i.test(store)) return store;
  const { protocol, host } = url(store);
  if (protocol !== 'dir:' && protocol !== 'file:')
    throw badStore(store, `unknown kind ${protocol}`);
  if (host !== '') throw badStore(store, 'a path has three slashes: dir:///srv/copies');
  return fileURLToPath(store.replace(/^dir:/i, 'file:'));
}

/** Credentials of an S3 store come from where AWS's tools take them. Errors: KV_CONFIG for a name that is none. */
export async function openSnapshotStore(settings: SnapshotStoreSettings): Promise<SnapshotStore> {
  const { store, region, pathStyle } = settings;
  if (store === '') throw badStore(store, 'it is empty');
  if (!store.startsWith('s3://')) return openDirectoryStore(directoryOf(store));
  const { host: bucket, pathname } = url(store);
  if (bucket === '') throw badStore(store, 'the bucket is missing');
  const path = decodeURIComponent(pathname).replace(/^\/+|\/+$/g, '');
  const { env } = process;
  const endpoint = settings.endpoint ?? env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL'];
  // Loaded only where it is used: AWS's client costs memory and start time.
  const { openS3Store } = await import('./s3-store.ts');
  return openS3Store({
    bucket,
    prefix: path === '' ? '' : `${path}/`,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
  });
}
