// `npm run kafka -- start|stop|status|kill N|restart N`: three real Kafka brokers on this machine.
import { fileURLToPath } from 'node:url';
import { type FoundKafka, findKafka, startKafka } from './local-cluster.ts';

const DIRECTORY = fileURLToPath(new URL('../../.kafka/cluster', import.meta.url));
const BROKERS = 3;
const USAGE = `usage: npm run kafka -- start       three brokers; prints the bootstrap list
                    -- stop        ends them; the data stays in .kafka/
                    -- status
                    -- kill N      SIGKILL for broker N
                    -- restart N   starts broker N again`;

async function found(): Promise<FoundKafka> {
  const kafka = await findKafka(DIRECTORY);
  if (kafka === undefined) throw new Error('no cluster yet; npm run kafka -- start');
  return kafka;
}

async function start(): Promise<void> {
  const { bootstrap } = await startKafka({
    brokers: BROKERS,
    directory: DIRECTORY,
    detached: true,
  });
  console.log(`${BROKERS} brokers are ready:\n${bootstrap}`);
}

async function status(): Promise<boolean> {
  const kafka = await findKafka(DIRECTORY);
  for (const { id, address, pid } of kafka?.running ?? []) {
    console.log(`broker ${id}  ${address}  ${pid === undefined ? 'stopped' : `pid ${pid}`}`);
  }
  if (kafka === undefined) console.log('no cluster yet; npm run kafka -- start');
  return kafka?.running.every(({ pid }) => pid !== undefined) ?? false;
}

async function main([command, argument]: readonly string[]): Promise<number> {
  const broker = Number(argument);
  switch (command) {
    case 'start':
      await start();
      return 0;
    case 'stop':
      await (await findKafka(DIRECTORY))?.cluster.stop();
      console.log('stopped');
      return 0;
    case 'status':
      return (await status()) ? 0 : 1;
    case 'kill':
      await (await found()).cluster.kill(broker);
      return 0;
    case 'restart':
      await (await found()).cluster.restart(broker);
      return 0;
    default:
      console.error(USAGE);
      return 2;
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
