import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type System, startKvd } from '../differential/systems.ts';
import { Program } from '../e2e/command.ts';
import { etcdctl, findEtcdctl } from './etcdctl.ts';
import { orSkip } from './found.ts';

const path = orSkip('etcdctl', await findEtcdctl());

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
  refused('member update 77 --peer-urls=http://127.0.0.1:1', /member not found/),
  refused('member promote 77', /member not found/),
  ok('endpoint health', /is healthy/),
  ok('endpoint health --cluster', /is healthy/),
  ok('endpoint status -w json', /"version":"3\.\d+\.\d+"/),
  ok('endpoint hashkv', /127\.0\.0\.1:\d+, \d+/),
  ok('alarm list', /^$/m),
  ok('alarm disarm', /^$/m),
  ok('defrag', /Finished defragmenting etcd member/),
  ok('defrag --cluster', /Finished defragmenting etcd member/),
  refused('downgrade validate 3.5', /invalid downgrade target version/),
  refused('downgrade enable 3.5', /invalid downgrade target version/),
  ok('downgrade cancel', /Downgrade cancel success, cluster version 3\.6/),
  ok('completion bash', /etcdctl/),
  refused('move-leader 77', /bad leader transferee|not leader|no leader endpoint/),
  ok('lock d/lock -- echo held', /^held$/m),
  ok('user list', /^$/m),
  ok('user add someone:secret', /User someone created/),
  ok('user passwd someone --interactive=false', /Password updated/, 'other\n'),
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
  // It offers to make the user root when there is none, and asks for nothing here.
  refused('auth enable', /root user does not exist|User root created|EOF/),
  ok('auth status', /^Authentication Status: false/m),
];

const ROOT = '--user root:secret';

/** The last ones: from `auth enable` on nobody without a user gets in. */
const AUTHORIZATION: readonly Step[] = [
  ok('user add root:secret', /User root created/),
  ok('role add root', /Role root created/),
  ok('user grant-role root root', /Role root is granted to user root/),
  ok('auth enable', /Authentication Enabled/),
  refused('put d/a 1', /user name is empty/),
  ok(`put d/a 1 ${ROOT}`, /^OK$/m),
  { ...refused('get d/a --user root:wrong', /invalid user ID or password/), code: 2 },
  ok(`auth status ${ROOT}`, /^Authentication Status: true/m),
  ok(`auth disable ${ROOT}`, /Authentication Disabled/),
  ok('get d/a', /^d\/a\n1$/m),
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
  ok(`snapshot save ${join(directory, 'four')}`, /Snapshot saved at/),
  refused('compaction 3', /kvctl compaction REVISION --shard SHARD/),
  refused('del --prefix d/', /several shards.*\{d\}/),
  refused('get --prefix d/ --rev 2', /several shards.*\{d\}/),
  {
    ...refused('txn', /several shards.*\{d\}/),
    input: '\n\nput d/a 1\nput e/one 2\n\n\n\n',
  },
];

describe.skipIf(path === undefined).each([
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

  const program = path ?? '';
  const works: Program[] = [];
  afterEach(async () => {
    await Promise.all(works.splice(0).map(async (work) => work.kill()));
  });

  /** A command that goes on until it is ended. */
  const start = (...args: readonly string[]): Program => {
    const work = new Program(program, ['--endpoints', kvd.endpoint, ...args]);
    works.push(work);
    return work;
  };

  const say = async (...args: readonly string[]): Promise<string> =>
    (await etcdctl(program, kvd.endpoint, { args })).output;

  const check = async ({ args, input, prints, code = 0 }: Step): Promise<void> => {
    const request = { args, ...(input === undefined ? {} : { input }) };
    const finished = await etcdctl(program, kvd.endpoint, request);
    expect(finished.output).toMatch(prints);
    expect(finished.code).toBe(code);
  };

  it.each(steps)('$args', check);

  it('a key goes with its lease', async () => {
    const granted = await say('lease', 'grant', '3600');
    const id = /^lease ([0-9a-f]+)/.exec(granted)?.[1] ?? '';
    expect(await say('put', 'd/leased', 'v', `--lease=${id}`)).toMatch(/^OK/);
    expect(await say('lease', 'timetolive', id, '--keys')).toContain('attached keys([d/leased])');
    expect(await say('lease', 'keep-alive', '--once', id)).toContain('keepalived with TTL(3600)');
    await start('lease', 'keep-alive', id).until('keepalived with TTL(3600)');
    expect(await say('lease', 'revoke', id)).toContain('revoked');
    expect(await say('get', 'd/leased', '-w', 'fields')).toContain('"Count" : 0');
  });

  it('watch tells of what was, what is, and runs a command for it', async () => {
    await say('put', 'w/a', 'past');
    const json = await say('get', 'w/a', '-w', 'json');
    const revision = /"mod_revision":(\d+)/.exec(json)?.[1] ?? '';
    const key = start('watch', 'w/a', '--rev', revision, '--prev-kv');
    await key.until('PUT\nw/a\npast');
    const prefix = start('watch', '--prefix', 'w/', '--', 'sh', '-c', 'echo "got $ETCD_WATCH_KEY"');
    // What comes before the watch is there is not told.
    while (!prefix.output.includes('got "w/b"')) await say('put', 'w/b', 'now');
    await say('del', 'w/a');
    await key.until('DELETE\nw/a\npast\nw/a');
    await prefix.until('got "w/a"');
  });

  it('elect waits for its turn, and shows who leads', async () => {
    const first = start('elect', '{e}/leader', 'first');
    await first.until('first');
    const second = start('elect', '{e}/leader', 'second');
    const observer = start('elect', '-l', '{e}/leader');
    await observer.until('first');
    first.signal('SIGINT');
    await second.until('second');
    await observer.until('second');
  });

  it('lock is held by one at a time', async () => {
    const first = start('lock', 'e/lock');
    await first.until('e/lock/');
    const second = start('lock', 'e/lock');
    first.signal('SIGINT');
    await second.until('e/lock/');
    expect((await first.end()).code).not.toBeNull();
  });

  it('make-mirror copies what is there and what comes', async () => {
    await say('put', '{m}/from/a', '1');
    const args = ['--prefix', '{m}/from/', '--dest-prefix', '{m}/to/', kvd.endpoint];
    start('make-mirror', ...args);
    while (!(await say('get', '{m}/to/a')).includes('1'));
    await say('put', '{m}/from/b', '2');
    while (!(await say('get', '{m}/to/b')).includes('2'));
  });

  it('lets nobody in without a user, once that is wanted', async () => {
    for (const step of AUTHORIZATION) await check(step);
  });
});
