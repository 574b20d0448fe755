import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type System, startKvd } from '../differential/systems.ts';
import { Program } from '../e2e/command.ts';
import { pythonWithEtcd3 } from './python-environment.ts';

const found = await pythonWithEtcd3();
if (found.kind === 'missing') process.stderr.write(`SKIPPED python-etcd3: ${found.reason}\n`);

let kvd: System | undefined;
afterAll(async () => {
  await kvd?.stop();
});

describe.skipIf(found.kind === 'missing')('python-etcd3', () => {
  it('puts, gets, txns, watches, leases and locks work on three members and four shards', async () => {
    if (found.kind === 'missing') return;
    kvd = await startKvd(4, 3);
    const script = join(import.meta.dirname, 'python/main.py');
    const program = new Program(found.path, [script, ...kvd.endpoint.split(':')], {
      // Its generated code is older than what newer runtimes take.
      environment: { PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION: 'python' },
    });
    expect(await program.end(60_000)).toEqual({ code: 0, output: 'OK\n' });
  });
});
