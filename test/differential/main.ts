// `npm run differential -- --operations N --seed N [--reference 3.4]`: random sequences against a real etcd and kvd, until one shows a
// difference.
import { parseArgs } from 'node:util';
import { differenceText, type Finding, findingText, runCampaign } from './campaign.ts';
import { rulesFor, traitsOf } from './intended.ts';
import { etcd36, etcdOnPath, openPair, type System, startEtcd, startKvd } from './systems.ts';

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '3000' },
    seed: { type: 'string', default: '1' },
    /** Several pairs of servers at once: most of the time of each is spent waiting. */
    pairs: { type: 'string', default: '3' },
    /** The first difference of every sequence, as it is, instead of the shrunk one of the first that has any. */
    survey: { type: 'boolean', default: false },
    /** 3.6 = built by Go, or ETCD36; 3.4 = the one on the PATH. */
    reference: { type: 'string', default: '3.6' },
    /** kvd; or etcd: against a second one of the reference's version there is no difference to find. */
    candidate: { type: 'string', default: 'kvd' },
  },
});
const PROGRESS_EVERY = 100;

async function main(): Promise<number> {
  const found = await (values.reference === '3.6' ? etcd36() : etcdOnPath());
  if (found.kind === 'missing') throw new Error(`no etcd ${values.reference}: ${found.reason}`);
  const etcd = found.path;
  const start = async (): Promise<System> =>
    values.candidate === 'kvd' ? startKvd() : startEtcd(etcd);
  const opened = await Promise.all(
    Array.from({ length: Number(values.pairs) }, async () => openPair(startEtcd(etcd), start())),
  );
  const [{ reference, candidate } = { reference: undefined, candidate: undefined }] = opened;
  const version = reference?.version ?? '';
  let unsteady = 0;
  let surveyed = 0;
  const onDifference = (one: Finding): void => {
    surveyed += 1;
    console.log(differenceText(one));
  };
  try {
    const finding = await runCampaign({
      pairs: opened.map(({ pair }) => pair),
      traits: traitsOf(version),
      rules: rulesFor(version),
      seed: Number(values.seed),
      operations: Number(values.operations),
      ...(values.survey ? { onDifference } : {}),
      onUnsteady: (one) => {
        unsteady += 1;
        console.log(`SHOWED ONCE, NOT AGAIN: ${findingText(one)}`);
      },
      onProgress: (operations, seed) => {
        if (seed % PROGRESS_EVERY === 0) console.log(`${operations} operations, seed ${seed}`);
      },
    });
    if (finding !== undefined) console.log(findingText(finding));
    else
      console.log(`${candidate?.name} against ${reference?.name}: ${summary(surveyed, unsteady)}`);
    return finding === undefined && surveyed === 0 ? 0 : 1;
  } finally {
    await Promise.all(opened.map(async (one) => one.close()));
  }
}

function summary(surveyed: number, unsteady: number): string {
  const once = unsteady === 0 ? '' : `, ${unsteady} that showed once and not again`;
  return `${values.operations} operations from seed ${values.seed}, ${surveyed === 0 ? 'no' : surveyed} sequences with a difference${once}`;
}

process.exitCode = await main();
