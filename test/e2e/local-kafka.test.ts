import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startKafka } from '../../scripts/kafka/index.ts';
import { kafkaJars } from '../../scripts/kafka/jars.ts';

const hasJars = await kafkaJars().then(
  () => true,
  () => false,
);
const TOOL = fileURLToPath(new URL('../../scripts/kafka/index.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Processes of brokers with their files below `directory`: the settings file is on the command line. */
function runningBrokers(directory: string): number {
  const { stdout } = spawnSync('ps', ['-eo', 'args='], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line.includes(`${directory}/broker-`)).length;
}

it.skipIf(!hasJars)('a broker is killed, restarted and stopped, and nothing is left', async () => {
  const kafka = await startKafka({ brokers: 1 });
  const [address] = kafka.brokers;
  expect(kafka.bootstrap).toBe(address);
  await kafka.kill(1);
  await expect(kafka.pause(1)).rejects.toThrow('broker 1 is not running');
  await kafka.restart(1);
  expect(kafka.brokers).toEqual([address]);
  await expect(kafka.kill(2)).rejects.toThrow('there is no broker 2');
  await kafka.stop();
  await expect(kafka.pause(1)).rejects.toThrow('broker 1 is not running');
});

it.skipIf(!hasJars)('brokers end with the process that started them, however it ends', async () => {
  const script = `
    const { startKafka } = await import(${JSON.stringify(TOOL)});
    const kafka = await startKafka({ brokers: 1 });
    console.log('DIRECTORY ' + kafka.directory);
    setInterval(() => {}, 1000);
  `;
  // Not the tsx command: that runs the script in a second process, which would outlive it.
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const directory = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const found = /DIRECTORY (\S+)/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', () => reject(new Error(`ended early: ${output}`)));
  });
  expect(runningBrokers(directory)).toBeGreaterThan(0);
  child.kill('SIGKILL');
  await expect.poll(() => runningBrokers(directory), { timeout: 10_000 }).toBe(0);
  spawnSync('rm', ['-rf', directory]);
});
