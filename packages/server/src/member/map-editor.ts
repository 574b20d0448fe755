import { assert, KvError, utf8 } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import { keepInitialVoters, parseShardMap, SHARD_MAP_KEY, type ShardMap } from '@kvorum/shard';
import type { Router } from '../router/router.ts';
import { decodeShardMap } from './shard-map-source.ts';
import { pause } from './system.ts';

const ATTEMPT_MS = 5000;
const RETRY_MS = 20;
const RETRY_MS_MAX = 500;
/** Somebody else was faster, or the meta group has no leader: tried again until then. */
const GIVE_UP_MS = 15_000;

export interface MapEditorParts {
  readonly clock: Clock;
  readonly router: Pick<Router, 'onMeta'>;
}

/**
 * Says what the map should be, from what it is: called again when somebody else was faster. Undefined: it is as wanted. May throw a
 * KvError, which refuses the edit.
 */
export type MapChange = (map: ShardMap) => ShardMap | undefined;

/** Changes the shard map in the meta group by compare-and-set, from any member. */
export class MapEditor {
  readonly #parts: MapEditorParts;
  /** One edit of this member at a time: they would only push each other back. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(parts: MapEditorParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with the map as the edit left it. The version is raised here.
   *
   * Errors: what `change` throws; KV_TIMEOUT when the meta group took no edit for 15 seconds (the edit may come about yet).
   */
  update(change: MapChange): Promise<ShardMap> {
    const done = this.#busy.then(() => this.#update(change));
    this.#busy = done.catch(() => undefined);
    return done;
  }

  async #update(change: MapChange): Promise<ShardMap> {
    const { clock } = this.#parts;
    const untilMs = clock.nowMs() + GIVE_UP_MS;
    let delayMs = RETRY_MS;
    let written: string | undefined;
    for (;;) {
      const found = await this.#read(untilMs);
      // An attempt whose outcome was unknown came about after all.
      if (found.text === written) return found.map;
      const wanted = change(found.map);
      if (wanted === undefined) return found.map;
      written = JSON.stringify({
        ...keepInitialVoters(found.map, wanted),
        version: found.map.version + 1,
      });
      const next = parseShardMap(JSON.parse(written));
      assert(next.ok, next.ok ? '' : `an edit broke the shard map: ${next.error}`);
      if (await this.#write(written, found.modRevision)) return next.value;
      if (clock.nowMs() >= untilMs)
        throw new KvError('KV_TIMEOUT', 'the shard map was not changed');
      await pause(delayMs);
      delayMs = Math.min(delayMs * 2, RETRY_MS_MAX);
    }
  }

  async #read(
    untilMs: number,
  ): Promise<{ readonly map: ShardMap; readonly text: string; readonly modRevision: number }> {
    const response = await this.#parts.router.onMeta(
      { op: 'range', key: SHARD_MAP_KEY },
      { deadlineMs: untilMs },
    );
    const [kv] = response.op === 'range' ? response.kvs : [];
    if (kv === undefined) throw new KvError('KV_UNAVAILABLE', 'there is no shard map yet');
    const { map, text } = decodeShardMap(kv.value);
    return { map, text, modRevision: kv.modRevision };
  }

  /** False: it was another map by then, or it is not known what became of it. */
  async #write(text: string, modRevision: number): Promise<boolean> {
    const { clock, router } = this.#parts;
    try {
      const response = await router.onMeta(
        {
          op: 'txn',
          compare: [{ key: SHARD_MAP_KEY, target: 'mod', result: 'equal', value: modRevision }],
          success: [{ op: 'put', key: SHARD_MAP_KEY, value: utf8(text) }],
          failure: [],
        },
        { deadlineMs: clock.nowMs() + ATTEMPT_MS },
      );
      return response.op === 'txn' && response.succeeded;
    } catch (error) {
      // Whether it came about shows the next reading.
      if (error instanceof KvError) return false;
      throw error;
    }
  }
}
