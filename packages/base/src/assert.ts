/**
 * A broken invariant: a bug of ours, never bad input. Nothing below a process's `main` may catch it;
 * the process stops with its stack and restarts from disk (halt rather than diverge).
 */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Throws {@link InvariantError} unless `condition` holds. Stays on in production. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Marks a branch the type checker has proven unreachable; throws if data breaks the proof. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${String(value)}`);
}
