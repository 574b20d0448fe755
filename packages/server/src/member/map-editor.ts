import { assert, KvError, utf8 } from '@kvorum/base';
import { keepInitialVoters, parseShardMap, SHARD_MAP_KEY, type ShardMap } from '@kvorum/shard';
import { MetaEditor, type MetaEditorParts } from './meta-editor.ts';
import { decodeShardMap } from './shard-map-source.ts';

/**
 * Says what the map should be, from what it is: called again when somebody else was faster. Undefined: it is as wanted. May throw a
 * KvError, which refuses the edit.
 */
export type MapChange = (map: ShardMap) => ShardMap | undefined;

function decode(bytes: Uint8Array | undefined): ShardMap {
  if (bytes === undefined) throw new KvError('KV_UNAVAILABLE', 'there is no shard map yet');
  return decodeShardMap(bytes);
}

/** Changes the shard map in the meta group by compare-and-set, from any member. */
export class MapEditor {
  readonly #editor: MetaEditor<ShardMap>;

  constructor(parts: MetaEditorParts) {
    const encode = (map: ShardMap): Uint8Array => utf8(JSON.stringify(map));
    const what = { key: SHARD_MAP_KEY, name: 'the shard map', decode, encode };
    this.#editor = new MetaEditor(parts, what);
  }

  /**
   * Resolves with the map as the edit left it. The version is raised here.
   *
   * Errors: what `change` throws; KV_TIMEOUT when the meta group took no edit for 15 seconds (the edit may come about yet).
   */
  async update(change: MapChange): Promise<ShardMap> {
    const edited = await this.#editor.update((map) => {
      const wanted = change(map);
      if (wanted === undefined) return undefined;
      const next = { ...keepInitialVoters(map, wanted), version: map.version + 1 };
      const parsed = parseShardMap(JSON.parse(JSON.stringify(next)));
      assert(parsed.ok, parsed.ok ? '' : `an edit broke the shard map: ${parsed.error}`);
      return parsed.value;
    });
    return edited.value;
  }
}
