import { KvError } from '@kvorum/base';
import type { AutoCompactionPolicy } from '@kvorum/replica';

export interface AutoCompactionConfig {
  readonly mode: 'periodic' | 'revision' | 'off';
  /** periodic: a duration, `1h30m`, or hours without a unit. revision: how many revisions. `0` = off. As etcd's. */
  readonly retention: string;
}

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
type Unit = keyof typeof UNIT_MS;
const HOURS_PLAIN = UNIT_MS.h;

/** What the replicas are told; undefined = off. Errors: KV_CONFIG when the retention does not suit the mode. */
export function autoCompactionPolicy(
  config: AutoCompactionConfig,
): AutoCompactionPolicy | undefined {
  const { mode, retention } = config;
  if (mode === 'off') return undefined;
  if (mode === 'revision') {
    if (!/^[0-9]+$/.test(retention)) throw unsuited(config, 'a number of revisions, as 10000');
    const count = Number(retention);
    return count === 0 ? undefined : { mode, retention: count };
  }
  const retentionMs = durationMs(retention);
  if (!Number.isSafeInteger(retentionMs)) throw unsuited(config, 'a duration, as 1h or 30m');
  return retentionMs === 0 ? undefined : { mode, retentionMs };
}

/** The schema's pattern holds. */
function durationMs(text: string): number {
  if (/^[0-9]+$/.test(text)) return Number(text) * HOURS_PLAIN;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|s|m|h)/g)) {
    ms += Number(count) * UNIT_MS[unit as Unit];
  }
  return ms;
}

function unsuited({ mode, retention }: AutoCompactionConfig, expected: string): KvError {
  return new KvError(
    'KV_CONFIG',
    `autoCompaction.retention is "${retention}": mode ${mode} takes ${expected}`,
    { details: { hint: 'set autoCompaction.retention to match the mode, or the mode to off' } },
  );
}
