// `npm start`: from a fresh clone to a running development cluster. `--kafka` as the first argument
// (`npm run start:kafka`) puts its logs on a local Kafka instead of the embedded log. Every other
// argument goes to `kvd dev`, e.g. `npm start -- --members 5`.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { build, install, isInstalled, must, ROOT, requireNode, run, step } from './setup.mjs';

// npm passes a terminal's Ctrl-C on to a process that already had it from the terminal. kvd takes a
// second signal as "stop now", so it gets its own process group and one signal for such a pair.
const SIGNAL_PAIR_MS = 500;
const PARENT_POLL_MS = 500;
const BROKER_LIST = /[\w.-]+:\d+(?:,[\w.-]+:\d+)*/g;

const HELP = `Starts a development cluster of three members and four shards; Ctrl-C stops it.

  npm start                          logs in ./kvorum-data
  npm start -- --members 5           every flag is one of \`kvd dev\`
  npm run start:kafka                logs on a local Kafka, or on KAFKA_BROKERS
`;
const KVD = `${ROOT}packages/server/dist/main.js`;

requireNode();
const [first, ...rest] = process.argv.slice(2);
const onKafka = first === '--kafka';
const extra = onKafka || first === undefined ? rest : [first, ...rest];

if (process.argv.slice(2).some((word) => word === '--help' || word === '-h')) {
  console.log(HELP);
  // Its flags, where it is built: nothing is installed or built for a help text.
  const isBuilt = isInstalled() && existsSync(KVD);
  process.exit(isBuilt ? await run(process.execPath, [KVD, 'dev', '--help']) : 0);
}
must(await install());
must(await build(['packages/server', 'packages/kvctl']));
const logFlags = onKafka ? await kafkaFlags() : [];
serve(['dev', '--members', '3', '--shards', '4', ...logFlags, ...extra]);

/** A data directory belongs to one log: on another one its replicas would halt. So Kafka gets its own. */
async function kafkaFlags() {
  return ['--log', 'kafka', '--brokers', await brokers(), '--data-dir', './kvorum-data/kafka'];
}

/** `KAFKA_BROKERS`, or the bootstrap list that `npm run kafka -- start` prints. */
async function brokers() {
  if (process.env.KAFKA_BROKERS) return process.env.KAFKA_BROKERS;
  let output = '';
  must(
    await step('start three local Kafka brokers', () => {
      const child = spawn('npm', ['run', '--silent', 'kafka', '--', 'start'], {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      child.stdout.on('data', (chunk) => {
        output += chunk;
        process.stdout.write(chunk);
      });
      return new Promise((resolve) => child.once('close', resolve));
    }),
  );
  const list = output.match(BROKER_LIST)?.at(-1);
  if (list !== undefined) return list;
  console.error('`npm run kafka -- start` printed no broker list; set KAFKA_BROKERS instead.');
  process.exit(1);
}

function serve(args) {
  console.log(`▸ kvd ${args.join(' ')}`);
  const kvd = spawn(process.execPath, [KVD, ...args], {
    cwd: ROOT,
    stdio: 'inherit',
    detached: process.platform !== 'win32',
  });
  let lastSignalMs = Number.NEGATIVE_INFINITY;
  function pass(signal) {
    const nowMs = performance.now();
    if (nowMs - lastSignalMs < SIGNAL_PAIR_MS) return;
    lastSignalMs = nowMs;
    kvd.kill(signal);
  }
  process.on('SIGINT', () => pass('SIGINT'));
  process.on('SIGTERM', () => pass('SIGTERM'));
  process.on('SIGHUP', () => pass('SIGTERM'));
  process.once('exit', () => kvd.kill('SIGTERM'));
  kvd.once('exit', (code, signal) => process.exit(signal === null ? code : 1));
  if (process.env.npm_lifecycle_event) stopWithParent(() => pass('SIGTERM'));
}

/** A SIGTERM to npm ends npm and its shell but does not reach us: the loss of the parent stands for it. */
function stopWithParent(stop) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    stop();
  }, PARENT_POLL_MS);
}
