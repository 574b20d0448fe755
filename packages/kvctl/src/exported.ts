import { fromBase64, isPlain, type Plain, utf8 } from '@kvorum/base';
import type { Entry } from '@kvorum/client';
import { InputError } from './exit.ts';
import { jsonLine, jsonOfEntry } from './output.ts';

/** A key of an export. */
export interface Exported {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Of the lease that it hung on; 0 = none. */
  readonly lease: bigint;
  /** Seconds that the lease was granted for; only in an export with --leases. */
  readonly ttl: number | undefined;
}

/** One line of an export: the JSON of `kvctl get`, with `ttl` for a lease that is to be made again. */
export const exportedLine = (entry: Entry, ttl: number | undefined): string =>
  jsonLine({ ...jsonOfEntry(entry), ...(ttl === undefined ? {} : { ttl }) });

function bytesIn(from: Plain, name: string, at: number): Uint8Array {
  const text = from[name];
  if (typeof text === 'string') return utf8(text);
  const base64 = from[`${name}Base64`];
  const bytes = typeof base64 === 'string' ? fromBase64(base64) : undefined;
  if (bytes !== undefined) return bytes;
  throw new InputError(`line ${at} has no ${name}`, `a "${name}" or a "${name}Base64"`);
}

/**
 * Lines of `kvctl export`, or of anything else that writes objects with `key` and `value` (`keyBase64`, `valueBase64`).
 * Errors: InputError that names the line.
 */
export function parseExported(line: string, at: number): Exported {
  let from: unknown;
  try {
    from = JSON.parse(line);
  } catch {
    // said below
  }
  if (!isPlain(from)) {
    throw new InputError(
      `line ${at} is no JSON object`,
      'one object a line, as kvctl export writes',
    );
  }
  const { lease, ttl } = from;
  const key = bytesIn(from, 'key', at);
  if (key.length === 0) throw new InputError(`line ${at} has an empty key`);
  return {
    key,
    value: bytesIn(from, 'value', at),
    lease: leaseIn(lease, at),
    ttl: typeof ttl === 'number' && ttl > 0 ? ttl : undefined,
  };
}

function leaseIn(lease: unknown, at: number): bigint {
  if (lease === undefined) return 0n;
  if (typeof lease === 'string' && /^-?\d{1,19}$/.test(lease)) return BigInt(lease);
  throw new InputError(`line ${at}: lease must be a text of digits`);
}
