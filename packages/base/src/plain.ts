/** What decoding yields that nobody has looked at yet: its fields may be missing or of any type. */
export type Plain = Readonly<Record<string, unknown>>;

/** A length, index, revision or count, as a decoded message may hold it: a safe integer that is not negative. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
