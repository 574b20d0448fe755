import { expect, it } from 'vitest';
import { useOneMember } from './support/use-member.ts';

const member = useOneMember();

interface SseEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

async function put(key: string, value: string): Promise<void> {
  await fetch(`${member.url}/v1/kv/put`, {
    method: 'POST',
    body: JSON.stringify({ key, value }),
    headers: { 'content-type': 'application/json' },
  });
}

async function* events(query: string, lastEventId?: string): AsyncGenerator<SseEvent> {
  const abort = new AbortController();
  const response = await fetch(`${member.url}/v1/kv/watch?${query}`, {
    signal: abort.signal,
    headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
  });
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  let text = '';
  try {
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const fields = new Map(
          block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]),
        );
        const event = fields.get('event');
        if (event !== undefined) {
          const data = JSON.parse(fields.get('data') ?? '{}') as Record<string, unknown>;
          yield { event, id: fields.get('id'), data };
        }
      }
    }
  } finally {
    abort.abort();
  }
}

async function take(source: AsyncGenerator<SseEvent>, count: number): Promise<SseEvent[]> {
  const taken: SseEvent[] = [];
  while (taken.length < count) {
    const next = await source.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

const keysOf = (seen: readonly SseEvent[]): string[] =>
  seen.map((event) => String(event.data['key'])).sort((a, b) => a.localeCompare(b));

it('follows a prefix over all shards and resumes after the last event seen', async () => {
  const first = events('key=w/&prefix=true');
  expect((await take(first, 1))[0]).toMatchObject({ event: 'created' });
  for (const key of ['w/a', 'w/b/c', 'w/d/e']) await put(key, 'one');
  const seen = await take(first, 3);
  await first.return(undefined);
  expect(keysOf(seen)).toEqual(['w/a', 'w/b/c', 'w/d/e']);
  expect(new Set(seen.map((event) => event.data['shard']))).toEqual(new Set(['0', '1']));
  const last = seen.at(-1)?.id;
  for (const key of ['w/a', 'w/f/g', 'w/h/i']) await put(key, 'two');
  const second = events('key=w/&prefix=true', last);
  const later = (await take(second, 4)).filter((event) => event.event === 'put');
  await second.return(undefined);
  expect(keysOf(later)).toEqual(['w/a', 'w/f/g', 'w/h/i']);
});

it('delivers from a revision, deletes too, with the previous value', async () => {
  await put('one', 'a');
  const got = (await (await fetch(`${member.url}/v1/kv/keys/one`)).json()) as {
    modRevision: number;
  };
  await fetch(`${member.url}/v1/kv/keys/one`, { method: 'DELETE' });
  const source = events(`key=one&startRevision=${got.modRevision}&prevKv=true`);
  const seen = (await take(source, 3)).filter((event) => event.event !== 'created');
  await source.return(undefined);
  expect(seen.map((event) => event.event)).toEqual(['put', 'delete']);
  expect(seen[1]?.data).toMatchObject({ type: 'delete', key: 'one', prevKv: { value: 'a' } });
});

it('filters', async () => {
  const source = events('key=f&noPut=true');
  await take(source, 1);
  await put('f', '1');
  await fetch(`${member.url}/v1/kv/keys/f`, { method: 'DELETE' });
  expect((await take(source, 1))[0]).toMatchObject({ event: 'delete' });
  await source.return(undefined);
});
