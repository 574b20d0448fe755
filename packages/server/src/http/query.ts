/** As much of a query's JSON schema as tells the types of its fields. */
export interface QuerySchema {
  readonly properties?: Readonly<Record<string, { readonly type?: string }>>;
}

/**
 * The query with the numbers and booleans that its schema asks for. Only decimal digits, `true` and `false` are read: what
 * else JavaScript takes for a number (`0x2`, `1e3`, a space) stays text, which the schema refuses.
 */
export function typedQuery(
  query: Readonly<Record<string, unknown>>,
  schema: QuerySchema,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(query).map(([name, text]) => [
      name,
      typed(text, schema.properties?.[name]?.type),
    ]),
  );
}

function typed(text: unknown, type: string | undefined): unknown {
  if (typeof text !== 'string') return text;
  if (type === 'integer' && /^-?[0-9]{1,16}$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
