// `npm run differential -- --operations N --seed N --reference 3.4|3.6 [--candidate kvd|etcd|host:port]`
import { parseArgs } from 'node:util';
import { findingText, runCampaign } from './campaign.ts';
import { intendedFor, traitsOf } from './intended.ts';
import { Subject } from './subject.ts';
import { etcd36, etcdOnPath, etcdVersion, startEtcd, startKvd, type System } from './systems.ts';

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '3000' },
    seed: { type: 'string', default: '1' },
    reference: { type: 'string', default: '3.6' },
    candidate: { type: 'string', default: 'kvd' },
  },
});
const PROGRESS_EVERY = 100;

async function candidateOf(name: string, etcd: string): Promise<System> {
  if (name === 'kvd') return startKvd();
  if (name === 'etcd') return startEtcd(etcd);
  return { name, endpoint: name, stop: async () => undefined };
}

async function main(): Promise<number> {
  const found = await (values.reference === '3.4' ? etcdOnPath() : etcd36());
  if (found.kind === 'missing') throw new Error(`no etcd ${values.reference}: ${found.reason}`);
  const version = await etcdVersion(found.path);
  const systems = [await startEtcd(found.path), await candidateOf(values.candidate, found.path)];
  const [reference, candidate] = systems.map(({ name, endpoint }) => new Subject(name, endpoint));
  if (reference === undefined || candidate === undefined) return 2;
  const pair = { reference, candidate };
  let unsteady = 0;
  try {
    const finding = await runCampaign({
      pair,
      traits: traitsOf(version),
      intended: intendedFor(version),
      seed: Number(values.seed),
      operations: Number(values.operations),
      onUnsteady: (finding) => {
        unsteady += 1;
        console.log(`SHOWED ONCE, NOT AGAIN: ${findingText(finding, pair)}`);
      },
      onProgress: (operations, seed) => {
        if (seed % PROGRESS_EVERY === 0) console.log(`${operations} operations, seed ${seed}`);
      },
    });
    const against = `${candidate.name} against ${reference.name}`;
    if (finding !== undefined) console.log(findingText(finding, pair));
    else console.log(`${against}: ${values.operations} operations without a difference`);
    if (unsteady > 0) console.log(`${unsteady} showed once and not again`);
    return finding === undefined ? 0 : 1;
  } finally {
    reference.close();
    candidate.close();
    await Promise.all(systems.map(async (system) => system.stop()));
  }
}

process.exitCode = await main();
