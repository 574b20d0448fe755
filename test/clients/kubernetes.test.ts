import { expect, it, onTestFinished } from 'vitest';
import { Subject } from '../differential/subject.ts';
import { KubernetesLoad } from './kubernetes.ts';
import { startKubernetesStore } from './kubernetes-store.ts';

it.each([
  { shards: 1, objects: 600, updates: 200 },
  { shards: 4, objects: 300, updates: 60 },
])(
  'serves what an API server of Kubernetes asks of its store, on $shards shards',
  async ({ shards, ...size }) => {
    const kvd = await startKubernetesStore(shards);
    onTestFinished(async () => kvd.stop());
    const store = new Subject('kvd', kvd.endpoint);
    onTestFinished(() => store.close());
    const load = new KubernetesLoad(store, { ...size, compactEveryMs: 300, bookmarks: true });
    const report = await load.run();
    expect(report.events).toBe(size.objects + size.updates);
    expect(report.conflicts).toBeGreaterThan(0);
    // With several shards the store compacts by itself.
    expect(report.compactions > 0).toBe(shards === 1);
  },
);
