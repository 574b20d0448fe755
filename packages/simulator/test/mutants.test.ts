import { spawn } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TIMEOUT_MS = 600_000;
/** Seeds that a fast mutant may take: many more than it needs. */
const SEEDS = 400;

it(
  'finds every fast mutant',
  async () => {
    const main = 'packages/simulator/test/mutants/main.ts';
    const args = ['--import', 'tsx', '--conditions=@kvorum/source', main];
    const child = spawn(process.execPath, [...args, '--fast', `--seeds=${SEEDS}`], { cwd: ROOT });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        output += text.toString();
      });
    }
    const code = await new Promise((resolve) => child.on('exit', resolve));
    expect(output).toMatch(/\d+ mutants, \d+ caught/);
    expect(output).not.toContain('SURVIVED');
    expect(code).toBe(0);
  },
  TIMEOUT_MS,
);
