import type { Revision } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { CommandResult, Replica } from '@kvorum/replica';
import type { Logger } from '../logger.ts';

const POLL_MS = 50;
const READ_TIMEOUT_MS = 5000;
const RETRY_MS = 1000;

export interface FollowedKey {
  readonly key: Uint8Array;
  /** For log lines: `the shard map`. */
  readonly name: string;
  /** The member's replica of the meta group, by then. */
  readonly meta: () => Replica;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Every value, the one at hand first; `revision` = of the replica's state that holds it. Undefined: there is none. */
  readonly changed: (value: Uint8Array | undefined, revision: Revision) => void;
}

/** The value as this member's replica has applied it. Errors: those of a serializable read. */
export async function readMetaKey(
  meta: Replica,
  key: Uint8Array,
  clock: Clock,
): Promise<{ readonly value: Uint8Array | undefined; readonly revision: Revision }> {
  const result = await new Promise<CommandResult>((resolve) => {
    const request = { op: 'range', key, serializable: true } as const;
    meta.read(request, clock.nowMs() + READ_TIMEOUT_MS, resolve);
  });
  if (!result.ok) throw result.error;
  const { response } = result;
  const [kv] = response.op === 'range' ? response.kvs : [];
  return { value: kv?.value, revision: response.revision };
}

/** Follows a key of the meta group in this member's own replica; returns how to stop. A cancelled watch starts over. */
export function followMetaKey(what: FollowedKey): () => void {
  const { key, name, meta, clock, logger, changed } = what;
  let stopped = false;
  let cancel = (): void => {};
  const start = async (): Promise<void> => {
    const { revision, value } = await readMetaKey(meta(), key, clock);
    if (stopped) return;
    changed(value, revision);
    const handle = meta().watch(
      { key, startRevision: revision + 1 },
      {
        created: () => {},
        events: (events) => {
          for (const { type, kv } of events)
            changed(type === 'put' ? kv.value : undefined, kv.modRevision);
          return true;
        },
        cancelled: () => {
          if (!stopped) clock.setTimer(POLL_MS, run);
        },
      },
    );
    cancel = () => handle.cancel();
  };
  const run = (): void => {
    start().catch((error: unknown) => {
      if (stopped) return;
      logger.warn({ err: error }, `cannot follow ${name}; trying again`);
      clock.setTimer(RETRY_MS, run);
    });
  };
  run();
  return () => {
    stopped = true;
    cancel();
  };
}
