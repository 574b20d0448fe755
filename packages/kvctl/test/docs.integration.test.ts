import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runInThisContext } from 'node:vm';
import * as client from '@kvorum/client';
import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';
import { kvctl } from './support/run-kvctl.ts';

const DEFAULT_ENDPOINT = 'http://127.0.0.1:2379';
let cluster: DevCluster;
let endpoint: string;

beforeAll(async () => {
  const started = await startDevCluster(4);
  cluster = started.cluster;
  endpoint = `http://${started.endpoint}`;
});
afterAll(async () => {
  await cluster.stop();
});

const page = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url)), 'utf8');

const blocks = (name: string, language: string): string[] =>
  [...page(name).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, body]) => body ?? '',
  );

interface Step {
  readonly command: string;
  readonly output: string;
}

function stepsOf(block: string): Step[] {
  return block
    .split(/^\$ /m)
    .filter((part) => part !== '')
    .map((part) => {
      const end = part.indexOf('\n');
      return { command: part.slice(0, end), output: part.slice(end + 1) };
    });
}

/** `…` alone on a line stands for any lines, within one for anything. */
function patternOf(output: string): RegExp {
  const lines = output.split('\n').map((line) => {
    if (line === '…') return '[\\s\\S]*?';
    const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    // The advice of a command has an ellipsis of its own.
    return line.startsWith('Next:') ? escaped : escaped.replace(/…/g, '.*');
  });
  return new RegExp(`^${lines.join('\n').replaceAll('[\\s\\S]*?\n', '(?:[^\\n]*\\n)*?')}$`);
}

const shell = async (command: string): Promise<string> =>
  (await promisify(execFile)('sh', ['-c', command])).stdout;

/** Words of a command line as the shell splits them. */
const wordsOf = async (text: string): Promise<string[]> =>
  (await shell(`printf '%s\\n' ${text}`)).split('\n').slice(0, -1);

/** `[producer |] kvctl args`: the producer by the shell, kvctl in this process. */
async function runStep(command: string): Promise<string> {
  const [, producer, args = ''] = /^(?:(.*) \| )?kvctl (.*)$/.exec(command) ?? [];
  const stdin = producer === undefined ? '' : await shell(producer);
  const words = await wordsOf(args);
  const own = words.includes('--endpoints') ? words : ['--endpoints', endpoint, ...words];
  const ran = await kvctl(own, { stdin });
  return ran.out + ran.err;
}

describe('docs/cli.md', () => {
  const steps = blocks('cli.md', 'console').flatMap(stepsOf);

  it('has examples', () => {
    expect(steps.length).toBeGreaterThan(20);
  });

  it.each(steps.map(({ command, output }) => [command, output]))('%s', async (command, output) => {
    expect(await runStep(command)).toMatch(patternOf(output));
  });

  it('names the default endpoints', () => {
    expect(page('cli.md')).toContain(`\`${DEFAULT_ENDPOINT},`);
  });
});

/** The page's blocks as one program: imports taken from the client, the rest run in order. */
function programOf(source: string): string {
  return source.replace(
    /^import \{ ([^}]+) \} from '@kvorum\/client';$/gm,
    'const { $1 } = client;',
  );
}

function render(value: unknown): string {
  if (typeof value === 'string') return value;
  return Array.isArray(value)
    ? `[ ${value.map((item) => `'${item}'`).join(', ')} ]`
    : String(value);
}

describe('docs/sdk.md', () => {
  it('does what its comments say', async () => {
    const source = blocks('sdk.md', 'ts').join('\n').replaceAll(DEFAULT_ENDPOINT, endpoint);
    const printed: string[] = [];
    const log = (...values: unknown[]): void => {
      printed.push(values.map(render).join(' '));
    };
    const body = `(async (client, console) => {\n${programOf(source)}\n})`;
    const run = runInThisContext(body) as (
      library: typeof client,
      console: { readonly log: typeof log },
    ) => Promise<void>;
    await run(client, { log });
    const promised = [...source.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm)].flatMap(
      ([, text = '']) =>
        text.startsWith('{')
          ? ['[object Object]']
          : text.startsWith('3 [')
            ? [text]
            : text.split(', '),
    );
    for (const line of promised) expect(printed).toContain(line);
  });
});
