import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shardId, utf8 } from '@kvorum/base';
import {
  checkFile,
  checkHistory,
  History,
  HistoryWriter,
  parseHistory,
  readHistory,
  recordSimulation,
  renderTimeline,
  writeHistory,
} from '@kvorum/simulator';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { found, get, HistoryBuilder, kv, put, unknown, wrote } from './history-builder.ts';
import { randomHistory } from './random-history.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kvorum-history-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  vi.restoreAllMocks();
});

const good = (): HistoryBuilder =>
  new HistoryBuilder().op(put('a', '1'), wrote(2)).op(put('a', '2'), unknown);
const bad = (): HistoryBuilder =>
  good().op(get('a'), found(2, kv('a', { value: '</script>', mod: 2 })));

describe('the file', () => {
  it('is read as it was written', async () => {
    const builder = new HistoryBuilder();
    builder.lines.push(
      ...randomHistory({ seed: 5, operations: 80, processes: 4, keys: 3, watchers: 2 }),
    );
    builder.lines.push({ type: 'note', at: 3, until: 9, text: 'SIGSTOP n2' });
    const history = builder.history();
    const path = join(folder, 'h.jsonl');
    writeHistory(path, history);
    const read = await readHistory(path);
    expect(read).toEqual({ ok: true, value: history });
  });

  it('holds bytes that are not text, leases, Buffers and what never ended', async () => {
    const path = join(folder, 'h.jsonl');
    const header = { type: 'history', version: 1, source: 'test', tick: 'ms' } as const;
    const writer = new HistoryWriter(path, header);
    const key = Buffer.from([0xff, 0]);
    const request = { op: 'put', key, value: Buffer.from('ä'), lease: -5n } as never;
    const open = writer.call(1.5, { client: 'c', process: 'c/0', shard: '0', request });
    writer.call(2, { client: 'c', process: 'c/1', shard: '0', request: get('a') });
    open.finish(2.5, { outcome: 'failed', code: 'X' });
    open.finish(3, unknown);
    writer.close();
    const read = await readHistory(path);
    if (!read.ok) expect.unreachable(read.error.message);
    const [first, second] = read.value.operations;
    expect(first?.request).toEqual({
      op: 'put',
      key: new Uint8Array(key),
      value: new Uint8Array([0xc3, 0xa4]),
      lease: -5n,
    });
    expect(first?.return).toBe(2.5);
    expect(second?.result).toEqual({ outcome: 'unknown', code: 'no answer' });
    expect(second?.return).toBeUndefined();
  });

  const HEAD = '{"type":"history","version":1,"source":"x","tick":"ms"}';
  const OP =
    '{"type":"operation","id":1,"client":"c","process":"p","shard":"0","call":1,"return":2,';
  const GET = `${OP}"request":{"op":"range","key":"a"},"result":`;
  it.each([
    ['nothing', '', /empty/],
    ['no JSON', 'hello', /line 1: .*JSON/],
    ['no header', '{"type":"end"}', /line 1: the first line/],
    ['another version', HEAD.replace('1', '2'), /version 2 is not known/],
    ['no end', HEAD, /cut short/],
    ['a wrong count', `${HEAD}\n{"type":"end","lines":7}`, /speaks of 7 lines/],
    [
      'a line after the end',
      `${HEAD}\n{"type":"end"}\n{"type":"end"}`,
      /line 3: nothing may follow/,
    ],
    ['an unknown type', `${HEAD}\n{"type":"op"}`, /line 2: type must be one of/],
    ['a misspelt field', `${HEAD}\n{"type":"note","at":1,"txt":"x"}`, /no field txt/],
    ['a bad request', `${HEAD}\n${OP}"request":{"op":"get"},"result":{}}`, /request\.op must be/],
    [
      'an answer of another kind',
      `${HEAD}\n${GET}{"outcome":"ok","revision":2,"response":{"op":"put"}}}`,
      /cannot be of put/,
    ],
    [
      'an ok without revision',
      `${HEAD}\n${GET}{"outcome":"ok","response":{"op":"range","kvs":[]}}}`,
      /result\.revision/,
    ],
    [
      'an id twice',
      `${HEAD}\n${GET}{"outcome":"failed","code":"x"}}\n${GET}{"outcome":"failed","code":"x"}}`,
      /line 3: operation 1 is there twice/,
    ],
    [
      'events of no stream',
      `${HEAD}\n{"type":"events","stream":"w","at":1,"events":[]}`,
      /no watch opened w/,
    ],
  ])('with %s is refused', async (_, text, message) => {
    const read = await parseHistory(text.split('\n'));
    expect(read.ok).toBe(false);
    if (!read.ok) expect(read.error.message).toMatch(message);
  });
});

describe('npm run check', () => {
  const run = async (...args: readonly string[]): Promise<{ code: number; said: string }> => {
    const said: string[] = [];
    vi.spyOn(console, 'log').mockImplementation((line: string) => void said.push(line));
    vi.spyOn(console, 'error').mockImplementation((line: string) => void said.push(line));
    const code = await checkFile(args);
    return { code, said: said.join('\n') };
  };

  it('exits with 0 on a right history, with 1 on a wrong one and draws it', async () => {
    const path = join(folder, 'h.jsonl');
    writeHistory(path, good().history());
    const passed = await run(path);
    expect(passed.code).toBe(0);
    expect(passed.said).toContain('ok: nothing wrong');
    writeHistory(path, bad().history());
    const html = join(folder, 'h.html');
    const failed = await run(path, '--html', html);
    expect(failed.code).toBe(1);
    expect(failed.said).toMatch(/VIOLATION: \d+ findings/);
    expect(readFileSync(html, 'utf8')).toContain('<!doctype html>');
    const json = await run(path, '--json');
    expect(JSON.parse(json.said.slice(json.said.indexOf('{\n')))).toMatchObject({
      verdict: 'violation',
    });
  });

  it('exits with 2 on what it cannot judge', async () => {
    const path = join(folder, 'h.jsonl');
    writeFileSync(path, '{}\n');
    const refused = await run(path);
    expect(refused.code).toBe(2);
    expect(refused.said).toContain('line 1');
    expect((await run(join(folder, 'none'))).code).toBe(2);
    expect((await run()).code).toBe(2);
    expect((await run(path, '--frobnicate')).code).toBe(2);
    expect((await run(path, '--timeout', 'x')).code).toBe(2);
  });
});

it('a search that gives up is a failure to verify', () => {
  // Seen, but at no revision that anybody was told: only a search can find its place.
  const seen = good().op(get('a'), found(3, { key: utf8('a'), value: utf8('2') }));
  const report = checkHistory(seen.history(), { stepsMax: 0 });
  expect(report.verdict).toBe('unverified');
  expect(report.unverified[0]).toContain('gave up');
});

it('the timeline holds what was recorded as data, never as markup', () => {
  const history = bad().history();
  const page = renderTimeline(history, checkHistory(history));
  expect(page).not.toContain('a=</script>');
  expect(page).toContain('\\u003c/script>');
  expect(page).toContain('torn-revision');
});

it('a simulated history is judged in the same way', () => {
  const history = new History();
  const shard = shardId(0);
  const write = history.begin('c0', shard, { kind: 'put', key: 's0/k', value: 'v' }, 0);
  history.finish(write, { kind: 'ok', revision: 2, changed: true, found: new Map() });
  const read = history.begin('c0', shard, { kind: 'get', key: 's0/k' }, 0);
  const seen = new Map([['s0/k', 'v@2']]);
  history.finish(read, { kind: 'ok', revision: 2, changed: false, found: seen });
  expect(checkHistory(recordSimulation(history, new Map(), { seed: 1 })).verdict).toBe('ok');
  const stale = history.begin('c1', shard, { kind: 'list', stale: false }, 0);
  history.finish(stale, { kind: 'ok', revision: 1, changed: false, found: new Map() });
  const report = checkHistory(recordSimulation(history, new Map(), { seed: 1 }));
  expect(report.findings.map(({ rule }) => rule)).toEqual(['stale', 'not-linearizable']);
});
