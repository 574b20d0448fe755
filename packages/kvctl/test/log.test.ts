import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useOneMember } from '../../server/test/support/use-member.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

const one = useOneMember({ shards: 1 });
let billing: KvorumClient;
beforeAll(async () => {
  billing = await connect({ endpoints: [one.url], name: 'billing@h7' });
  await billing.put('cfg/a', 'one');
  await billing.put('cfg/b', 'x'.repeat(100));
  await run('put', 'cfg/a', 'two');
  await fetch(`${one.url}/v1/kv/keys/cfg/a`, {
    method: 'DELETE',
    headers: { 'kvorum-client-name': 'cleaner' },
  });
  await billing.compact(3, { shard: '0' });
});
afterAll(async () => {
  await billing.close();
});

function run(...args: string[]): Promise<Ran> {
  return kvctl(['--endpoints', one.url, ...args]);
}

const lines = ({ out }: Ran): unknown[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);

describe('kvctl log dump', () => {
  it('decodes every record: the barrier, the changes with who asked, the compaction', async () => {
    const records = lines(await run('log', 'dump', '0', '-w', 'json'));
    expect(records[0]).toMatchObject({ offset: 0, kind: 'barrier', verdict: 'accepted', term: 1 });
    expect(records[1]).toMatchObject({
      kind: 'batch',
      verdict: 'accepted',
      seq: 1,
      baseRevision: 1,
      changes: [
        { type: 'put', key: 'cfg/a', revision: 2, version: 1, valueBytes: 3, client: 'billing@h7' },
      ],
    });
    expect(records.at(-1)).toMatchObject({ compactRevision: 3, compactedBy: 'billing@h7' });
    expect(JSON.stringify(records)).not.toContain('two');
  });

  it('prints values when asked, and only a piece of the log when asked', async () => {
    const { out } = await run('log', 'dump', '0', '--from', '1', '--to', '2', '--values');
    expect(out).toMatch(/^1 \d{4}-.* batch term 1 leader m1 seq 1 accepted revisions 2-2\n/);
    expect(out).toContain('    2 put cfg/a 3 bytes = one by billing@h7\n');
    expect(out.split('\n').length).toBe(3);
  });

  it('finds a time, and refuses what is none', async () => {
    expect(lines(await run('log', 'dump', '0', '--since', '1h', '-w', 'json')).length).toBe(6);
    const future = await run('log', 'dump', '0', '--since', '2090-01-01T00:00:00Z');
    expect(future).toMatchObject({ code: 0, out: '' });
    expect(await run('log', 'dump', '0', '--since', 'noon')).toMatchObject({ code: 3 });
    expect(await run('log', 'dump', '0', '--from', '99')).toMatchObject({ code: 3 });
    expect(await run('log', 'dump', '7')).toMatchObject({ code: 3 });
  });

  it('reads the meta shard too', async () => {
    const { out } = await run('log', 'dump', 'meta');
    expect(out).toContain('put shard-map');
  });
});

describe('kvctl log tail', () => {
  it('begins with the last records, judged although the log is not read from its begin', async () => {
    const records = lines(
      await run('log', 'tail', '0', '--last', '2', '--count', '2', '-w', 'json'),
    );
    expect(records.map((record) => (record as { verdict: string }).verdict)).toEqual([
      'accepted',
      'accepted',
    ]);
  });

  it('follows until it is interrupted', async () => {
    const stop = new AbortController();
    let written = false;
    const ran = await kvctl(['--endpoints', one.url, 'log', 'tail', '0', '--last', '1'], {
      signal: stop.signal,
      onOut: (out) => {
        if (!written) {
          written = true;
          void billing.put('cfg/live', 'now');
        }
        if (out.includes('cfg/live')) stop.abort();
      },
    });
    expect(ran.out).toContain('put cfg/live 3 bytes by billing@h7');
    expect(ran.code).toBe(5);
  });
});

describe('kvctl audit', () => {
  it('says who changed a key, when, at which revision', async () => {
    const { out, err, code } = await run('audit', '--key', 'cfg/a');
    expect([code, err]).toEqual([0, '']);
    const cells = out
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(cells[0]).toEqual(['TIME', 'REVISION', 'CHANGE', 'VERSION', 'BY', 'OFFSET']);
    expect(cells.slice(1).map((row) => row.slice(1, 5))).toEqual([
      ['2', 'put', '1', 'billing@h7'],
      ['4', 'put', '2', expect.stringMatching(/^kvctl@/)],
      ['5', 'delete', '0', 'cleaner'],
    ]);
  });

  it('takes the key as an operand too, and misses it when there is none', async () => {
    const asFlag = await run('audit', '--key=cfg/a');
    expect((await run('audit', 'cfg/a')).out).toBe(asFlag.out);
    expect(await run('audit')).toMatchObject({ code: 3 });
  });

  it('says so when nothing is there', async () => {
    const { out, err } = await run('audit', '--key', 'cfg/none');
    expect([out, err]).toEqual(['', 'no change of this key in the log\n']);
  });

  it('prints a line of JSON for each change', async () => {
    const [first] = lines(await run('audit', '--key', 'cfg/a', '--values', '-w', 'json'));
    expect(first).toMatchObject({
      shard: '0',
      revision: 2,
      type: 'put',
      key: 'cfg/a',
      value: 'one',
      client: 'billing@h7',
      verdict: 'accepted',
    });
  });
});
