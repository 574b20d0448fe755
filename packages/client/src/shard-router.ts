import { KvError, type KvRequest } from '@kvorum/base';
import { MalformedAnswer } from './answer.ts';
import type { Span } from './key-range.ts';

export class ShardRouter {
  readonly version: number;
  readonly shards: readonly string[];
  constructor(version: number, shards: readonly string[]) {
    this.version = version;
    this.shards = shards;
  }
  static parse(map: unknown): ShardRouter {
    const m = map as { version: number; shards: string[] };
    if (!Array.isArray(m.shards)) throw new MalformedAnswer('bad map');
    return new ShardRouter(m.version, m.shards);
  }
  shardOf(key: Uint8Array): string {
    let h = 0;
    for (const b of key) h = (h * 31 + b) & 0xffff;
    return this.shards[h % this.shards.length] ?? '0';
  }
  shardsOf(span: Span): readonly string[] {
    return span.rangeEnd.length === 0 ? [this.shardOf(span.key)] : this.shards;
  }
  route(request: KvRequest): string | KvError {
    if (request.op === 'compact') return this.shards[0] ?? '0';
    if (request.op === 'txn') return this.shards[0] ?? '0';
    return this.shardOf(request.key);
  }
}
