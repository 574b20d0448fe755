import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { useOneMember } from '../../server/test/support/use-member.ts';
import { parseExported } from '../src/exported.ts';
import { PutWindow } from '../src/put-window.ts';
import { kvctl, type Ran, type Surroundings } from './support/run-kvctl.ts';

const one = useOneMember({ shards: 2 });

const on = (args: readonly string[], around?: Surroundings): Promise<Ran> =>
  kvctl(['--endpoints', one.url, ...args], around);
const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await on(args);
  expect(ran).toMatchObject({ code: 0 });
  return ran.out;
};
const file = (name: string): string => join(one.directory, name);

describe('export and import', () => {
  it('bring every key of a prefix to another one, over all shards', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `{"key":"from/${i}/k","value":"v${i}\\n"}`);
    await on(['import', '-'], { stdin: names.join('\n') });
    await on(['put', 'from/bytes', '-'], { stdin: 'ä' });
    const ran = await on(['export', 'from/', '-o', file('all')]);
    expect(ran).toMatchObject({ code: 0, out: '' });
    expect(ran.err).toMatch(/^exported 41 keys, \d+ kB to /);
    expect(readFileSync(file('all'), 'utf8').split('\n')).toHaveLength(42);
    const dry = ['import', file('all'), '--strip-prefix', 'from/', '--add-prefix', 'to/'];
    expect(await out(...dry, '--dry-run')).toBe(
      'would put 41 keys: 41 new, 0 changed, 0 as they are\n',
    );
    expect(await out('get', 'to/', '--prefix')).toBe('');
    expect(await out(...dry)).toBe('imported 41 keys\n');
    const texts = async (prefix: string): Promise<string> =>
      (await out('get', prefix, '--prefix')).replaceAll(prefix, '');
    expect(await texts('to/')).toBe(await texts('from/'));
    await out('put', 'to/1/k', 'mine');
    expect(await out(...dry, '--dry-run')).toContain('0 new, 1 changed, 40 as they are');
    expect(await out(...dry, '--skip-existing')).toBe(
      'imported 0 keys; 41 were there and were left alone\n',
    );
    expect(await out(...dry, '--prefix', 'from/3')).toBe(
      'imported 11 keys; 30 of another prefix\n',
    );
    expect(await out('export', 'nothing/')).toBe('');
  });

  it('goes on behind what broke off, and names lines that are wrong', async () => {
    const lines = ['{"key":"b/1","value":"1"}', '{"key":"b/2"}', '{"key":"b/3","value":"3"}'];
    writeFileSync(file('bad'), lines.join('\n'));
    const broken = await on(['import', file('bad')]);
    expect(broken).toMatchObject({ code: 3, out: '' });
    expect(broken.err).toMatch(/^Error: line 2 has no value\nNext: .*--from-line 2 {3}# the lines/);
    expect(await out('get', 'b/1', '--print-value-only')).toBe('1\n');
    expect(await out('import', file('bad'), '--from-line', '3')).toBe('imported 1 key\n');
    expect(await on(['import', file('gone')])).toMatchObject({ code: 6 });
    const empty = await on(['import', '-', '--strip-prefix', 'b/3'], { stdin: lines[2] ?? '' });
    expect(empty.err).toContain('line 1: nothing is left of the key');
  });

  it('makes leases again when asked to', async () => {
    await out('lease', 'grant', '600', 'aa');
    await out('put', 'x/leased', 'v', '--lease', 'aa');
    const [plain, full] = [await out('export', 'x/'), await out('export', 'x/', '--leases')];
    await out('lease', 'revoke', 'aa');
    expect(await on(['import', '-'], { stdin: plain })).toMatchObject({
      out: 'imported 1 key; 1 had a lease and get none (--leases)\n',
    });
    const unknown = await on(['import', '-', '--leases'], { stdin: plain });
    expect(unknown).toMatchObject({ code: 3 });
    expect(unknown.err).toContain('nobody knows the time of lease 00000000000000aa');
    const ran = await on(['import', '-', '--leases', '-w', 'json'], { stdin: full });
    expect(JSON.parse(ran.out)).toMatchObject({ written: 1, leased: 0 });
    expect(await out('lease', 'timetolive', 'aa', '--keys')).toContain('attached keys([x/leased])');
  });
});

it.each([
  ['[]', 'is no JSON object'],
  ['{"value":"v"}', 'has no key'],
  ['{"key":"","value":"v"}', 'has an empty key'],
  ['{"keyBase64":"%","value":"v"}', 'has no key'],
  ['{"key":"k","value":"v","lease":7}', 'lease must be a text of digits'],
])('%s is no line of an export', (line, problem) => {
  expect(() => parseExported(line, 3)).toThrow(`line 3`);
  expect(() => parseExported(line, 3)).toThrow(problem);
});

describe('what is under way', () => {
  it('keeps the order of one key, and ends with the first failure', async () => {
    const window = new PutWindow();
    const done: string[] = [];
    const release: (() => void)[] = [];
    const put = (name: string, key: string) => ({
      key: Buffer.from(key),
      bytes: 1,
      run: () =>
        new Promise<void>((resolve) => {
          release.push(() => {
            done.push(name);
            resolve();
          });
        }),
    });
    await window.add(1, put('a1', 'a'));
    await window.add(2, put('b', 'b'));
    const second = window.add(3, put('a2', 'a'));
    release[1]?.();
    release[0]?.();
    await second;
    release[2]?.();
    await window.end();
    expect(done).toEqual(['b', 'a1', 'a2']);
    const failing = { key: Buffer.from('c'), bytes: 1, run: () => Promise.reject(new Error('no')) };
    await window.add(4, failing);
    await expect(window.end()).rejects.toThrow('no');
    expect(await window.lowestOpen()).toBe(4);
  });
});
