import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../packages/server/test/support/dev-cluster.ts';
import { files, read } from '../repo/repository.ts';
import { consoleBlocks, outputPattern, type Step } from './support/console-blocks.ts';
import { type RunOptions, runStep } from './support/run-step.ts';

/** Executed by packages/kvctl/test/docs.integration.test.ts, without npx, and by test/e2e/operations-walkthrough.test.ts. */
const ELSEWHERE = ['docs/cli.md', 'docs/sdk.md', 'docs/operations-walkthrough.md'];
const PAGES = ['README.md', ...files('docs', '.md')].filter((page) => !ELSEWHERE.includes(page));

let cluster: DevCluster;
let options: RunOptions;

beforeAll(async () => {
  const started = await startDevCluster(4);
  cluster = started.cluster;
  options = { endpoint: started.endpoint, signal: new AbortController().signal };
});
afterAll(async () => {
  await cluster.stop();
});

const watchers = (): number =>
  cluster.members
    .flatMap((member) => member.host.replicas())
    .reduce((sum, replica) => sum + (replica.shard === 'meta' ? 0 : replica.status().watchers), 0);

/** A watch that goes on while the rest of the page is executed. */
class Background {
  readonly step: Step;
  readonly #stop = new AbortController();
  #output = '';
  #done: Promise<unknown> = Promise.resolve();

  constructor(step: Step) {
    this.step = step;
  }

  /** Resolves when the watch stands in every shard: what is put from then on it must show. */
  async start(): Promise<void> {
    const before = watchers();
    const onOutput = (text: string): void => {
      this.#output = text;
    };
    this.#done = runStep(this.step, { ...options, signal: this.#stop.signal, onOutput });
    await expect.poll(() => watchers() - before, { timeout: 10_000 }).toBe(4);
  }

  async check(): Promise<void> {
    const pattern = outputPattern(this.step.output);
    try {
      await expect.poll(() => this.#output, { timeout: 10_000 }).toMatch(pattern);
    } finally {
      this.#stop.abort();
      await this.#done;
    }
  }
}

const executed = PAGES.flatMap((page) => {
  const blocks = consoleBlocks(read(page)).filter(({ notRun }) => notRun === undefined);
  return blocks.length === 0 ? [] : [{ page, blocks }];
});

describe.each(executed)('$page', ({ blocks }) => {
  const running: Background[] = [];
  for (const block of blocks) {
    for (const step of block.steps) {
      it(`${step.command}${block.background ? ' &' : ''}`, async () => {
        if (block.background) {
          const background = new Background(step);
          await background.start();
          running.push(background);
        } else {
          expect(await runStep(step, options)).toMatch(outputPattern(step.output));
        }
      });
    }
  }
  it('shows what happened meanwhile in the background', async () => {
    for (const background of running) await background.check();
  });
});
