import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './repository.ts';

const WIRE = `${ROOT}packages/wire`;

function textsBelow(folder: string): Readonly<Record<string, string>> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.ts'),
  );
  return Object.fromEntries(
    paths.sort().map((path) => [path, readFileSync(join(folder, path), 'utf8')]),
  );
}

it('the generated code is that of the .proto files; `npm run gen` writes it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-gen-'));
  try {
    const buf = `${ROOT}node_modules/@bufbuild/buf/bin/buf`;
    execFileSync(process.execPath, [buf, 'generate', '--output', directory], {
      cwd: WIRE,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    expect(textsBelow(`${WIRE}/src/gen`)).toEqual(textsBelow(`${directory}/src/gen`));
  } finally {
    rmSync(directory, { recursive: true });
  }
}, 60_000);
