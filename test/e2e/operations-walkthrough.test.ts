import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { consoleBlocks, outputPattern, type Step } from '../docs/support/console-blocks.ts';
import { KVCTL, KVD } from './command.ts';
import { KafkaTopics } from './kafka-topics.ts';
import { freePortDigits } from './ports.ts';
import { TypedShell } from './typed-shell.ts';

/** docs/operations-walkthrough.md, typed command by command into one shell, against a real Kafka. */
const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/operations-walkthrough.md'), 'utf8');
const STEP_MS = 300_000;
const OWN_TOPICS = /^shop2?-raft-log-/;

const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED the operations walkthrough: ${kafka.reasons.join('; ')}\n`);
}

/** Steps of the page by its headings. */
function chapters(): readonly { readonly title: string; readonly steps: readonly Step[] }[] {
  return PAGE.split(/^## /m).flatMap((text) => {
    const blocks = consoleBlocks(text).filter(({ notRun }) => notRun === undefined);
    const steps = blocks.flatMap((block) => block.steps);
    return steps.length === 0 ? [] : [{ title: text.split('\n')[0] ?? '', steps }];
  });
}

/** The programs under the names that the page uses. */
function commandsIn(directory: string): string {
  const path = join(directory, 'bin');
  mkdirSync(path);
  const topics = `--import ${join(ROOT, 'node_modules/tsx/dist/loader.mjs')} ${join(ROOT, 'test/e2e/kafka-topics-tool.ts')}`;
  for (const [name, args] of Object.entries({
    kvd: KVD,
    kvctl: KVCTL,
    'kafka-topics.sh': topics,
  })) {
    writeFileSync(join(path, name), `#!/bin/sh\nexec node ${args} "$@"\n`, { mode: 0o755 });
  }
  return path;
}

describe.skipIf(kafka.kind === 'unavailable')('the operations walkthrough', () => {
  let failed = false;
  let root: string;
  let shell: TypedShell;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'kvorum-walkthrough-'));
    const { bootstrap, brokers } = kafka as AvailableKafka;
    const topics = await KafkaTopics.connect(brokers);
    const found = await topics.named(OWN_TOPICS);
    await topics.close();
    expect(found, 'topics of an earlier run; delete them').toEqual([]);
    const environment = {
      BROKERS: bootstrap,
      P: await freePortDigits(5),
      PATH: `${commandsIn(root)}:${process.env['PATH'] ?? ''}`,
      // For a slow machine; the page does without.
      KVCTL_TIMEOUT: '120s',
    };
    const pids = `${root}/shop/*.pid`;
    shell = new TypedShell(root, environment, `kill -9 $(cat ${pids} 2> /dev/null) 2> /dev/null`);
  });

  afterAll(async () => {
    if (kafka.kind !== 'available') return;
    await shell?.close();
    const topics = await KafkaTopics.connect(kafka.brokers);
    await topics.delete(OWN_TOPICS);
    await topics.close();
    await kafka.stop();
    if (!failed) rmSync(root, { recursive: true, force: true });
  });

  /** What the members wrote last, for a failure. */
  function lastWords(): string {
    const shop = join(root, 'shop');
    const logs = readdirSync(shop).filter((name) => name.endsWith('.log'));
    const words = logs.map((name) => {
      const lines = readFileSync(join(shop, name), 'utf8').trimEnd().split('\n');
      return `${name}: ${lines.slice(-5).join('\n')}`;
    });
    return words.join('\n');
  }

  for (const { title, steps } of chapters()) {
    it(title, { timeout: 2 * STEP_MS }, async ({ skip }) => {
      skip(failed, 'a chapter before it failed');
      failed = true;
      for (const [i, { command, typed, output }] of steps.entries()) {
        const answer = await shell.type(typed, STEP_MS);
        const said = `$ ${command}\n${answer.output}`;
        const pattern = outputPattern(output);
        if (!pattern.test(answer.output))
          throw new Error(`${said}\ninstead of\n${output}\n${lastWords()}`);
        // A command that is to fail is followed by a look at its exit code.
        if (steps[i + 1]?.command === 'echo $?') continue;
        expect(answer.code, said).toBe(0);
      }
      failed = false;
    });
  }
});
