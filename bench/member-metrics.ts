const TIMEOUT_MS = 5000;

/** A metric of every shard of a member, by shard. */
export async function metricsOf(endpoint: string, name: string): Promise<Map<string, number>> {
  const url = `http://${endpoint}/metrics`;
  const text = await (await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })).text();
  const lines = text.matchAll(new RegExp(`^${name}\\{shard="([^"]+)"\\} (\\S+)$`, 'gm'));
  return new Map(Array.from(lines, ([, shard = '', value]) => [shard, Number(value)]));
}

/** The metric of one shard; 0 when the member has counted nothing yet. */
export async function metricOf(endpoint: string, name: string, shard: string): Promise<number> {
  return (await metricsOf(endpoint, name)).get(shard) ?? 0;
}
