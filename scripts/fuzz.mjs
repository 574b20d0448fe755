// `npm run fuzz -- [--minutes M | --runs N] [--seed S] [--only TEXT]`: the long form of every fuzz target, or of those whose
// file or name contains TEXT. M (5 by default) is for all targets together. Says what was tried, and how to see a failure again.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { must, node, ROOT, requireNode } from './setup.mjs';

const REPORT = `${ROOT}node_modules/.cache/kvorum/fuzz.jsonl`;

requireNode();
const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));
const targets = allTargets().filter(
  ({ file, name }) => file.includes(values.only) || name.includes(values.only),
);
if (targets.length === 0) {
  console.error(`No fuzz target has "${values.only}" in its file or name.`);
  process.exit(1);
}
const eachMs = Math.ceil((Number(values.minutes ?? 5) * 60_000) / targets.length);
const budget =
  values.runs === undefined ? { KV_FUZZ_MS: String(eachMs) } : { KV_FUZZ_RUNS: values.runs };
Object.assign(process.env, budget, { KV_FUZZ_SEED: seed, KV_FUZZ_REPORT: REPORT });
// Memory is bounded too: what keeps more than this alive ends here, as it would a member.
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --max-old-space-size=1024`;
mkdirSync(`${ROOT}node_modules/.cache/kvorum`, { recursive: true });
rmSync(REPORT, { force: true });
console.log(`${targets.length} fuzz targets, seed ${seed}`);
const files = [...new Set(targets.map(({ file }) => file))];
const names = targets.map(({ name }) => name.replace(/[^\w ]/g, '.')).join('|');
const only = values.only === '' ? [] : ['-t', names];
const code = await node('vitest/vitest.mjs', [
  ...['run', '--project', 'unit', '--no-file-parallelism', ...only, ...files],
]);
report();
must(code);

/** File and name of each `fuzz(…)` in the tests. */
function allTargets() {
  const files = readdirSync(`${ROOT}packages`).flatMap((name) => {
    const folder = `packages/${name}/test`;
    if (!existsSync(`${ROOT}${folder}`)) return [];
    const inside = readdirSync(`${ROOT}${folder}`).filter((file) => file.endsWith('.fuzz.test.ts'));
    return inside.map((file) => `${folder}/${file}`);
  });
  return files.flatMap((file) =>
    [...readFileSync(`${ROOT}${file}`, 'utf8').matchAll(/^ *fuzz\(\s*'([^']+)'/gm)].map(
      ([, name]) => ({ file, name }),
    ),
  );
}

function report() {
  let lines = [];
  try {
    lines = readFileSync(REPORT, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  } catch {
    return; // nothing ended
  }
  const count = (number) => number.toLocaleString('en').padStart(12);
  console.log(
    `\n${'inputs'.padStart(12)} ${'seconds'.padStart(8)} ${'slowest'.padStart(8)}  target`,
  );
  for (const { file, name, inputs, seconds, slowestMs } of lines) {
    const slowest = `${slowestMs.toFixed(0)} ms`.padStart(8);
    console.log(`${count(inputs)} ${seconds.toFixed(0).padStart(8)} ${slowest}  ${file}: ${name}`);
  }
  const total = lines.reduce((sum, { inputs }) => sum + inputs, 0);
  console.log(`${count(total)} in all, seed ${seed}`);
}
