// `npm run chaos -- --minutes 60 --seed N`: faults on real processes, and everything the clients saw checked.
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos-run.ts';
import { faultRows, reportText } from './report.ts';

const USAGE = `usage: npm run chaos -- [options]
  --minutes M      how long faults are injected (2)
  --seed N         draws faults and load (random, printed)
  --rate N         operations a second (200)
  --port N         first of 24 ports to use (free ones)
  --out DIR        histories, logs and report.json (a temporary directory, deleted when all is well)
  --only TEXT,...  only faults with TEXT in their kind, as the report names it: 'all brokers'
                   ('replace,scale': members are replaced, shards scaled, under kills)
  --recovery MS    most that recovery may take after the last heal (10000)
  --no-lost-tail   do not sacrifice a cluster at the end
  --json           the report as JSON on standard output`;

const OPTIONS = {
  minutes: { type: 'string', default: '2' },
  seed: { type: 'string' },
  rate: { type: 'string', default: '200' },
  port: { type: 'string' },
  out: { type: 'string' },
  only: { type: 'string' },
  recovery: { type: 'string', default: '10000' },
  'no-lost-tail': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const say = (line: string): void => {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
};

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new TypeError(`--${name} must be a whole number, not ${text}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const stop = new AbortController();
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    // The second signal ends this process at once: the guards beside it end everything else.
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(code);
      say(`${name}: stopping every process of this run`);
      stop.abort(new TypeError(`stopped by ${name}`));
    });
  }
  const seed = wholeNumber('seed', values.seed ?? `${Math.floor(Math.random() * 1e9)}`);
  const directory = values.out ?? join(tmpdir(), `kvorum-chaos-${seed}-${process.pid}`);
  const report = await runChaos({
    seed,
    minutes: Number(values.minutes),
    opsPerSecond: wholeNumber('rate', values.rate),
    firstPort: values.port === undefined ? undefined : wholeNumber('port', values.port),
    directory,
    recoveryMsMax: wholeNumber('recovery', values.recovery),
    only: values.only,
    loseTail: !values['no-lost-tail'],
    signal: stop.signal,
    say,
  });
  const json = JSON.stringify({ ...report, faults: faultRows(report.episodes) }, null, 2);
  process.stdout.write(values.json ? `${json}\n` : `\n${reportText(report)}`);
  const isClean = report.violations.length === 0;
  if (isClean && values.out === undefined) rmSync(directory, { recursive: true, force: true });
  return isClean ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(
      `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(2);
  },
);
