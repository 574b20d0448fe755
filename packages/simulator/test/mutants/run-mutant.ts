import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { assert } from '@kvorum/base';
import { MUTANTS } from './catalogue.ts';
import type { Edit, Mutant } from './mutant.ts';

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
      assert(count === 1, `${file} holds the text to change ${count} times: ${edit.find}`);
      text = text.replace(edit.find, () => edit.replace);
    }
    const copy = join(directory, `copy-${i}.mts`);
    writeFileSync(copy, text);
    return { original: original.href, copy: pathToFileURL(copy).href };
  });
  register(new URL('./patch-hooks.mjs', import.meta.url), { data: patched });
}

async function run(mutant: Mutant, from: number, seedsMax: number): Promise<Verdict> {
  // Loaded only now: the hooks must stand before the product is loaded.
  const { runSeed } = await import('@kvorum/simulator');
  for (let seeds = 1; seeds <= seedsMax; seeds += 1) {
    const { problems } = await runSeed(from + seeds - 1, {
      stopAtFirst: true,
      ...(mutant.plant === undefined ? {} : { plant: mutant.plant() }),
      ...(mutant.adjust === undefined ? {} : { adjust: mutant.adjust }),
    });
    const caught = problems.find(({ invariant }) => mutant.seenBy?.includes(invariant) !== false);
    if (caught !== undefined) return { seeds, caught };
  }
  return { seeds: seedsMax, caught: undefined };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , name, from, seedsMax] = process.argv;
  const mutant = MUTANTS.find((one) => one.name === name);
  assert(mutant !== undefined, `no such mutant: ${name}`);
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-mutant-'));
  try {
    if (mutant.edits !== undefined) patch(mutant.edits, directory);
    const verdict = await run(mutant, Number(from), Number(seedsMax));
    process.send?.(verdict);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
