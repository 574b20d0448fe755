import { afterAll, describe, expect, it } from 'vitest';
import { type System, startKvd } from '../differential/systems.ts';
import { Command, KVCTL, Program } from '../e2e/command.ts';
import { goProgram } from './go-programs.ts';

const found = await goProgram('clientv3');
if (found.kind === 'missing') process.stderr.write(`SKIPPED clientv3 (Go): ${found.reason}\n`);

const MEMBERS = 3;
const PORT_STEP = 10;

let kvd: System | undefined;
afterAll(async () => {
  await kvd?.stop();
});

describe.skipIf(found.kind === 'missing')('clientv3 and its concurrency package', () => {
  it('put, get, txn, leases, locks, elections and STM work, and a watch goes on over a failover', async () => {
    if (found.kind === 'missing') return;
    kvd = await startKvd(1, MEMBERS);
    const [host = '', port = '0'] = kvd.endpoint.split(':');
    const endpoints = Array.from(
      { length: MEMBERS },
      (_, i) => `${host}:${Number(port) + PORT_STEP * i}`,
    );
    const program = new Program(found.path, [endpoints.join(',')]);
    await program.until('KILL');
    const kill = ['--endpoints', endpoints.join(','), 'dev', 'kill', '1'];
    expect((await new Command(KVCTL, kill).end()).output).toContain('m1 was killed');
    const { code, output } = await program.end();
    // The client logs what it sends again.
    expect(output).toMatch(/^OK$/m);
    expect(output).not.toContain('too_many_pings');
    expect(code).toBe(0);
  });
});
