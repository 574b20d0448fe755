import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isKvError } from '@kvorum/base';
import type { SharedLog, SharedLogs } from '@kvorum/ports';
import { afterEach, describe, expect, it } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

let directories: { remove(): void }[] = [];
afterEach(() => {
  for (const directory of directories) directory.remove();
  directories = [];
});

function temporary(): string {
  const directory = temporaryDirectory();
  directories.push(directory);
  return directory.path;
}

async function refusal(start: Promise<{ stop(): Promise<void> }>): Promise<string> {
  try {
    await (await start).stop();
  } catch (error) {
    if (isKvError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'started';
}

async function used(path: string): Promise<string> {
  const member = await startOneMember(path);
  await member.stop();
  return join(path, 'm1', 'identity.json');
}

describe('a data directory is refused with the reason', () => {
  it.each([['another cluster', { clusterName: 'other' }, /KV_DATA_DIR: .*belongs to cluster/]])(
    'of %s',
    async (_name, values, expected) => {
      const path = temporary();
      await used(path);
      expect(await refusal(startOneMember(path, values))).toMatch(expected);
      expect(await refusal(startOneMember(path))).toBe('started');
    },
  );

  it('but not of another number of shards: the cluster is scaled', {
    timeout: 60_000,
  }, async () => {
    const path = temporary();
    await used(path);
    const holding = async ({ member }: OneMember, count: number): Promise<void> => {
      const shards = (): number => new Set(member.host.map().slots.map(({ shard }) => shard)).size;
      await expect.poll(shards, { timeout: 20_000 }).toBe(count);
      await expect.poll(() => member.host.map().moves, { timeout: 20_000 }).toBeUndefined();
    };
    for (const shards of [3, 2]) {
      const member = await startOneMember(path, { shards });
      await holding(member, shards);
      await member.stop();
    }
  });

  it('of another member', async () => {
    const path = temporary();
    const file = await used(path);
    const identity = JSON.parse(readFileSync(file, 'utf8')) as object;
    writeFileSync(
      file,
      JSON.stringify({ ...identity, memberId: '0000000000000001', memberName: 'm7' }),
    );
    expect(await refusal(startOneMember(path))).toMatch(/KV_DATA_DIR: .*belongs to member "m7"/);
  });

  it.each([
    ['cut off', '{"format": 1, "clus', /damaged \(not JSON\)/],
    ['without its fields', '{"format": 1}', /damaged \(fields missing\)/],
    ['not an object', 'null', /damaged/],
    ['of a newer format', '{"format": 99}', /has format 99; this kvd knows 1/],
  ])('whose identity file is %s', async (_name, text, expected) => {
    const path = temporary();
    writeFileSync(await used(path), text);
    expect(await refusal(startOneMember(path))).toMatch(expected);
  });

  it('that is a file', async () => {
    const path = temporary();
    writeFileSync(join(path, 'm1'), '');
    expect(await refusal(startOneMember(path))).toMatch(/KV_DATA_DIR: .*m1/);
  });

  it.each(['replicas/0', 'replicas/meta', 'replicas'])(
    'whose %s was deleted: the votes are lost',
    async (lost) => {
      const path = temporary();
      await used(path);
      await startOneMember(path).then((member) => member.stop());
      rmSync(join(path, 'm1', lost), { recursive: true });
      expect(await refusal(startOneMember(path))).toMatch(/KV_DATA_DIR: .*its votes are lost/);
      // All that voted is lost: the operator says so by deleting what tells of it.
      rmSync(join(path, 'm1', 'opened-shards'));
      expect(await refusal(startOneMember(path))).toBe('started');
    },
  );

  it('that another process uses', async () => {
    const path = temporary();
    const first = await startOneMember(path);
    const own = join(path, 'elsewhere');
    mkdirSync(own);
    const second = startOneMember(own, { dataDir: join(path, 'm1') });
    expect(await refusal(second)).toMatch(/KV_DATA_DIR: .*another process uses it/);
    await first.stop();
  });
});

/** A log whose reads take longer than a lone member's first election. */
function slowToRead(log: SharedLog): SharedLog {
  return {
    name: log.name,
    append: (record) => log.append(record),
    async read(from, options) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      return log.read(from, options);
    },
    bounds: () => log.bounds(),
    truncate: (before) => log.truncate(before),
    close: () => log.close(),
  };
}

it('refuses the log of another cluster before it writes to it, and says which setting to check', async () => {
  const path = temporary();
  await used(path);
  const foreign = { clusterName: 'other', dataDir: join(path, 'other') };
  const slow = (logs: SharedLogs): SharedLogs => ({
    open: async (spec, options) => slowToRead(await logs.open(spec, options)),
    verify: () => logs.verify(),
    close: () => logs.close(),
  });
  expect(await refusal(startOneMember(path, foreign, slow))).toMatch(
    /KV_LOG_MISCONFIGURED: .*raft-log-meta belongs to another cluster/,
  );
  expect(await refusal(startOneMember(path))).toBe('started');
});

it('is nobody else’s to look into, also when it was there before (CVE-2020-15113)', async () => {
  const path = temporary();
  mkdirSync(join(path, 'm1'), { recursive: true });
  chmodSync(join(path, 'm1'), 0o755);
  const member = await startOneMember(path);
  expect(statSync(join(path, 'm1')).mode & 0o777).toBe(0o700);
  await member.stop();
});

it('keeps its data over a restart', async () => {
  const path = temporary();
  const first = await startOneMember(path);
  const key = '/v1/kv/keys/kept';
  await fetch(`${first.url}${key}`, {
    method: 'PUT',
    body: 'v',
    headers: { 'content-type': 'text/plain' },
  });
  await first.stop();
  const second = await startOneMember(path);
  expect(await (await fetch(`${second.url}${key}`)).json()).toMatchObject({ value: 'v' });
  await second.stop();
});
