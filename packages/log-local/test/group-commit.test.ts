import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '@kvorum/base';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GroupCommit } from '../src/group-commit.ts';
import { LogDatabase, type NewRecord } from '../src/log-database.ts';
import { StoredLog } from '../src/stored-log.ts';

/** A database whose disk is full for a while: a write may be torn, so nobody knows whether it is there. */
class FullDisk extends LogDatabase {
  full: 'not-written' | 'written' | undefined;
  readonly groups: number[] = [];

  override async write(records: readonly NewRecord[]): Promise<void> {
    if (this.full !== 'not-written') await super.write(records);
    if (this.full !== undefined) throw new Error('no space left on device');
    this.groups.push(records.length);
  }
}

let directory: string;
let database: FullDisk;
let log: StoredLog;
let commit: GroupCommit;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kvorum-group-commit-'));
  database = new FullDisk(directory);
  await database.open();
  await database.create('log');
  const bounds = await database.load('log');
  if (bounds === undefined) throw new Error('the log was just created');
  log = new StoredLog('log', bounds);
  commit = new GroupCommit(database, () => [log]);
});
afterEach(async () => {
  await commit.close();
  await database.close();
  await rm(directory, { recursive: true });
});

it('writes together what arrives together', async () => {
  await Promise.all(['a', 'b', 'c'].map((text) => commit.append(log, utf8(text))));
  expect(database.groups).toEqual([3]);
});

it.each([
  { full: 'not-written', next: 1 },
  { full: 'written', next: 2 },
] as const)('a failed write ($full) is unknown; the next goes where the disk ends', async (row) => {
  await commit.append(log, utf8('a'));
  database.full = row.full;
  expect(await commit.append(log, utf8('b'))).toMatchObject({
    kind: 'unknown',
    error: { code: 'KV_LOG_UNAVAILABLE', outcome: 'unknown' },
  });
  database.full = undefined;
  expect(await commit.append(log, utf8('c'))).toEqual({ kind: 'appended', offset: row.next });
});
