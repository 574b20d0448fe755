import { describe, expect, it } from 'vitest';
import { useOneMember } from '../../server/test/support/use-member.ts';
import { kvctl, type Ran, type Surroundings } from './support/run-kvctl.ts';

const one = useOneMember({ shards: 1 });

const on = (args: readonly string[], around?: Surroundings): Promise<Ran> =>
  kvctl(['--endpoints', one.url, ...args], around);
const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await on(args);
  expect(ran).toMatchObject({ code: 0, err: '' });
  return ran.out;
};

describe('forms of output', () => {
  it('fields are one a line, with the revision and the shard as their head', async () => {
    expect(await out('put', 'f', 'v"1"', '-w', 'fields')).toMatch(
      /^"Shard" : "0"\n"Revision" : \d+\n$/,
    );
    expect(await out('get', 'f', '-w', 'fields')).toMatch(
      /"Key" : "f"\n"CreateRevision" : (\d+)\n"ModRevision" : \1\n"Version" : 1\n"Value" : "v\\"1\\""\n"Lease" : 0\n"More" : false\n"Count" : 1\n$/,
    );
    expect(await out('get', 'f', '--count-only', '-w', 'fields')).toMatch(/"Count" : 1\n$/);
    expect(await out('del', 'f', '--prev-kv', '-w', 'fields')).toMatch(
      /"Deleted" : 1\n"PrevKey" : "f"\n/,
    );
  });

  it('hex is what etcdctl prints', async () => {
    await out('put', 'h', 'a\n');
    expect(await out('get', 'h', '--hex')).toBe('\\x68\n\\x61\\x0a\n');
    expect(await out('get', 'h', '--hex', '--print-value-only')).toBe('\\x61\\x0a\n');
  });
});

describe('get', () => {
  it('bounds revisions and sorts as told, in capitals or not', async () => {
    const revisions: string[] = [];
    for (const name of ['r/a', 'r/b', 'r/c']) {
      const { revision } = JSON.parse(await out('put', name, 'v', '-w', 'json')) as {
        revision: number;
      };
      revisions.push(String(revision));
    }
    const keys = async (...flags: readonly string[]): Promise<string> =>
      (await out('get', 'r/', '--prefix=true', '--keys-only', ...flags)).replaceAll('\n\n', ' ');
    const [first = '', , last = ''] = revisions;
    expect(await keys('--min-mod-rev', last)).toBe('r/c ');
    expect(await keys('--max-create-rev', first)).toBe('r/a ');
    expect(await keys('--sort-by', 'MODIFY', '--order', 'descend')).toBe('r/c r/b r/a ');
    expect(await on(['get', 'r/', '--min-mod-rev', '9', '--max-mod-rev', '8'])).toMatchObject({
      code: 3,
    });
    expect(await out('get', '', '--from-key', '--count-only')).toMatch(/^\d+\n$/);
  });
});

it('a txn ends at the third blank line, says what comes next, and takes the flags of get', async () => {
  const typed = [
    'val("t") = "x"\n',
    '\nput t 1\n',
    '\nget t --limit 1 --order descend\n\n',
    'rest',
  ];
  const {
    code,
    out: printed,
    err,
  } = await on(['txn', '-i'], {
    pieces: (async function* () {
      for (const text of typed) yield Buffer.from(text);
    })(),
  });
  expect({ code, printed, err }).toEqual({
    code: 0,
    printed: 'FAILURE\n\n',
    err: 'compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\n',
  });
});

describe('watch', () => {
  it('takes several from its input, and goes on behind wrong ones', async () => {
    const rev = String(
      (JSON.parse(await out('put', 'w', '1', '-w', 'json')) as { revision: number }).revision,
    );
    const stdin = [
      `watch w --rev ${rev} --count 1`,
      'look w',
      'watch w --rev x',
      `watch w x --prefix=false --rev=${rev} --count 1 -- sh -c 'echo $ETCD_WATCH_KEY $ETCD_WATCH_EVENT_TYPE'`,
    ].join('\n');
    const ran = await on(['watch', '-i'], { stdin });
    expect(ran.code).toBe(0);
    expect(ran.out).toContain('PUT\nw\n1\n');
    expect(ran.out).toContain('"w" "PUT"\n');
    expect(ran.err).toContain('Invalid command: look w');
    expect(ran.err).toContain('"x" is not a whole number');
  });
});

describe('users and roles', () => {
  it('prints roles and users as etcdctl does', async () => {
    expect(await out('role', 'add', 'r')).toBe('Role r created\n');
    await out('role', 'grant-permission', 'r', 'read', 'd/', '--prefix');
    await out('role', 'grant-permission', 'r', 'readwrite', 'k', '--from-key');
    await out('role', 'grant-permission', 'r', 'write', 'one');
    const lines =
      'Role r\nKV Read:\n\t[d/, d0) (prefix d/)\n\t[k, <open ended>\nKV Write:\n\t[k, <open ended>\n\tone\n';
    expect(await out('role', 'get', 'r')).toBe(lines);
    expect(await on(['user', 'add', 'u', '--interactive=false'], { stdin: 'secret\n' })).toEqual({
      code: 0,
      out: 'User u created\n',
      err: '',
    });
    await out('user', 'grant-role', 'u', 'r');
    expect(await out('user', 'get', 'u')).toBe('User: u\nRoles: r\n');
    expect(await out('user', 'get', 'u', '--detail')).toBe(`User: u\n\n${lines}`);
    expect(await out('role', 'revoke-permission', 'r', 'd/', '--prefix')).toBe(
      'Permission of range [d/, d0) is revoked from role r\n',
    );
    expect(await out('role', 'revoke-permission', 'r', 'one')).toBe(
      'Permission of key one is revoked from role r\n',
    );
    expect(await out('user', 'add', 'v', '--new-user-password', 'x')).toBe('User v created\n');
  });

  it('asks a person twice for a new password', async () => {
    const asked: string[] = [];
    const answering = (...answers: string[]): Surroundings => ({
      askSecret: async (prompt) => {
        asked.push(prompt);
        return answers.shift() ?? '';
      },
    });
    const different = await on(['user', 'passwd', 'u', '--interactive'], answering('a', 'b'));
    expect(different).toMatchObject({ code: 3, err: 'Error: given passwords are different\n' });
    expect(await on(['user', 'passwd', 'u'], answering('new', 'new'))).toMatchObject({
      out: 'Password updated\n',
    });
    expect(asked.slice(0, 2)).toEqual([
      'Password of u: ',
      'Type password of u again for confirmation: ',
    ]);
    const asUser = await on(['--user', 'u', 'user', 'get', 'u'], answering('new'));
    expect(asked.at(-1)).toBe('Password: ');
    expect(asUser.err).toContain('authentication is not enabled');
  });
});

describe('maintenance', () => {
  it('answers what etcdctl prints', async () => {
    expect(await out('alarm', 'list')).toBe('');
    expect(await out('alarm', 'disarm')).toBe('');
    expect(await out('defrag')).toMatch(
      /^Finished defragmenting etcd member\[http:.*\]\. took .*ms\n$/,
    );
    const failed = await kvctl([
      '--endpoints',
      'http://127.0.0.1:1',
      '--timeout',
      '50ms',
      'defrag',
    ]);
    expect(failed).toMatchObject({ code: 4, out: '' });
    expect(failed.err).toMatch(/^Failed to defragment etcd member\[http:\/\/127.0.0.1:1\]/);
    expect(await out('endpoint', 'hashkv')).toMatch(/^http:\S+, \d+, \d+\n$/);
    expect(await out('endpoint', 'hashkv', '--rev', '2', '-w', 'fields')).toContain(
      '"hash_revision" : "2"',
    );
    expect(await out('move-leader', 'm1')).toMatch(
      /^Leadership transferred from ([0-9a-f]{16}) to \1\n$/,
    );
    expect(await on(['move-leader', 'm9'])).toMatchObject({ code: 3 });
    const refused = await on(['downgrade', 'enable', '3.5']);
    expect(refused.err).toContain('invalid downgrade target version');
  });
});

describe('leases', () => {
  it('are granted, listed, renewed and revoked as etcdctl prints it', async () => {
    expect(await out('lease', 'grant', '60', '77')).toBe(
      'lease 0000000000000077 granted with TTL(60s)\n',
    );
    const exists = await on(['lease', 'grant', '60', '77']);
    expect(exists).toMatchObject({ code: 4, out: '' });
    expect(exists.err).toContain('lease already exists');
    await out('put', 'l/a', 'v', '--lease', '77');
    expect(await out('lease', 'timetolive', '77', '--keys')).toMatch(
      /^lease 0000000000000077 granted with TTL\(60s\), remaining\(\d+s\), attached keys\(\[l\/a\]\)\n$/,
    );
    expect(await out('lease', 'list')).toBe('found 1 leases\n0000000000000077\n');
    expect(await out('lease', 'keep-alive', '77', '--once')).toBe(
      'lease 0000000000000077 keepalived with TTL(60)\n',
    );
    expect(
      JSON.parse(await out('lease', 'timetolive', '77', '--keys', '-w', 'json')),
    ).toMatchObject({ id: '0000000000000077', granted: 60, keys: [{ key: 'l/a' }] });
    expect(await out('lease', 'revoke', '77')).toBe('lease 0000000000000077 revoked\n');
    expect(await out('get', 'l/a')).toBe('');
    expect(await out('lease', 'timetolive', '77')).toBe('lease 0000000000000077 already expired\n');
    expect(await on(['lease', 'revoke', '77'])).toMatchObject({ code: 4 });
    expect(await on(['lease', 'keep-alive', '77'])).toMatchObject({ code: 4 });
    expect(await on(['lease', 'grant', '0'])).toMatchObject({ code: 3 });
  });

  it('are kept alive until somebody revokes them', async () => {
    await out('lease', 'grant', '60', '78');
    const interrupt = new AbortController();
    const ran = await on(['lease', 'keep-alive', '78'], {
      signal: interrupt.signal,
      onOut: () => interrupt.abort(),
    });
    expect(ran).toMatchObject({ code: 5, out: 'lease 0000000000000078 keepalived with TTL(60)\n' });
    await out('lease', 'revoke', '78');
  });
});

describe('locks and elections', () => {
  it('a lock is held while a command runs, whose exit code is the end', async () => {
    const script = 'echo "$ETCD_LOCK_KEY $KVCTL_LOCK_REV"; exit 7';
    const ran = await on(['lock', 'd/l', '--', 'sh', '-c', script]);
    expect(ran).toMatchObject({ code: 7, err: '' });
    expect(ran.out).toMatch(/^d\/l\/[0-9a-f]+ \d+\n$/);
    expect(await out('get', 'd/l/', '--prefix')).toBe('');
    expect(await on(['lock', 'd/l', '--', '/no/such/program'])).toMatchObject({ code: 6 });
  });

  it('a lock keeps the next one waiting until it is released', async () => {
    const interrupt = new AbortController();
    let next: Promise<Ran> | undefined;
    const first = await on(['lock', 'd/w', '--ttl', '60'], {
      signal: interrupt.signal,
      onOut: () => {
        next = on(['--timeout', '10s', 'lock', 'd/w', 'echo', 'mine']).finally(() => undefined);
        void on(['--timeout', '200ms', 'lock', 'd/w']).then((late) => {
          expect(late).toMatchObject({ code: 4, out: '' });
          interrupt.abort();
        });
      },
    });
    expect(first.code).toBe(0);
    expect(first.out).toMatch(/^d\/w\/[0-9a-f]+\n\n$/);
    expect(await next).toMatchObject({ code: 0, out: 'mine\n' });
  });

  it('an election prints who leads, to the leader and to those who listen', async () => {
    const interrupt = new AbortController();
    let listening: Promise<Ran> | undefined;
    const leader = await on(['elect', 'd/e', 'host7'], {
      signal: interrupt.signal,
      onOut: () => {
        const stop = new AbortController();
        listening = on(['elect', '-l', 'd/e'], {
          signal: stop.signal,
          onOut: () => {
            stop.abort();
            interrupt.abort();
          },
        });
      },
    });
    expect(leader.code).toBe(0);
    expect(leader.out).toMatch(/^d\/e\/[0-9a-f]+\nhost7\n$/);
    expect(await listening).toMatchObject({ code: 0, out: leader.out });
    expect(await on(['elect', 'd/e'])).toMatchObject({ code: 3 });
    expect(await on(['elect', '-l', 'd/e', 'x'])).toMatchObject({ code: 3 });
  });
});

describe('check', () => {
  it('perf writes at the pace of its load, tells as etcdctl does, and leaves nothing behind', async () => {
    const ran = await on(['check', 'perf', '--duration', '500ms', '--auto-compact']);
    expect(ran.out).toMatch(
      /^Compacted shard 0 with revision \d+\n(PASS|FAIL): Throughput .* writes\/s\n.*lowest request took.*s\n.*tddev.*s\n(PASS|FAIL)\n$/,
    );
    expect([0, 1]).toContain(ran.code);
    expect(await out('get', '/kvctl-check-perf/', '--prefix', '--count-only')).toBe('0\n');
    await out('put', '/kvctl-check-perf/mine', 'v');
    const refused = await on(['check', 'perf', '--load', 'XLARGE']);
    expect(refused).toMatchObject({ code: 3, out: '' });
    expect(refused.err).toContain('prefix "/kvctl-check-perf/" has keys');
  });

  it('datascale tells how memory has grown', async () => {
    const ran = await on(['check', 'datascale', '--keys', '40']);
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.out).toMatch(
      /^Start data scale check for work load \[40 key-value pairs, .*\nPASS: Approximate system memory used : -?[\d.]+ MB.\n$/,
    );
  });
});
