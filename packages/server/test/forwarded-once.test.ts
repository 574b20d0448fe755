import { shardId, utf8 } from '@kvorum/base';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestCluster } from './support/test-cluster.ts';

const NAMES = ['m1', 'm2', 'm3'];
const cluster = new TestCluster();
beforeAll(
  () =>
    cluster.found(NAMES, {
      ...{ shards: 1, 'limits.electionMsMin': 2000, 'limits.electionMsMax': 4000 },
    }),
  60_000,
);
afterAll(() => cluster.dispose(), 30_000);

it('what a member forwarded goes no further: no request travels in circles (CVE-2020-15114)', async () => {
  const hostOf = (name: string) => cluster.member(name).host;
  await cluster.until(() => NAMES.some((name) => hostOf(name).leads('0')));
  const followers = NAMES.filter((name) => !hostOf(name).leads('0'));
  expect(followers).toHaveLength(2);
  for (const name of followers) {
    const { router, clock } = hostOf(name);
    const put = { op: 'put', key: utf8('k'), value: utf8('v') } as const;
    const result = await router.serveForwarded(shardId(0), put, {
      deadlineMs: clock.nowMs() + 5000,
    });
    expect(result).toMatchObject({ ok: false, error: { code: 'KV_NOT_LEADER' } });
  }
});
