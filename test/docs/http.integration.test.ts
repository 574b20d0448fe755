import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../packages/server/test/support/dev-cluster.ts';
import { read } from '../repo/repository.ts';

const page = read('docs/operations.md');
let cluster: DevCluster;
let url: string;

beforeAll(async () => {
  const started = await startDevCluster(4);
  cluster = started.cluster;
  url = `http://${started.endpoint}`;
});
afterAll(async () => {
  await cluster.stop();
});

async function text(path: string): Promise<string> {
  const response = await fetch(url + path);
  return response.text();
}

describe('docs/operations.md', () => {
  it('lists exactly the metrics that /metrics has, besides Node’s own', async () => {
    const served = [...(await text('/metrics')).matchAll(/^# TYPE ((?:etcd|grpc|kv)_\w+)/gm)];
    const section = /## Metrics\n([\s\S]*?)\n## /.exec(page)?.[1] ?? '';
    const rows = [...section.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|(.*)$/gm)];
    // This member's elections are its own: what exists only over Kafka is not served here.
    const always = rows.filter(([, , meaning = '']) => !meaning.includes('only with [`election'));
    const listed = always.flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
    );
    expect(listed.sort()).toEqual(served.map(([, name = '']) => name).sort());
  });

  it('lists exactly the checks of /readyz', async () => {
    const checks = [...(await text('/readyz?verbose')).matchAll(/^\[.\](\w+) /gm)];
    const section = /## Health\n([\s\S]*?)\n## /.exec(page)?.[1] ?? '';
    const listed = [...section.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name);
    expect(listed).toEqual(checks.map(([, name]) => name));
  });
});

describe('docs/protocol.md', () => {
  it('lists every REST path of the OpenAPI document, and no other', async () => {
    const { paths } = JSON.parse(await text('/docs/json')) as { readonly paths: object };
    const served = Object.keys(paths).map(nameless);
    const section = read('docs/protocol.md').split('\n## REST\n')[1] ?? '';
    const rows = [...section.matchAll(/^\| (`(?:GET|PUT|POST|DELETE) [^|]*) \|/gm)];
    const listed = rows.flatMap(([, cell = '']) =>
      [...cell.matchAll(/(\/[\w/{}-]+)/g)].map(([, path = '']) => nameless(path)),
    );
    expect([...new Set(listed)].sort()).toEqual([...new Set(served)].sort());
  });
});

/** The name of a path's parameter does not matter. */
function nameless(path: string): string {
  return path.replace(/\/(?:\*|\{[^}]*\})$/, '/{key}');
}
