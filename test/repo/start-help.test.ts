import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('`npm start -- --help` says what there is, and installs and builds nothing', () => {
  const root = mkdtempSync(join(tmpdir(), 'kvorum-start-'));
  try {
    for (const name of ['start.mjs', 'setup.mjs'])
      cpSync(`scripts/${name}`, `${root}/scripts/${name}`);
    const help = execFileSync(process.execPath, [`${root}/scripts/start.mjs`, '--help']).toString();
    expect(help).toContain('npm start -- --members 5');
    expect(help).not.toContain('install');
    expect(readdirSync(root)).toEqual(['scripts']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
