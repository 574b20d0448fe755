import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Edit, Mutant } from './mutant.ts';

// No import of the product up here, not even by way of the catalogue: the hooks must stand before any of it is loaded.

/** What the process is told to do. */
export interface Hunt {
  readonly name: string;
  readonly edits: readonly Edit[];
  readonly from: number;
  readonly seeds: number;
}

/** What the process says when it is done. */
export interface Verdict {
  /** Seeds run, the one that found the bug included. */
  readonly seeds: number;
  readonly caught: { readonly invariant: string; readonly text: string } | undefined;
}

const PACKAGES = new URL('../../../', import.meta.url);

/** Writes patched copies of the sources and has them loaded in the place of the originals. */
function patch(edits: readonly Edit[], directory: string): void {
  const files = [...new Set(edits.map(({ file }) => file))];
  const patched = files.map((file, i) => {
    const original = new URL(file, PACKAGES);
    let text = readFileSync(original, 'utf8');
    for (const edit of edits) {
      if (edit.file !== file) continue;
      const count = text.split(edit.find).length - 1;
      if (count !== 1) {
        throw new RangeError(`${file} holds the text to change ${count} times: ${edit.find}`);
      }
      text = text.replace(edit.find, () => edit.replace);
    }
    const copy = join(directory, `copy-${i}.mts`);
    writeFileSync(copy, text);
    return { original: original.href, copy: pathToFileURL(copy).href };
  });
  register(new URL('./patch-hooks.mjs', import.meta.url), { data: patched });
}

async function load(name: string): Promise<Mutant> {
  const { MUTANTS } = await import('./catalogue.ts');
  const mutant = MUTANTS.find((one) => one.name === name);
  if (mutant === undefined) throw new RangeError(`no such mutant: ${name}`);
  return mutant;
}

async function run({ name, from, seeds: seedsMax }: Hunt): Promise<Verdict> {
  const { runSeed } = await import('@kvorum/simulator');
  const { adjust, plant, seenBy } = await load(name);
  for (let seeds = 1; seeds <= seedsMax; seeds += 1) {
    process.send?.(seeds);
    const { problems } = await runSeed(from + seeds - 1, {
      stopAtFirst: true,
      crossCheck: seenBy?.includes('cross-check') === true,
      ...(plant === undefined ? {} : { plant: plant() }),
      ...(adjust === undefined ? {} : { adjust }),
    });
    const caught = problems.find(({ invariant }) => seenBy?.includes(invariant) !== false);
    if (caught !== undefined) return { seeds, caught };
  }
  return { seeds: seedsMax, caught: undefined };
}

async function hunt(order: Hunt): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-mutant-'));
  try {
    if (order.edits.length > 0) patch(order.edits, directory);
    const verdict = await run(order);
    // A channel that is closed over a message under way takes the whole process down.
    await new Promise((sent) => process.send?.(verdict, undefined, undefined, sent));
  } finally {
    rmSync(directory, { recursive: true, force: true });
    // In this very tick Node still looks at the channel, and what is thrown here would be lost.
    setImmediate(() => process.disconnect());
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', (order: Hunt) => void hunt(order));
}
