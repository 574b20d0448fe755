// `npm test`: from a fresh clone to a verdict. The last line is `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { install, must, node, ROOT, requireNode, run, step } from './setup.mjs';
import { staticChecks } from './verify.mjs';

const REPORTS = 'node_modules/.cache/kvorum';
/** The unit tests of the simulator run seeds 1 to this one. */
const UNIT_SEEDS = 40;

requireNode();
must(await install());
const kafka = findKafka();
if (kafka === undefined && process.env.KVORUM_REQUIRE_KAFKA === '1') {
  console.error(
    'KVORUM_REQUIRE_KAFKA=1, but there is no KAFKA_BROKERS, no Docker, no Java + Maven.',
  );
  process.exit(1);
}
console.log(kafka === undefined ? 'No Kafka on this machine.' : `Real Kafka: ${kafka}`);

const failedChecks = await staticChecks();
const total = { passed: 0, failed: failedChecks.length, skipped: 0 };
/** What failed, told once more at the end: thousands of lines lie between a failure and the verdict. */
const failures = failedChecks.map((check) => `check: ${check}`);
mkdirSync(`${ROOT}${REPORTS}`, { recursive: true });
await runProject('unit');
await runSeeds({ from: UNIT_SEEDS + 1, to: 1000 });
await runProject('integration');
// In a run of its own: the Kafka that the others share is gone by then.
await runProject('integration-alone');

if (failures.length > 0) console.log(`\nFailed:\n${failures.map((one) => `✗ ${one}`).join('\n')}`);
if (kafka === undefined) warnSkipped();
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);

/** How the integration tests will get a Kafka, or `undefined`: in the order that they try. */
function findKafka() {
  const works = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
  if (process.env.KAFKA_BROKERS) return `KAFKA_BROKERS=${process.env.KAFKA_BROKERS}`;
  if (works('docker', ['info'])) return 'Docker (testcontainers)';
  if (works('java', ['-version']) && works('mvn', ['-version']))
    return 'Java + Maven (three local brokers)';
  return undefined;
}

async function runProject(project) {
  const report = `${ROOT}${REPORTS}/${project}.json`;
  rmSync(report, { force: true });
  const args = ['run', '--project', project, '--passWithNoTests', '--reporter=default'];
  const code = await step(`${project} tests`, () =>
    node('vitest/vitest.mjs', [...args, '--reporter=json', `--outputFile.json=${report}`], {
      KVORUM_SHARE_KAFKA: '1',
    }),
  );
  const counted = readReport(report);
  total.passed += counted.numPassedTests;
  total.skipped += counted.numPendingTests + counted.numTodoTests;
  // A file that does not load has no failed test, only a failed run.
  total.failed += Math.max(counted.numFailedTests, code === 0 ? 0 : 1);
  const failed = failuresIn(counted);
  if (code !== 0 && failed.length === 0)
    failed.push(`${project} tests: an error outside of any test, see above`);
  failures.push(...failed);
}

/** The failed tests, and the files that did not load, each with the beginning of its message. */
function failuresIn({ testResults }) {
  return testResults
    .filter((file) => file.status === 'failed')
    .flatMap((file) => {
      const tests = file.assertionResults.filter((test) => test.status === 'failed');
      const path = file.name.replace(ROOT, '');
      if (tests.length === 0) return [`${path}: ${opening(file.message)}`];
      return tests.map((one) => `${path} > ${one.fullName}\n${opening(one.failureMessages[0])}`);
    });
}

function opening(message = '') {
  return message.split('\n').slice(0, 20).join('\n').slice(0, 2000);
}

/** Simulated clusters, one a seed; the unit tests have the planted bugs that they must catch. */
async function runSeeds({ from, to }) {
  const seeds = ['--from', `${from}`, '--seeds', `${to - from + 1}`];
  const code = await step(`simulation of seeds ${from} to ${to}`, () =>
    run('npm', ['run', '--silent', 'sim', '--', ...seeds]),
  );
  if (code === 0) total.passed += 1;
  else {
    total.failed += 1;
    failures.push(`simulation of seeds ${from} to ${to}`);
  }
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    // vitest ended before it wrote a report: its exit code has the verdict.
    return {
      numPassedTests: 0,
      numFailedTests: 0,
      numPendingTests: 0,
      numTodoTests: 0,
      testResults: [],
    };
  }
}

function warnSkipped() {
  const rule = '!'.repeat(78);
  console.log(`\n${rule}
!! NOTHING WAS TESTED ON A REAL KAFKA: no KAFKA_BROKERS, no Docker, no Java + Maven.
!! Everything that runs on Kafka topics was SKIPPED. Install Java 17 and Maven, or start
!! Docker, or set KAFKA_BROKERS=host:port,... and run \`npm test\` again.
!! KVORUM_REQUIRE_KAFKA=1 makes a missing Kafka a failure.
${rule}`);
}
