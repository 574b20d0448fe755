import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { shardCounter, shardHistogram } from '../src/gathered-metrics.ts';

it('tells every value when it is asked, also after many', async () => {
  const registry = new Registry();
  const sum = shardCounter(registry, { name: 'sum', help: 'A sum.' });
  const sizes = shardHistogram(registry, { name: 'sizes', help: 'Sizes.', buckets: [1, 8] });
  for (let i = 0; i < 2000; i += 1) {
    sum(String(i % 2), 3);
    sizes('0', i % 4);
  }
  for (const _ of [1, 2]) {
    const text = await registry.metrics();
    expect(text).toContain('sum{shard="0"} 3000\nsum{shard="1"} 3000\n');
    expect(text).toContain('sizes_bucket{le="1",shard="0"} 1000\n');
    expect(text).toContain('sizes_bucket{le="8",shard="0"} 2000\n');
    expect(text).toContain('sizes_sum{shard="0"} 3000\nsizes_count{shard="0"} 2000\n');
  }
});
