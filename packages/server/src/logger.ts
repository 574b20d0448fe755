import { type DestinationStream, type Logger, pino } from 'pino';
import type { KvdConfig } from './config/schema.ts';

export type { Logger } from 'pino';

const LEVEL_NAMES: Readonly<Record<number, string>> = {
  10: 'TRACE',
  20: 'DEBUG',
  30: 'INFO ',
  40: 'WARN ',
  50: 'ERROR',
  60: 'FATAL',
};

const ERROR_LEVEL = 50;

/** Where an error arose is worth a person's screen when something is wrong, and not when it is tried again. */
function shown(value: unknown, level: number): string {
  if (typeof value === 'string') return value;
  const { stack, message } = { ...(value as { readonly stack?: unknown; message?: unknown }) };
  const isBrief = level < ERROR_LEVEL && typeof stack === 'string';
  return JSON.stringify(isBrief ? message : value);
}

/** Turns pino's JSON lines into lines for people; fields follow the text as key=value. */
function prettyStream(out: { write(text: string): unknown }): DestinationStream {
  return {
    write(line: string): void {
      const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const clock = new Date(Number(time)).toISOString().slice(11, 23);
      const rest = Object.entries(fields)
        .filter(([name]) => name !== 'pid' && name !== 'hostname')
        .map(([name, value]) => `${name}=${shown(value, Number(level))}`);
      const name = LEVEL_NAMES[Number(level)] ?? String(level);
      out.write(
        `${clock} ${name} ${typeof msg === 'string' ? msg : ''}${rest.length > 0 ? `  ${rest.join(' ')}` : ''}\n`,
      );
    },
  };
}

/** Structured log on stderr: every line carries the member; replicas add shard, term and index. */
export function createLogger(
  config: Pick<KvdConfig, 'logLevel' | 'logFormat' | 'name'>,
  out: { write(text: string): unknown } = process.stderr,
): Logger {
  const options = {
    level: config.logLevel,
    base: { member: config.name },
    redact: ['clusterToken', 'password', '*.password'],
  };
  const stream: DestinationStream =
    config.logFormat === 'pretty'
      ? prettyStream(out)
      : {
          write: (line: string) => {
            out.write(line);
          },
        };
  return pino(options, stream);
}
