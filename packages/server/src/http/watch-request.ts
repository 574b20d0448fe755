import { err, KvError, ok, type Result, type WatchFilter, type WatchRequest } from '@kvorum/base';

const FIELDS = ['key', 'rangeEnd', 'startRevision', 'prevKv', 'filters', 'progressNotify'];
const FILTERS: readonly WatchFilter[] = ['no-put', 'no-delete'];

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', what));

function isFilters(value: unknown): value is readonly WatchFilter[] {
  return Array.isArray(value) && value.every((item) => FILTERS.some((filter) => filter === item));
}

const absent = (value: unknown): value is undefined | null => value === undefined || value === null;

/** Checks a plain watch request. Errors: KV_MALFORMED naming the field and what was expected. */
export function parseWatchRequest(value: unknown): Result<WatchRequest, KvError> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return malformed('a watch request must be an object');
  }
  const from = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(from)) {
    if (!FIELDS.includes(name)) return malformed(`${name} is not a known field (known: ${FIELDS.join(', ')})`);
  }
  const { key, rangeEnd, startRevision, prevKv, filters, progressNotify } = from;
  if (!(key instanceof Uint8Array)) return malformed('key must be bytes');
  if (!absent(rangeEnd) && !(rangeEnd instanceof Uint8Array)) return malformed('rangeEnd must be bytes');
  if (!absent(startRevision) && !(Number.isSafeInteger(startRevision) && (startRevision as number) >= 0)) {
    return malformed('startRevision must be an integer >= 0');
  }
  if (!absent(prevKv) && typeof prevKv !== 'boolean') return malformed('prevKv must be true or false');
  if (!absent(progressNotify) && typeof progressNotify !== 'boolean') {
    return malformed('progressNotify must be true or false');
  }
  if (!absent(filters) && !isFilters(filters)) return malformed(`filters must list ${FILTERS.join(', ')}`);
  return ok({
    key,
    ...(absent(rangeEnd) ? {} : { rangeEnd }),
    ...(absent(startRevision) ? {} : { startRevision: startRevision as number }),
    ...(absent(prevKv) ? {} : { prevKv }),
    ...(absent(filters) ? {} : { filters }),
    ...(absent(progressNotify) ? {} : { progressNotify }),
  });
}
