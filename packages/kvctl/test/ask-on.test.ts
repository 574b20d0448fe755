import { KvError } from '@kvorum/base';
import { expect, it } from 'vitest';
import { askOn } from '../src/ask-on.ts';

it('asks again when whoever was asked went away, within its patience, and nothing else', async () => {
  const answers = [new KvError('KV_UNAVAILABLE'), new KvError('KV_STOPPED'), 'settled'];
  const ask = (): Promise<unknown> => {
    const next = answers.shift();
    return next instanceof KvError ? Promise.reject(next) : Promise.resolve(next);
  };
  expect(await askOn(ask, 60_000)).toBe('settled');
  answers.push(new KvError('KV_NOT_FOUND'), 'never asked');
  await expect(askOn(ask, 60_000)).rejects.toMatchObject({ code: 'KV_NOT_FOUND' });
  expect(answers).toEqual(['never asked']);
  answers.unshift(new KvError('KV_UNAVAILABLE'));
  await expect(askOn(ask, 0)).rejects.toMatchObject({ code: 'KV_UNAVAILABLE' });
});
