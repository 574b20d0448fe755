import type { KvError } from '@kvorum/base';
import type { Command } from './api.ts';
import type { ReplicaLogger, ReplicaOptions } from './replica-options.ts';

/**
 * Which history a shard forgets by itself.
 *
 * `periodic`: what has been superseded for longer than `retentionMs`. `revision`: all but the newest `retention` revisions.
 */
export type AutoCompactionPolicy =
  | { readonly mode: 'periodic'; readonly retentionMs: number }
  | { readonly mode: 'revision'; readonly retention: number };

/** Between two looks at whether a compaction is due. */
const CHECK_MS = 1000;
/** After one that failed. */
const RETRY_MS = 10_000;
/** A shard that is written slowly is compacted by count so often all the same; etcd looks every five minutes. */
const REVISION_MS_MAX = 300_000;
/** Else it is compacted by count when so much of the retention has gathered beyond it. */
const REVISION_SLACK = 0.1;
const COMMAND_TIMEOUT_MS = 7000;
const COMMAND_BYTES = 64;

/** What a decision rests on; times in milliseconds. */
export interface AutoCompactionView {
  readonly revision: number;
  /** -1 = never. */
  readonly compactRevision: number;
  /** The newest revision old enough to go, by age; undefined = none, or not kept account of. */
  readonly expiredRevision: number | undefined;
  /** Since the last compaction by this leader. */
  readonly sinceMs: number;
}

/** Where to compact now; undefined = nothing to do. Never beyond the current revision, never backwards. */
export function compactionTarget(
  policy: AutoCompactionPolicy,
  view: AutoCompactionView,
): number | undefined {
  const target =
    policy.mode === 'periodic' ? view.expiredRevision : revisionTarget(policy.retention, view);
  // Nothing is superseded at revision 1, the empty store.
  if (target === undefined || target <= Math.max(1, view.compactRevision)) return undefined;
  return target;
}

function revisionTarget(retention: number, view: AutoCompactionView): number | undefined {
  const target = view.revision - retention;
  const gathered = target - Math.max(1, view.compactRevision);
  return gathered > retention * REVISION_SLACK || view.sinceMs >= REVISION_MS_MAX
    ? target
    : undefined;
}

export interface AutoCompactionHost {
  /** Undefined while history of an earlier compaction is still being removed. */
  readonly view: () => Omit<AutoCompactionView, 'sinceMs'> | undefined;
  readonly submit: (command: Command) => void;
  readonly compacted: () => void;
  readonly logger: ReplicaLogger;
}

/**
 * Compacts the shard that this replica leads, one ordinary compaction command at a time, so that it goes through the log and
 * every replica compacts at the same place. A new leader goes on from what it has applied.
 */
export class AutoCompaction {
  readonly #policy: AutoCompactionPolicy;
  readonly #host: AutoCompactionHost;
  #open = false;
  #nextMs = 0;
  #lastMs: number | undefined;

  constructor(policy: AutoCompactionPolicy, host: AutoCompactionHost) {
    this.#policy = policy;
    this.#host = host;
  }

  /** To be called now and then while this replica leads and takes writes. */
  tick(nowMs: number): void {
    this.#lastMs ??= nowMs;
    if (this.#open || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + CHECK_MS;
    const view = this.#host.view();
    if (view === undefined) return;
    const target = compactionTarget(this.#policy, { ...view, sinceMs: nowMs - this.#lastMs });
    if (target === undefined) return;
    this.#lastMs = nowMs;
    this.#compact(target, view.compactRevision, nowMs);
  }

  #compact(revision: number, from: number, nowMs: number): void {
    const { logger, submit, compacted } = this.#host;
    this.#open = true;
    submit({
      request: { op: 'compact', revision },
      session: undefined,
      deadlineMs: nowMs + COMMAND_TIMEOUT_MS,
      bytes: COMMAND_BYTES,
      done: (result) => {
        this.#open = false;
        if (result.ok) {
          logger.info({ revision, from, mode: this.#policy.mode }, 'history compacted');
          compacted();
        } else if (!alreadyDone(result.error)) {
          this.#nextMs = nowMs + RETRY_MS;
          logger.warn({ revision, code: result.error.code }, 'automatic compaction failed');
        }
      },
    });
  }
}

/** As the options ask for it; undefined = history is kept. */
export function autoCompactionOf(
  options: Pick<ReplicaOptions, 'autoCompaction' | 'metrics' | 'shard' | 'logger'>,
  state: { readonly autoCompactionView: AutoCompactionHost['view'] },
  submit: AutoCompactionHost['submit'],
): AutoCompaction | undefined {
  const { autoCompaction, metrics, shard, logger } = options;
  if (autoCompaction === undefined) return undefined;
  return new AutoCompaction(autoCompaction, {
    view: () => state.autoCompactionView(),
    submit,
    compacted: () => metrics.autoCompacted(shard),
    logger,
  });
}

/** Somebody compacted at or beyond the target meanwhile. */
function alreadyDone(error: KvError): boolean {
  return error.code === 'KV_COMPACTED';
}
