import { type ErrorCode, errorSpec, isKvError, type KvError } from '@kvorum/base';

/** Exit codes of kvd; docs/operations.md lists them. Anything else that goes wrong at run time is 1. */
export const EXIT = {
  ok: 0,
  failed: 1,
  config: 2,
  dataDir: 3,
  logUnavailable: 4,
  logMisconfigured: 5,
  halted: 6,
  bug: 70,
} as const;

const BY_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  KV_CONFIG: EXIT.config,
  KV_DATA_DIR: EXIT.dataDir,
  KV_LOG_UNAVAILABLE: EXIT.logUnavailable,
  KV_LOG_MISCONFIGURED: EXIT.logMisconfigured,
  KV_HALTED: EXIT.halted,
  KV_CORRUPT: EXIT.halted,
  KV_STOPPED: EXIT.ok,
};

/** `kvd: what failed · why · what to do (CODE)`. */
export function errorLine(error: KvError): string {
  const what = errorSpec(error.code).message;
  const why = error.message.startsWith(`${what}: `) ? error.message.slice(what.length + 2) : '';
  const hint = error.details.hint ?? '';
  const parts = [what.replace(/^(kv|etcdserver): /, ''), why, why.includes(hint) ? '' : hint];
  return `kvd: ${parts.filter((part) => part !== '').join(' · ')} (${error.code})`;
}

/** Tells why the process ends and returns its exit code. Only a bug shows a stack. */
export function reportFatal(error: unknown, out: { write(text: string): unknown }): number {
  if (isKvError(error)) {
    if (error.code !== 'KV_STOPPED') out.write(`${errorLine(error)}\n`);
    return BY_CODE[error.code] ?? EXIT.failed;
  }
  out.write(
    `kvd: bug · please report this\n${error instanceof Error ? error.stack : String(error)}\n`,
  );
  return EXIT.bug;
}
