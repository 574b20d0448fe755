import type { HeaderList } from '../../http2/header-decoder.ts';

/** What the transport itself looks at in the headers of a request. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly contentType: string | undefined;
  readonly timeout: string | undefined;
  readonly encoding: string | undefined;
}

/** Headers of HTTP/1 connections, which HTTP/2 does not have. RFC 9113 §8.2.2. */
const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  ...['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade'],
]);

type Draft = { -readonly [Name in keyof RequestHead]: RequestHead[Name] };

/** Of no value of HTTP/2: further on it could be taken for the end of a line. RFC 9113 §8.2.1. */
const LINE_END = /[\0\r\n]/;

function isName(name: string): boolean {
  return name !== '' && !OF_CONNECTIONS.has(name) && !/[^!#$%&'*+.^_`|~0-9a-z-]/.test(name);
}

/** False: a pseudo-header that no request has, or twice. */
function takePseudo(draft: Draft, name: string, value: string): boolean {
  if (name === ':path' && draft.path === '') draft.path = value;
  else if (name === ':method' && draft.method === '') draft.method = value;
  else return name === ':scheme' || name === ':authority';
  return true;
}

/** False: a name that no header of HTTP/2 has. */
function takePlain(draft: Draft, name: string, value: string): boolean {
  if (name === 'content-type') draft.contentType = value;
  else if (name === 'grpc-timeout') draft.timeout = value;
  else if (name === 'grpc-encoding') draft.encoding = value;
  else return isName(name);
  return true;
}

/** What was read of lists that come again: calls of a client that are alike share theirs. */
const heads = new WeakMap<HeaderList, RequestHead>();
const metadatas = new WeakMap<HeaderList, ReadonlyMap<string, string>>();

/** Undefined: the headers are no request's. RFC 9113 §8. */
export function headOf(headers: HeaderList): RequestHead | undefined {
  const known = heads.get(headers);
  if (known !== undefined) return known;
  const head = readHead(headers);
  if (head !== undefined) heads.set(headers, head);
  return head;
}

function readHead(headers: HeaderList): RequestHead | undefined {
  const draft: Draft = {
    method: '',
    path: '',
    contentType: undefined,
    timeout: undefined,
    encoding: undefined,
  };
  let hasPlain = false;
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    const isPseudo = name.startsWith(':');
    if (isPseudo && hasPlain) return undefined;
    hasPlain ||= !isPseudo;
    const take = isPseudo ? takePseudo : takePlain;
    if (LINE_END.test(value) || !take(draft, name, value)) return undefined;
  }
  return draft.path === '' || draft.method === '' ? undefined : draft;
}

/** The headers that a caller gives its request; of several values of a name, one after the other. */
export function metadataOf(headers: HeaderList): ReadonlyMap<string, string> {
  const known = metadatas.get(headers);
  if (known !== undefined) return known;
  const metadata = new Map<string, string>();
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    if (name.startsWith(':')) continue;
    const before = metadata.get(name);
    const value = headers[at + 1] ?? '';
    metadata.set(name, before === undefined ? value : `${before},${value}`);
  }
  metadatas.set(headers, metadata);
  return metadata;
}
