/** A program of another language that a test needs, or why there is none. */
export type Found =
  | { readonly kind: 'found'; readonly path: string }
  | { readonly kind: 'missing'; readonly reason: string };

/** Says loudly that tests are skipped. With KVORUM_REQUIRE_CLIENTS=1 it is an error instead, unless they may be. */
export function orSkip(name: string, found: Found, isOptional = false): string | undefined {
  if (found.kind === 'found') return found.path;
  if (process.env['KVORUM_REQUIRE_CLIENTS'] === '1' && !isOptional) {
    throw new Error(`KVORUM_REQUIRE_CLIENTS=1, but there is no ${name}: ${found.reason}`);
  }
  process.stderr.write(`SKIPPED ${name}: ${found.reason}\n`);
  return undefined;
}
