import { setFlagsFromString } from 'node:v8';

/**
 * A member that is asked a few hundred times a second runs its code too rarely for V8's defaults: they are made for start-up, let a
 * function run some thousand times before it is compiled well, and the path of a write is many functions that run once a record. See
 * docs/adr/0021-code-is-compiled-sooner.md for what it brings and costs.
 */
const FLAGS: readonly string[] = ['--no-lazy-feedback-allocation', '--interrupt-budget=20000'];

/** Compiles what runs again sooner than V8 would by itself. What Node was started with stays. */
export function compileSooner(
  execArgv: readonly string[] = process.execArgv,
  set: (flag: string) => void = setFlagsFromString,
): void {
  const given = new Set(execArgv.map(nameOf));
  for (const flag of FLAGS) if (!given.has(nameOf(flag))) set(flag);
}

/** `--no-x`, `--x=1` and `--x` are of one flag. */
function nameOf(flag: string): string {
  const [name = ''] = flag.split('=');
  return name.replaceAll('_', '-').replace(/^--(no-?)?/, '');
}
