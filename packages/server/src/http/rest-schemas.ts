/** JSON schemas of the REST bodies: fastify refuses what does not fit, and the OpenAPI page shows them. */
const BYTES = {
  description: 'A string (UTF-8) or {"base64": "..."}.',
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: { base64: { type: 'string' } },
      required: ['base64'],
      additionalProperties: false,
    },
  ],
} as const;

const BOOL = { type: 'boolean' } as const;
const INTEGER = { type: 'integer' } as const;
const LEASE = {
  type: 'string',
  pattern: '^-?[0-9]{1,19}$',
  description: '64-bit lease id.',
} as const;
const TIMEOUT = {
  type: 'integer',
  minimum: 1,
  maximum: 3_600_000,
  description: 'Deadline in milliseconds; the member’s default when absent.',
} as const;

const RANGE_FIELDS = {
  key: BYTES,
  rangeEnd: BYTES,
  prefix: { ...BOOL, description: 'All keys that start with `key`.' },
} as const;

const object = <P extends object>(properties: P, required: readonly string[]): object => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});

export const TIMEOUT_QUERY: object = object({ timeoutMs: TIMEOUT }, []);

export const KEY_QUERY: object = object(
  {
    timeoutMs: TIMEOUT,
    encoding: {
      type: 'string',
      enum: ['utf8', 'base64'],
      description: 'How the key in the path is written.',
    },
  },
  [],
);

export const GET_QUERY: object = object(
  {
    timeoutMs: TIMEOUT,
    encoding: { type: 'string', enum: ['utf8', 'base64'] },
    revision: INTEGER,
    serializable: BOOL,
  },
  [],
);

export const DELETE_QUERY: object = object(
  { timeoutMs: TIMEOUT, encoding: { type: 'string', enum: ['utf8', 'base64'] }, prevKv: BOOL },
  [],
);

export const RANGE_BODY: object = object(
  {
    ...RANGE_FIELDS,
    limit: INTEGER,
    revision: INTEGER,
    sortOrder: { type: 'string', enum: ['none', 'ascend', 'descend'] },
    sortTarget: { type: 'string', enum: ['key', 'version', 'create', 'mod', 'value'] },
    serializable: BOOL,
    keysOnly: BOOL,
    countOnly: BOOL,
    minModRevision: INTEGER,
    maxModRevision: INTEGER,
    minCreateRevision: INTEGER,
    maxCreateRevision: INTEGER,
  },
  ['key'],
);

const PUT_FIELDS = {
  value: BYTES,
  lease: LEASE,
  prevKv: BOOL,
  ignoreValue: BOOL,
  ignoreLease: BOOL,
} as const;

export const PUT_BODY: object = object({ key: BYTES, ...PUT_FIELDS }, ['key']);

export const DELETE_BODY: object = object({ ...RANGE_FIELDS, prevKv: BOOL }, ['key']);

const OPS = {
  type: 'array',
  description:
    'Operations: {"op": "put" | "range" | "delete-range" | "txn", ...fields of that request}.',
  items: { type: 'object' },
} as const;

export const TXN_BODY: object = object(
  {
    compare: {
      type: 'array',
      description: 'All must hold: {key, target, result, value}.',
      items: object(
        {
          ...RANGE_FIELDS,
          target: { type: 'string', enum: ['version', 'create', 'mod', 'value', 'lease'] },
          result: { type: 'string', enum: ['equal', 'greater', 'less', 'not-equal'] },
          value: {},
        },
        ['key', 'target', 'result', 'value'],
      ),
    },
    success: OPS,
    failure: OPS,
  },
  [],
);

export const COMPACT_BODY: object = object(
  {
    shard: { type: 'string', description: 'Every shard has revisions of its own.' },
    revision: INTEGER,
    physical: BOOL,
  },
  ['shard', 'revision'],
);

export const WATCH_QUERY: object = object(
  {
    key: { type: 'string' },
    rangeEnd: { type: 'string' },
    prefix: BOOL,
    encoding: { type: 'string', enum: ['utf8', 'base64'] },
    startRevision: { ...INTEGER, minimum: 0, description: 'Only where one shard holds the range.' },
    prevKv: BOOL,
    noPut: BOOL,
    noDelete: BOOL,
    resume: { type: 'string', description: 'The id of the last event; also as Last-Event-ID.' },
  },
  ['key'],
);
