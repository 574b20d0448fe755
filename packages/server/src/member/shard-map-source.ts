import { type ErrorCode, isKvError, KvError, tryUtf8, utf8 } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { CommandResult, Replica } from '@kvorum/replica';
import { parseShardMap, SHARD_MAP_KEY, type ShardMap } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import { followMetaKey, readMetaKey } from './follow-meta-key.ts';
import { pause } from './system.ts';

const POLL_MS = 50;
const WRITE_TIMEOUT_MS = 5000;
const WAITING_LOG_MS = 5000;
const NOT_NOW: readonly ErrorCode[] = ['KV_NOT_LEADER', 'KV_NO_LEADER', 'KV_STOPPED'];

/** The map in a value of {@link SHARD_MAP_KEY}. Errors: KV_CORRUPT. */
export function decodeShardMap(value: Uint8Array): ShardMap {
  const text = tryUtf8(value);
  let plain: unknown;
  try {
    plain = text === undefined ? undefined : JSON.parse(text);
  } catch {
    plain = undefined; // refused below with one message for every kind of damage
  }
  const map = parseShardMap(plain);
  if (map.ok) return map.value;
  throw new KvError('KV_CORRUPT', `the shard map in the meta shard cannot be read: ${map.error}`);
}

/**
 * The shard map as the meta shard holds it: read from this member's own applied state (so that a restart waits for nobody),
 * created by the meta shard's leader at the cluster's first start, then watched.
 */
export class ShardMapSource {
  #meta: Replica;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(meta: Replica, clock: Clock, logger: Logger) {
    this.#meta = meta;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** The meta shard goes on in another replica; the one before is closed. */
  use(meta: Replica): void {
    this.#meta = meta;
  }

  /**
   * Waits until there is a map, creating it when this member leads the meta shard.
   * Errors: KV_HALTED when the meta shard halts; KV_CORRUPT; KV_STOPPED on abort.
   */
  async first(create: () => ShardMap, signal: AbortSignal): Promise<ShardMap> {
    let nextLineMs = this.#clock.nowMs() + WAITING_LOG_MS;
    for (;;) {
      const map = await this.#readOrWait();
      if (map !== undefined) return map;
      this.#checkHalted();
      if (signal.aborted) throw new KvError('KV_STOPPED');
      if (this.#meta.status().raft.role === 'leader') await this.#create(create());
      if (this.#clock.nowMs() >= nextLineMs) {
        nextLineMs += WAITING_LOG_MS;
        this.#logger.info('waiting for a majority of members to create the shard map');
      }
      await pause(POLL_MS, signal);
    }
  }

  /** A replica that installs a snapshot, or goes to another generation of its log, answers nobody for a while. */
  async #readOrWait(): Promise<ShardMap | undefined> {
    try {
      return await this.#read();
    } catch (error) {
      if (isKvError(error) && NOT_NOW.includes(error.code)) return undefined;
      throw error;
    }
  }

  #checkHalted(): void {
    const { raft, logName } = this.#meta.status();
    if (raft.halted === undefined) return;
    const foreign = raft.halted.reason === 'wrong-shard';
    throw new KvError('KV_HALTED', `${logName}: ${raft.halted.reason}: ${raft.halted.detail}`, {
      details: {
        shard: 'meta',
        hint: foreign
          ? 'the log belongs to another cluster: set log.topicPrefix or clusterName'
          : 'see docs/operations.md, "a halted shard"',
      },
    });
  }

  async #read(): Promise<ShardMap | undefined> {
    const { value } = await readMetaKey(this.#meta, SHARD_MAP_KEY, this.#clock);
    return value === undefined ? undefined : decodeShardMap(value);
  }

  /** Whoever is first wins; a failed attempt is repeated by the caller's loop. */
  async #create(map: ShardMap): Promise<void> {
    const value = utf8(JSON.stringify(map));
    const result = await this.#call((done) => {
      this.#meta.submit({
        request: {
          op: 'txn',
          compare: [{ key: SHARD_MAP_KEY, target: 'create', result: 'equal', value: 0 }],
          success: [{ op: 'put', key: SHARD_MAP_KEY, value }],
          failure: [],
        },
        session: undefined,
        deadlineMs: this.#clock.nowMs() + WRITE_TIMEOUT_MS,
        bytes: value.length + 64,
        done,
      });
    });
    if (result.ok) this.#logger.info({ bytes: value.length }, 'shard map created');
    else this.#logger.debug({ code: result.error.code }, 'shard map not created yet');
  }

  #call(start: (done: (result: CommandResult) => void) => void): Promise<CommandResult> {
    return new Promise((resolve) => {
      start(resolve);
    });
  }

  /** Calls `changed` with every later map; returns how to stop. */
  follow(changed: (map: ShardMap) => void): () => void {
    return followMetaKey({
      key: SHARD_MAP_KEY,
      name: 'the shard map',
      meta: () => this.#meta,
      clock: this.#clock,
      logger: this.#logger,
      changed: (value) => {
        if (value !== undefined) changed(decodeShardMap(value));
      },
    });
  }
}
