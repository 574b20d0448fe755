import { readdirSync } from 'node:fs';
import { runDataDriven } from '@kvorum/testkit';
import { it } from 'vitest';
import { TraceHarness } from './harness.ts';

const directory = new URL('./testdata/', import.meta.url);

for (const file of readdirSync(directory).filter((name) => name.endsWith('.txt'))) {
  it(`replays ${file}`, () => {
    const harness = new TraceHarness();
    runDataDriven(new URL(file, directory), (command) => harness.run(command));
  });
}
