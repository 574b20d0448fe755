// What every command needs before it can run on a fresh clone. Plain JavaScript without a
// dependency, since node_modules may not exist yet.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NODE_FLOOR = [20, 19];

/** Ends the process with `message` when this Node is older than package.json's `engines`. */
export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])) return;
  console.error(
    `Kvorum needs Node ${NODE_FLOOR.join('.')} or newer; this is ${process.versions.node}.`,
  );
  process.exit(1);
}

/** Runs a command in the repository with inherited output; resolves with its exit code. */
export function run(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal === null ? code : 1));
  });
}

/** Runs a script of an installed package with this Node, e.g. `node('typescript/bin/tsc', ['-b'])`. */
export function node(script, args, env) {
  return run(process.execPath, [`${ROOT}node_modules/${script}`, ...args], env);
}

/** One progress line with its duration. `work` resolves with an exit code; so does this. */
export async function step(name, work) {
  const startedMs = performance.now();
  console.log(`▸ ${name}`);
  const code = await work();
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${code === 0 ? '✔' : '✘'} ${name} (${seconds} s)`);
  return code;
}

function readJson(path) {
  return JSON.parse(readFileSync(`${ROOT}${path}`, 'utf8'));
}

/** True when node_modules holds what package-lock.json says; optional packages may be absent. */
export function isInstalled() {
  if (!existsSync(`${ROOT}node_modules/.package-lock.json`)) return false;
  const installed = readJson('node_modules/.package-lock.json').packages;
  return Object.entries(readJson('package-lock.json').packages).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') || wanted.optional || wanted.devOptional) return true;
    if (wanted.link) return existsSync(`${ROOT}${path}`);
    return installed[path]?.version === wanted.version;
  });
}

/** Installs what the lock file says, when it is not there already. No install script is run. */
export async function install() {
  if (isInstalled()) return 0;
  return step('install the packages of package-lock.json', () => {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
    const npm = process.env.npm_execpath;
    return npm?.endsWith('.js') ? run(process.execPath, [npm, ...args]) : run('npm', args);
  });
}

/** Compiles the given projects (all packages by default); seconds at first, then only what changed. */
export function build(projects = ['tsconfig.build.json']) {
  return step('build', async () => {
    const code = await node('typescript/bin/tsc', ['-b', ...projects]);
    if (process.platform !== 'win32') linkCommands();
    return code;
  });
}

/** Makes `npx kvd` and `npx kvctl` work: npm links a command only if its file is there at installation. */
function linkCommands() {
  for (const [command, folder] of Object.entries({ kvd: 'server', kvctl: 'kvctl' })) {
    const file = `${ROOT}packages/${folder}/dist/main.js`;
    const link = `${ROOT}node_modules/.bin/${command}`;
    if (!existsSync(file)) continue;
    chmodSync(file, 0o755);
    if (existsSync(link)) continue;
    rmSync(link, { force: true });
    symlinkSync(`../@kvorum/${folder}/dist/main.js`, link);
  }
}

/** Ends the process when a step failed. */
export function must(code) {
  if (code !== 0) process.exit(code);
}
