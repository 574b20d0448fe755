// `npm run kubernetes-load`: 10,000 objects as Kubernetes keeps them, on one shard of a kvd of its own (or --shards N with a routing
// rule, or --endpoint host:port).
import { parseArgs } from 'node:util';
import { Subject } from '../differential/subject.ts';
import { KubernetesLoad } from './kubernetes.ts';
import { startKubernetesStore } from './kubernetes-store.ts';

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '10000' },
    updates: { type: 'string', default: '10000' },
    endpoint: { type: 'string' },
    shards: { type: 'string', default: '1' },
  },
});

const kvd =
  values.endpoint === undefined ? await startKubernetesStore(Number(values.shards)) : undefined;
const store = new Subject('store', values.endpoint ?? kvd?.endpoint ?? '');
try {
  const load = new KubernetesLoad(store, {
    objects: Number(values.objects),
    updates: Number(values.updates),
    compactEveryMs: 3000,
    bookmarks: kvd !== undefined,
  });
  const report = await load.run();
  console.log(JSON.stringify(report));
} finally {
  store.close();
  await kvd?.stop();
}
