/** Whether the sequence still shows what is looked for. */
type Shows<T> = (sequence: readonly T[]) => Promise<boolean>;

/**
 * A shortest sequence, in the sense that no single step and no half, quarter, ... of it can be left out. `shows` holds for the
 * whole.
 */
export async function shrink<T>(whole: readonly T[], shows: Shows<T>): Promise<readonly T[]> {
  let sequence = whole;
  for (let size = Math.ceil(sequence.length / 2); size >= 1; ) {
    const smaller = await withoutPart(sequence, size, shows);
    if (smaller === undefined) size = size === 1 ? 0 : Math.ceil(size / 2);
    else sequence = smaller;
  }
  return sequence;
}

async function withoutPart<T>(
  sequence: readonly T[],
  size: number,
  shows: Shows<T>,
): Promise<readonly T[] | undefined> {
  for (let from = sequence.length - size; from > -size; from -= size) {
    const first = Math.max(0, from);
    const candidate = [...sequence.slice(0, first), ...sequence.slice(from + size)];
    if (candidate.length < sequence.length && (await shows(candidate))) return candidate;
  }
  return undefined;
}

/** Puts simpler steps in the place of these, one at a time, as long as the sequence shows it. */
export async function simplify<T>(
  whole: readonly T[],
  simplerOf: (step: T) => readonly T[],
  shows: Shows<T>,
): Promise<readonly T[]> {
  let sequence = whole;
  for (let at = 0; at < sequence.length; ) {
    const simpler = await withSimpler(sequence, at, { simplerOf, shows });
    if (simpler === undefined) at += 1;
    else sequence = simpler;
  }
  return sequence;
}

async function withSimpler<T>(
  sequence: readonly T[],
  at: number,
  { simplerOf, shows }: { simplerOf: (step: T) => readonly T[]; shows: Shows<T> },
): Promise<readonly T[] | undefined> {
  const step = sequence[at];
  for (const simpler of step === undefined ? [] : simplerOf(step)) {
    const candidate = sequence.with(at, simpler);
    if (await shows(candidate)) return candidate;
  }
  return undefined;
}
