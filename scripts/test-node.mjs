// `npm run test:node -- 24`: the unit tests on another Node, taken from the npm package `node`.
import { install, must, ROOT, requireNode, run, step } from './setup.mjs';

requireNode();
const version = process.argv[2] ?? '24';
must(await install());
const vitest = [`${ROOT}node_modules/vitest/vitest.mjs`, 'run', '--project', 'unit'];
const onNode = ['exec', '--yes', `--package=node@${version}`, '--', 'node'];
must(await step(`fetch node@${version}`, () => run('npm', [...onNode, '--version'])));
must(await step(`unit tests on node@${version}`, () => run('npm', [...onNode, ...vitest])));
