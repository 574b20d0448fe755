import { KvError } from '@kvorum/base';
import { reportOf } from '@kvorum/kvctl';
import { describe, expect, it } from 'vitest';
import { shown } from '../src/output.ts';
import { summarize } from '../src/percentiles.ts';
import { drawColumns, drawTable } from '../src/table.ts';
import { kvctl } from './support/run-kvctl.ts';

describe('the command line', () => {
  it.each([
    [['gett', 'a'], 'Did you mean get?'],
    [['get', 'a', '--prefx'], 'Did you mean --prefix?'],
    [['get'], "missing required argument 'key'"],
    [['get', 'a', 'b', 'c'], 'too many arguments'],
    [['-w', 'yaml', 'version'], 'Allowed choices are simple, fields, json, table'],
    [['--timeout', 'soon', 'get', 'a'], '"soon" is not a duration'],
    [['get', 'a', 'b', '--prefix'], 'at most one of a range end, --prefix and --from-key'],
    [['get', 'a', '--limit', 'x'], '"x" is not a whole number'],
    [['--endpoints', 'ftp://x', 'get', 'a'], 'is not an endpoint'],
    [['completion', 'csh'], 'Allowed choices are bash, zsh, fish'],
  ])('%j is refused with code 3', async (args, problem) => {
    const ran = await kvctl(args);
    expect(ran).toMatchObject({ code: 3, out: '' });
    expect(ran.err).toContain(problem);
  });

  it('says what to do when nobody answers, with code 2', async () => {
    const ran = await kvctl([
      '--endpoints',
      'http://127.0.0.1:1',
      '--timeout',
      '100ms',
      'get',
      'a',
    ]);
    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(
      /^Error: no member answers \(KV_UNAVAILABLE\)\nWhy: {3}http:.*ECONNREFUSED.*\nNext: /,
    );
  });

  it('prints help and version on standard output', async () => {
    const help = await kvctl(['--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    expect(help.out).toContain('Exit codes: 0 ok');
    expect((await kvctl(['get', '--help'])).out).toContain('env: KVCTL_GET_PREFIX');
    expect((await kvctl(['version', '-w', 'json'])).out).toMatch(/^\{"kvctl":"\d+\.\d+\.\d+"\}\n$/);
  });

  it.each(['bash', 'zsh', 'fish'])('completes in %s', async (shell) => {
    const { code, out } = await kvctl(['completion', shell]);
    expect(code).toBe(0);
    for (const word of ['transfer', 'each-shard', 'endpoints']) expect(out).toContain(word);
  });
});

describe('errors', () => {
  it.each([
    [new KvError('KV_TIMEOUT'), 8, 'nobody knows yet whether it was applied'],
    [
      new KvError('KV_TIMEOUT', undefined, { outcome: 'not-applied' }),
      4,
      'request timed out (KV_TIMEOUT)',
    ],
    [new KvError('KV_UNAVAILABLE', 'x: refused'), 2, 'Why:   x: refused'],
    [new KvError('KV_EMPTY_KEY'), 3, 'Error: key is not provided (KV_EMPTY_KEY)'],
    [new KvError('KV_NO_LEADER'), 4, 'Next:  kvctl status'],
    [new KvError('KV_CANCELLED', 'aborted'), 8, 'kvctl get KEY'],
    [
      new KvError('KV_COMPACTED', undefined, { details: { compactRevision: 9 } }),
      4,
      'Error: required revision has been compacted (KV_COMPACTED)\nNext:  ask for revision 9 or later',
    ],
  ])('%s has its exit code and its advice', (error, code, text) => {
    const report = reportOf(error);
    expect(report?.code).toBe(code);
    expect(report?.text).toContain(text);
  });

  it('leaves bugs alone', () => {
    expect(reportOf(new TypeError('bug'))).toBeUndefined();
  });
});

describe('output', () => {
  it('draws tables and columns, colours not counted', () => {
    expect(drawTable(['A', 'LONG'], [['xyz', '1']])).toBe(
      '+-----+------+\n| A   | LONG |\n+-----+------+\n| xyz | 1    |\n+-----+------+\n',
    );
    expect(
      drawColumns([
        ['a', 'b'],
        ['\u001b[32mcc\u001b[0m', 'd'],
      ]),
    ).toBe('a   b\n\u001b[32mcc\u001b[0m  d\n');
  });

  it('shows bytes that are no text escaped', () => {
    expect(shown(new Uint8Array([0x61, 0xff, 0x00, 0x5c]))).toBe('a\\xff\\x00\\x5c');
    expect(shown(Buffer.from('ä'))).toBe('ä');
  });

  it('summarizes latencies', () => {
    const samples = Array.from({ length: 1000 }, (_, i) => 1000 - i);
    expect(summarize(samples)).toEqual({ p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 });
    expect(summarize([])).toEqual({ p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
  });
});
