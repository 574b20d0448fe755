import {
  err,
  isCount,
  KvError,
  ok,
  type Result,
  type WatchFilter,
  type WatchRequest,
} from '@kvorum/base';

const FILTERS: readonly WatchFilter[] = ['no-put', 'no-delete'];

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', what));

function isFilters(value: unknown): value is readonly WatchFilter[] {
  return Array.isArray(value) && value.every((item) => FILTERS.some((filter) => filter === item));
}

const absent = (value: unknown): value is undefined | null => value === undefined || value === null;

type Check = readonly [test: (value: unknown) => boolean, expected: string];

const isBytes: Check = [(value) => value instanceof Uint8Array, 'bytes'];
const isFlag: Check = [(value) => typeof value === 'boolean', 'true or false'];

function isSlots(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((span: unknown) => Array.isArray(span) && span.length === 2 && span.every(isCount))
  );
}

const CHECKS: Readonly<Record<string, Check>> = {
  key: isBytes,
  rangeEnd: isBytes,
  startRevision: [isCount, 'an integer of at least 0'],
  prevKv: isFlag,
  filters: [isFilters, `a list of ${FILTERS.join(', ')}`],
  progressNotify: isFlag,
  slots: [isSlots, 'a list of pairs of slots'],
};

/** Checks a plain watch request. Errors: KV_MALFORMED naming the field and what was expected. */
export function parseWatchRequest(value: unknown): Result<WatchRequest, KvError> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return malformed('a watch request must be an object');
  }
  const request: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name] : undefined;
    if (check === undefined) {
      const known = Object.keys(CHECKS).join(', ');
      return malformed(`${name} is not a known field (known: ${known})`);
    }
    if (absent(field)) continue;
    if (!check[0](field)) return malformed(`${name} must be ${check[1]}`);
    request[name] = field;
  }
  return isComplete(request) ? ok(request) : malformed('key must be bytes');
}

/** Every present field has passed its check; only the one that must be there is left. */
function isComplete(request: object): request is WatchRequest {
  return 'key' in request;
}
