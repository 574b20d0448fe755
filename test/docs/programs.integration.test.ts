import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../packages/server/test/support/dev-cluster.ts';
import { ROOT, read } from '../repo/repository.ts';

const run = promisify(execFile);
/** Inside the repository, so that a program finds the packages as a user's does. */
const DIRECTORY = `${ROOT}node_modules/.cache/kvorum/docs-${process.pid}`;
const ENDPOINT = '127.0.0.1:2379';

let cluster: DevCluster;
let endpoint: string;

beforeAll(async () => {
  mkdirSync(DIRECTORY, { recursive: true });
  ({ cluster, endpoint } = await startDevCluster(4));
});
afterAll(async () => {
  await cluster.stop();
  rmSync(DIRECTORY, { recursive: true, force: true });
});

/** The page's ts blocks as one program. */
function programOf(page: string): string {
  const blocks = [...read(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, body = '']) => body);
  return blocks.join('').replaceAll(ENDPOINT, endpoint);
}

function write(name: string, program: string): string {
  const path = `${DIRECTORY}/${name}.mts`;
  writeFileSync(path, program);
  return path;
}

async function check(path: string): Promise<string> {
  const config = `${path}.json`;
  writeFileSync(
    config,
    JSON.stringify({
      extends: `${ROOT}tsconfig.base.json`,
      compilerOptions: {
        ...{ noEmit: true, composite: false, incremental: false, isolatedDeclarations: false },
        ...{ declaration: false, declarationMap: false, emitDeclarationOnly: false },
        ...{ noUnusedLocals: false, types: ['node'], typeRoots: [`${ROOT}node_modules/@types`] },
      },
      files: [path],
    }),
  );
  const tsc = `${ROOT}node_modules/typescript/bin/tsc`;
  const done = run(process.execPath, [tsc, '-p', config], { cwd: ROOT });
  // tsc tells on standard output what is wrong, and exits with a code that rejects.
  const { stdout } = await done.catch((error: { readonly stdout: string }) => error);
  return stdout;
}

describe.each(['docs/getting-started.md', 'docs/sdk.md'])('%s', (page) => {
  const name = page.replace(/\W/g, '-');

  it('shows programs that compile', async () => {
    expect(await check(write(name, programOf(page)))).toBe('');
  });
});

it('the program of docs/getting-started.md runs', async () => {
  const path = write('run', programOf('docs/getting-started.md'));
  const flags = ['--conditions=@kvorum/source', '--import', 'tsx'];
  const { stdout } = await run(process.execPath, [...flags, path], { cwd: ROOT });
  expect(stdout).toBe('hello\n');
});
