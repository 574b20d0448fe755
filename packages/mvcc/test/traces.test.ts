import { readdirSync } from 'node:fs';
import { runDataDriven } from '@kvorum/testkit';
import { describe, it } from 'vitest';
import { Script } from './script.ts';

const directory = new URL('./testdata/', import.meta.url);

describe('traces', () => {
  for (const file of readdirSync(directory).sort()) {
    it(file, () => runDataDriven(new URL(file, directory), new Script().handle));
  }
});
