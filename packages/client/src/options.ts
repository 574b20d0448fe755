import type { ConnectionOptions } from 'node:tls';
import { DEFAULT_LIMITS, KvError } from '@kvorum/base';
import type { Credentials } from '@kvorum/wire';

/** What every call takes. */
export interface CallOptions {
  /**
   * Aborting rejects the call with KV_CANCELLED; its outcome tells whether the write may still
   * happen.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Time for the whole call, every retry included; precise to about 50 ms. Default: the client's.
   */
  readonly timeoutMs?: number | undefined;
}

export interface ConnectOptions {
  /**
   * Members to start from, e.g. `http://127.0.0.1:2379` (`https:` for TLS). Others are found by
   * themselves.
   */
  readonly endpoints: readonly string[];
  /**
   * What this program calls itself, at most 64 bytes, e.g. `billing@host7`: stored with each of its writes, for `kvctl audit`. Default:
   * nothing is stored.
   */
  readonly name?: string | undefined;
  /** Default time of a call, milliseconds; 7000. */
  readonly timeoutMs?: number | undefined;
  /**
   * Exactly-once writes through a client session (default true). Without it a write whose
   * connection was lost is reported as unknown instead of being retried.
   */
  readonly session?: boolean | undefined;
  /** Calls under way at most; the next one is refused with KV_TOO_MANY_REQUESTS. Default 16384. */
  readonly inflightMax?: number | undefined;
  /** Bytes of keys and values under way at most. Default 64 MiB. */
  readonly inflightBytesMax?: number | undefined;
  /** Use the members' own addresses from the cluster besides `endpoints` (default true). */
  readonly discover?: boolean | undefined;
  /** A connection silent for this long is pinged, and given up this long after the ping. */
  readonly pingIntervalMs?: number | undefined;
  readonly pingTimeoutMs?: number | undefined;
  /** Node's TLS options (`ca`, `cert`, `key`, `servername`, …) for `https:` endpoints. */
  readonly tls?: ConnectionOptions | undefined;
  /** Who this program is, once authorization is enabled: user and password, or a token. Shown with each new connection. */
  readonly auth?: Credentials | undefined;
}

/** {@link ConnectOptions} checked and complete. */
export interface Settings {
  readonly endpoints: readonly string[];
  readonly name: string;
  readonly timeoutMs: number;
  readonly session: boolean;
  readonly inflightMax: number;
  readonly inflightBytesMax: number;
  readonly discover: boolean;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly tls: ConnectionOptions | undefined;
  readonly auth: Credentials | undefined;
}

const MIB = 1024 * 1024;

/** The options that every call takes. */
export const CALL_OPTIONS: readonly string[] = ['signal', 'timeoutMs'];
const CONNECT_OPTIONS: readonly string[] = [
  'endpoints',
  'name',
  'timeoutMs',
  'session',
  'inflightMax',
  'inflightBytesMax',
  'discover',
  'pingIntervalMs',
  'pingTimeoutMs',
  'tls',
  'auth',
];

/**
 * Refuses an option that nobody reads: without a type checker a misspelt one would be ignored in
 * silence. Errors: KV_INVALID_ARGUMENT, or the given code.
 */
export function checkOptions(
  options: unknown,
  known: readonly string[],
  code: 'KV_INVALID_ARGUMENT' | 'KV_CONFIG' = 'KV_INVALID_ARGUMENT',
): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null) {
    throw new KvError(code, 'options must be an object');
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new KvError(code, `unknown option ${name} (known: ${known.join(', ')})`);
  }
}

/**
 * Fills in defaults. Errors: KV_CONFIG for an unknown option, a missing or malformed endpoint or a number that is not
 * positive.
 */
export function settingsOf(options: ConnectOptions): Settings {
  checkOptions(options, CONNECT_OPTIONS, 'KV_CONFIG');
  // Without a type checker nothing may have been given.
  const { endpoints } = { ...options };
  if (!Array.isArray(endpoints) || endpoints.length === 0) {
    throw new KvError(
      'KV_CONFIG',
      'connect needs at least one endpoint, e.g. http://127.0.0.1:2379',
    );
  }
  return {
    endpoints: [...new Set(endpoints.map(normalEndpoint))],
    name: options.name ?? '',
    timeoutMs: positive('timeoutMs', options.timeoutMs ?? DEFAULT_LIMITS.requestTimeoutMs),
    session: options.session ?? true,
    inflightMax: positive('inflightMax', options.inflightMax ?? 16_384),
    inflightBytesMax: positive('inflightBytesMax', options.inflightBytesMax ?? 64 * MIB),
    discover: options.discover ?? true,
    pingIntervalMs: positive('pingIntervalMs', options.pingIntervalMs ?? 1000),
    pingTimeoutMs: positive('pingTimeoutMs', options.pingTimeoutMs ?? 1500),
    tls: options.tls,
    auth: options.auth,
  };
}

function positive(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw new KvError('KV_CONFIG', `${name} must be a number above 0, not ${value}`);
}

/** `127.0.0.1:2379` and `http://127.0.0.1:2379/` both mean `http://127.0.0.1:2379`. */
export function normalEndpoint(endpoint: string): string {
  const text = endpoint.includes('://') ? endpoint : `http://${endpoint}`;
  if (!URL.canParse(text)) throw badEndpoint(endpoint);
  const url = new URL(text);
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') {
    throw badEndpoint(endpoint);
  }
  return `${url.protocol}//${url.host}`;
}

function badEndpoint(endpoint: string): KvError {
  return new KvError('KV_CONFIG', `"${endpoint}" is not an endpoint like http://127.0.0.1:2379`);
}
