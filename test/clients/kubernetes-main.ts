// `npm run kubernetes-load`: 10,000 objects as Kubernetes keeps them, on one shard of a kvd of its own (or --endpoint host:port).
import { parseArgs } from 'node:util';
import { Subject } from '../differential/subject.ts';
import { startKvd } from '../differential/systems.ts';
import { KubernetesLoad } from './kubernetes.ts';

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '10000' },
    updates: { type: 'string', default: '10000' },
    endpoint: { type: 'string' },
  },
});

const kvd = values.endpoint === undefined ? await startKvd(1) : undefined;
const store = new Subject('store', values.endpoint ?? kvd?.endpoint ?? '');
try {
  const load = new KubernetesLoad(store, {
    objects: Number(values.objects),
    updates: Number(values.updates),
    compactEveryMs: 3000,
  });
  const report = await load.run();
  console.log(JSON.stringify(report));
} finally {
  store.close();
  await kvd?.stop();
}
