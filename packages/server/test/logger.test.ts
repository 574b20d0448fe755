import { KvError } from '@kvorum/base';
import { expect, it } from 'vitest';
import { createLogger } from '../src/logger.ts';

it('lines for people show where an error arose only when something is wrong', () => {
  const lines: string[] = [];
  const out = { write: (line: string) => lines.push(line) };
  const logger = createLogger({ name: 'm1', logLevel: 'info', logFormat: 'pretty' }, out);
  logger.warn({ err: new KvError('KV_STOPPED'), shard: '0' }, 'trying again');
  logger.error({ err: new KvError('KV_STOPPED') }, 'stops');
  expect(lines[0]).toMatch(/WARN {2}trying again {2}member=m1 err="[^"]+" shard=0\n$/);
  expect(lines[0]).not.toContain('    at ');
  expect(lines[1]).toContain('logger.test.ts');
});
