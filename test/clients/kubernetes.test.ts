import { afterAll, expect, it } from 'vitest';
import { Subject } from '../differential/subject.ts';
import { type System, startKvd } from '../differential/systems.ts';
import { KubernetesLoad } from './kubernetes.ts';

let kvd: System | undefined;
afterAll(async () => {
  await kvd?.stop();
});

it('serves what an API server of Kubernetes asks of its store', async () => {
  kvd = await startKvd(1);
  const store = new Subject('kvd', kvd.endpoint);
  const load = new KubernetesLoad(store, { objects: 1000, updates: 300, compactEveryMs: 300 });
  const report = await load.run();
  store.close();
  expect(report.events).toBe(1300);
  expect(report.conflicts).toBeGreaterThan(0);
  expect(report.compactions).toBeGreaterThan(0);
});
