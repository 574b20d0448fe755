import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromUtf8, logOffset, shardId, utf8 } from '@kvorum/base';
import { type LocalLogs, openLocalLogs } from '@kvorum/log-local';
import type { SharedLog } from '@kvorum/ports';
import { describeSharedLogContract } from '@kvorum/testkit';
import { Level } from 'level';
import { afterEach, beforeEach, expect, it } from 'vitest';

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'kvorum-log-local-'));

describeSharedLogContract('local', async () => {
  const directory = await newDirectory();
  let logs = await openLocalLogs({ directory });
  return {
    recordBytesMax: 4 * 1024 * 1024,
    openMember: async () => logs.forMember(),
    restart: async () => {
      await logs.close();
      logs = await openLocalLogs({ directory });
    },
    dispose: async () => {
      await logs.close();
      await rm(directory, { recursive: true });
    },
  };
});

let directory: string;
const opened: LocalLogs[] = [];

async function open(): Promise<LocalLogs> {
  const logs = await openLocalLogs({ directory });
  opened.push(logs);
  return logs;
}

function openLog(logs: LocalLogs, shard = 0): Promise<SharedLog> {
  return logs.forMember().open({ shard: shardId(shard), generation: 0 }, { create: true });
}

beforeEach(async () => {
  directory = await newDirectory();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((logs) => logs.close()));
  await rm(directory, { recursive: true });
});

it('refuses a directory that is in use', async () => {
  await open();
  await expect(openLocalLogs({ directory })).rejects.toThrow(/data directory.*in use/);
});

it('refuses a database that is not its own', async () => {
  const foreign = new Level(directory);
  await foreign.put('a', 'b');
  await foreign.close();
  await expect(openLocalLogs({ directory })).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
  const still = new Level(directory);
  expect(await still.get('a')).toBe('b');
  await still.close();
});

it('refuses a damaged database', async () => {
  await (await open()).close();
  await writeFile(join(directory, 'CURRENT'), 'nonsense\n');
  await expect(openLocalLogs({ directory })).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
});

it('answers all of many appends to many logs at once, each in its own order', async () => {
  const logs = await open();
  const shards = await Promise.all(Array.from({ length: 16 }, (_, i) => openLog(logs, i)));
  const rounds = 10;
  await Promise.all(
    shards.map(async (log) => {
      for (let i = 0; i < rounds; i += 1) {
        expect(await log.append(utf8(`${log.name}/${i}`))).toEqual({ kind: 'appended', offset: i });
      }
    }),
  );
  for (const log of shards) {
    const signal = new AbortController().signal;
    const outcome = await log.read(logOffset(0), { bytesMax: 1 << 20, waitMs: 0, signal });
    const texts =
      outcome.kind === 'records' ? outcome.entries.map(({ bytes }) => fromUtf8(bytes)) : [];
    expect(texts).toEqual(Array.from({ length: rounds }, (_, i) => `${log.name}/${i}`));
  }
});

it('a member that follows gets records from memory and from disk alike', async () => {
  const logs = await open();
  const [writer, follower] = [await openLog(logs), await openLog(logs)];
  const big = new Uint8Array(1024 * 1024);
  for (let i = 0; i < 5; i += 1) {
    big.fill(i);
    await writer.append(big);
  }
  const seen: number[] = [];
  let next = 0;
  while (next < 5) {
    const outcome = await follower.read(logOffset(next), {
      bytesMax: 1024 * 1024,
      waitMs: 0,
      signal: new AbortController().signal,
    });
    for (const { bytes, offset } of outcome.kind === 'records' ? outcome.entries : []) {
      expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
      seen.push(bytes[0] ?? -1);
      next = offset + 1;
    }
  }
  expect(seen).toEqual([0, 1, 2, 3, 4]);
});

it('settles appends that are on their way when it closes', async () => {
  const logs = await open();
  const log = await openLog(logs);
  const outcomes = [1, 2, 3].map((i) => log.append(utf8(`${i}`)));
  await logs.close();
  const kinds = (await Promise.all(outcomes)).map(({ kind }) => kind);
  const again = await openLog(await open());
  const bounds = await again.bounds();
  expect(bounds).toMatchObject({ end: kinds.filter((kind) => kind === 'appended').length });
});

it('members are apart: closing one leaves the other open', async () => {
  const logs = await open();
  const one = logs.forMember();
  const spec = { shard: shardId(0), generation: 0 };
  const mine = await one.open(spec, { create: true });
  const theirs = await openLog(logs);
  await one.close();
  expect(await mine.append(utf8('x'))).toMatchObject({ kind: 'absent' });
  expect(await theirs.append(utf8('x'))).toMatchObject({ kind: 'appended' });
  await expect(one.open(spec, { create: false })).rejects.toMatchObject({ code: 'KV_STOPPED' });
});
