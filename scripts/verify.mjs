// `npm run verify`: every static check, to the end, and it changes no source file.
// `npm run fix` repairs what a tool can repair.
import { install, must, node, requireNode, step } from './setup.mjs';

/** Types, format and lint; resolves with the names of the checks that failed. */
export async function staticChecks() {
  const checks = [
    ['types: packages, tests, bench, scripts', 'typescript/bin/tsc', ['-b']],
    [
      'format and syntax rules',
      '@biomejs/biome/bin/biome',
      ['check', '--error-on-warnings', '--max-diagnostics=none'],
    ],
    ['type-aware rules', 'oxlint/bin/oxlint', ['--type-aware', '--deny-warnings']],
  ];
  const failed = [];
  for (const [name, script, args] of checks) {
    if ((await step(name, () => node(script, args))) !== 0) failed.push(name);
  }
  return failed;
}

if (process.argv[1] === import.meta.filename) {
  requireNode();
  must(await install());
  const failed = await staticChecks();
  const repository = 'architecture, tidiness, documents';
  const vitest = ['run', '--project', 'unit', 'test/repo', 'test/docs'];
  if ((await step(repository, () => node('vitest/vitest.mjs', vitest))) !== 0)
    failed.push(repository);
  if (failed.length > 0) {
    console.error(
      `verify: failed: ${failed.join('; ')}. \`npm run fix\` repairs format and imports.`,
    );
    process.exit(1);
  }
  console.log('verify: all good');
}
