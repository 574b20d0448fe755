import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type System, startKvd } from '../differential/systems.ts';
import { etcdctl, findEtcdctl } from './etcdctl.ts';

const found = await findEtcdctl();
if (found.kind === 'missing') process.stderr.write(`SKIPPED etcdctl: ${found.reason}\n`);

const directory = mkdtempSync(join(tmpdir(), 'kvorum-etcdctl-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Step {
  readonly args: readonly string[];
  readonly input?: string;
  readonly prints: RegExp;
  /** 0 when absent. */
  readonly code?: number;
}

const ok = (args: string, prints: RegExp, input?: string): Step => ({
  args: args.split(' '),
  prints,
  ...(input === undefined ? {} : { input }),
});
const refused = (args: string, prints: RegExp): Step => ({
  args: args.split(' '),
  prints,
  code: 1,
});

/** What holds with any number of shards. Keys of one command lie in one directory, and so in one shard. */
const EVERYWHERE: readonly Step[] = [
  ok('version', /etcdctl version: 3\./),
  ok('put d/a 1', /^OK$/m),
  ok('put d/b', /^OK$/m, 'from stdin'),
  ok('get d/b', /^d\/b\nfrom stdin$/m),
  ok('get d/ --prefix --keys-only', /^d\/a\n\nd\/b$/m),
  ok('get d/a d/c -w fields', /"Count" : 2/),
  ok('get d/ --prefix --limit 1 --order DESCEND --sort-by KEY --print-value-only', /^from stdin$/m),
  ok('get d/a -w json', /"key":"ZC9h".*"value":"MQ=="/),
  ok('put d/a 2 --prev-kv', /^OK\nd\/a\n1$/m),
  ok('del d/a --prev-kv', /^1\nd\/a\n2$/m),
  ok(
    'txn',
    /^SUCCESS\n\nOK\n\nd\/t\nv$/m,
    'version("d/t") = "0"\n\nput d/t v\nget d/t\n\nget d/t\n\n',
  ),
  ok('txn', /^FAILURE\n\nd\/t\nv$/m, 'mod("d/t") = "0"\n\nput d/t w\n\nget d/t\n\n'),
  ok('lease grant 3600', /^lease [0-9a-f]+ granted with TTL\(3600s\)$/m),
  ok('lease list', /^found 1 leases\n[0-9a-f]+$/m),
  refused('lease revoke 77', /requested lease not found/),
  ok('lease timetolive 77', /lease 0*77 already expired/),
  ok('member list', /, started, m1, http:\/\/127\.0\.0\.1:\d+, http:\/\/127\.0\.0\.1:\d+, false/),
  refused('member add m9 --peer-urls=http://127.0.0.1:1', /kvctl member add/),
  refused('member remove 77', /member not found/),
  ok('endpoint health', /is healthy/),
  ok('endpoint status -w json', /"version":"3\.\d+\.\d+"/),
  ok('endpoint hashkv', /127\.0\.0\.1:\d+, \d+/),
  ok('alarm list', /^$/m),
  ok('alarm disarm', /^$/m),
  ok('defrag', /Finished defragmenting etcd member/),
  refused('move-leader 77', /bad leader transferee|not leader/),
  ok('lock d/lock -- echo held', /^held$/m),
  ok('user list', /^$/m),
  ok('user add someone:secret', /User someone created/),
  ok('role add reader', /Role reader created/),
  ok('role grant-permission reader read d/ d0', /Role reader updated/),
  ok('role get reader', /\[d\/, d0\)/),
  ok('user grant-role someone reader', /Role reader is granted to user someone/),
  ok('user get someone', /Roles: reader/),
  ok('user revoke-role someone reader', /Role reader is revoked from user someone/),
  ok('role revoke-permission reader d/ d0', /Permission of range \[d\/, d0\) is revoked from role/),
  ok('role list', /^reader$/m),
  ok('role delete reader', /Role reader deleted/),
  ok('user delete someone', /User someone deleted/),
  refused('auth enable', /root user does not exist|User root created/),
];

const ONE_SHARD: readonly Step[] = [
  ok(`snapshot save ${join(directory, 'snapshot')}`, /Snapshot saved at/),
  ok('compaction 3', /compacted revision 3/),
  refused('compaction 3', /required revision has been compacted/),
  refused('get d/b --rev 2', /required revision has been compacted/),
  refused('get d/b --rev 100000', /required revision is a future revision/),
  ok('get --from-key d/b --keys-only', /^d\/b\n\nd\/t$/m),
];

const FOUR_SHARDS: readonly Step[] = [
  ok('put e/one 1', /^OK$/m),
  ok('get --prefix d/ --keys-only', /^d\/b\n\nd\/t$/m),
  {
    ...ok(`snapshot save ${join(directory, 'refused')}`, /kvctl backup save copies them all/),
    code: 5,
  },
  refused('compaction 3', /every shard has revisions of its own/),
];

describe.skipIf(found.kind === 'missing').each([
  { shards: 1, members: 1, steps: [...EVERYWHERE, ...ONE_SHARD] },
  { shards: 4, members: 3, steps: [...EVERYWHERE, ...FOUR_SHARDS] },
])('etcdctl on $members members and $shards shards', ({ shards, members, steps }) => {
  let kvd: System;
  beforeAll(async () => {
    kvd = await startKvd(shards, members);
  });
  afterAll(async () => {
    await kvd.stop();
  });

  const path = found.kind === 'found' ? found.path : '';

  it.each(steps)('$args', async ({ args, input, prints, code = 0 }) => {
    const request = { args, ...(input === undefined ? {} : { input }) };
    const finished = await etcdctl(path, kvd.endpoint, request);
    expect(finished.output).toMatch(prints);
    expect(finished.code).toBe(code);
  });

  it('a key goes with its lease', async () => {
    const granted = await etcdctl(path, kvd.endpoint, { args: ['lease', 'grant', '3600'] });
    const id = /^lease ([0-9a-f]+)/.exec(granted.output)?.[1] ?? '';
    const say = async (...args: readonly string[]): Promise<string> =>
      (await etcdctl(path, kvd.endpoint, { args })).output;
    expect(await say('put', 'd/leased', 'v', `--lease=${id}`)).toMatch(/^OK/);
    expect(await say('lease', 'timetolive', id, '--keys')).toContain('attached keys([d/leased])');
    expect(await say('lease', 'keep-alive', '--once', id)).toContain('keepalived with TTL(3600)');
    expect(await say('lease', 'revoke', id)).toContain('revoked');
    expect(await say('get', 'd/leased', '-w', 'fields')).toContain('"Count" : 0');
  });
});
