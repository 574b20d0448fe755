import type { IncomingHttpHeaders } from 'node:http';

const PREFIX = 'grpc-metadata-';

/**
 * What the headers of a request say to the service: `Authorization`, also without its `Bearer ` as `token`, and those that begin with
 * `Grpc-Metadata-`, without that. The rest is the connection's.
 */
export function metadataOf(headers: IncomingHttpHeaders): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  const { authorization } = headers;
  if (authorization !== undefined) {
    metadata.set('authorization', authorization);
    metadata.set('token', authorization.replace(/^Bearer /i, ''));
  }
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || !name.startsWith(PREFIX)) continue;
    metadata.set(name.slice(PREFIX.length), typeof value === 'string' ? value : value.join(','));
  }
  return metadata;
}
