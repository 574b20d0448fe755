import { utf8 } from '@kvorum/base';
import { connect, KvError, type KvorumClient, op } from '@kvorum/client';
import { FRAME, OP } from '@kvorum/wire';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RawSession } from '../../packages/server/test/support/raw-session.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { openHalf, rawHttp, residentBytes, sessionEnd } from './attack.ts';
import { ProcessCluster } from './process-cluster.ts';

/** What clients may do to running members; what operators may do to a start is in bad-start.test.ts. */
const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED bad input tests, no Kafka: ${kafka.reasons.join('; ')}\n`);
}

const MIB = 1024 * 1024;
const TOO_LARGE = 2 * MIB;
const JSON_TYPE = { 'content-type': 'application/json' };

describe.skipIf(kafka.kind === 'unavailable')('a cluster on Kafka goes on serving after', () => {
  const topicPrefix = `bad-${process.pid}-`;
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let url = '';
  let marks = 0;

  beforeAll(async () => {
    const { source, bootstrap } = kafka as AvailableKafka;
    process.stderr.write(`bad input on ${source}: ${bootstrap}, topics ${topicPrefix}…\n`);
    cluster = await ProcessCluster.start({
      bootstrap,
      topicPrefix,
      shards: 2,
      config: { limits: { watchBufferBytesMax: MIB, shardQueueCommandsMax: 2000 } },
    });
    url = cluster.endpoints[0] ?? '';
    client = await connect({ endpoints: cluster.endpoints, timeoutMs: 30_000 });
  });
  afterAll(async () => {
    await client?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  /** Every test ends with a put and a get, through a fresh client and through the attacked member. */
  afterEach(async () => {
    marks += 1;
    const key = `still/${marks}`;
    const fresh = await connect({ endpoints: [url], timeoutMs: 30_000 });
    await fresh.put(key, 'here');
    expect((await fresh.get(key))?.text()).toBe('here');
    await fresh.close();
    const answer = await fetch(`${url}/v1/kv/keys/${encodeURIComponent(key)}`);
    expect(await answer.json()).toMatchObject({ value: 'here' });
    for (let i = 0; i < cluster.size; i += 1) await cluster.ready(i);
  });

  async function leaderUrl(key: string): Promise<{ shard: string; leader: string }> {
    const shard = await client.shardOf(key);
    const { leader } = (await client.shards()).find((info) => info.shard === shard) ?? {};
    const member = (await client.members()).find(({ id }) => id === leader);
    return { shard, leader: member?.clientUrls[0] ?? url };
  }

  const large = 'x'.repeat(TOO_LARGE);
  const manyOps = Array.from({ length: 129 }, (_, i) => op.put(`{t}${i}`, ''));
  const wrong = <T>(value: unknown): T => value as T;

  it.each<[string, string, (kv: KvorumClient) => Promise<unknown>]>([
    ['an empty key', 'KV_EMPTY_KEY', (kv) => kv.put('', 'v')],
    ['reading an empty key', 'KV_EMPTY_KEY', (kv) => kv.get('')],
    ['a key over the limit', 'KV_REQUEST_TOO_LARGE', (kv) => kv.put(large, 'v')],
    ['reading a key over the limit', 'KV_REQUEST_TOO_LARGE', (kv) => kv.get(large)],
    ['a value over the limit', 'KV_REQUEST_TOO_LARGE', (kv) => kv.put('k', large)],
    [
      'a txn over the limit',
      'KV_REQUEST_TOO_LARGE',
      (kv) => kv.txn({ success: [op.put('k', 'x'.repeat(MIB)), op.put('k', 'x'.repeat(MIB))] }),
    ],
    ['too many operations', 'KV_TOO_MANY_OPS', (kv) => kv.txn({ success: manyOps })],
    ['a number as a key', 'KV_INVALID_ARGUMENT', (kv) => kv.put(wrong(5), 'v')],
    ['an object as a value', 'KV_INVALID_ARGUMENT', (kv) => kv.put('k', wrong({ a: 1 }))],
    ['an unknown kind of range', 'KV_INVALID_ARGUMENT', (kv) => kv.getAll(wrong({ prefx: 'a' }))],
    ['text as a revision', 'KV_INVALID_ARGUMENT', (kv) => kv.get('k', { revision: wrong('new') })],
    ['a broken revision', 'KV_INVALID_ARGUMENT', (kv) => kv.get('k', { revision: 1.5 })],
    ['a revision to come', 'KV_FUTURE_REVISION', (kv) => kv.get('k', { revision: 1e12 })],
    [
      'an unknown sort order',
      'KV_INVALID_ARGUMENT',
      (kv) => kv.getAll({ prefix: 'a', sortOrder: wrong('up') }),
    ],
    [
      'a text as a flag',
      'KV_INVALID_ARGUMENT',
      (kv) => kv.put('k', 'v', { prevKv: wrong<boolean>('yes') }),
    ],
    ['an unknown option', 'KV_INVALID_ARGUMENT', (kv) => kv.put('k', 'v', wrong({ prevKV: true }))],
    ['a broken watch', 'KV_INVALID_ARGUMENT', (kv) => kv.watch('k', { startRevision: -1 })],
    ['an unknown option of connect', 'KV_CONFIG', () => connect(wrong({ endpoint: url }))],
    ['an unknown endpoint', 'KV_CONFIG', () => connect({ endpoints: ['ftp://nowhere'] })],
  ])('SDK: %s', async (_what, code, call) => {
    // What else the client has under way must not suffer from it.
    const bystanders = Array.from({ length: 50 }, (_, i) => client.put(`bystander/${i}`, 'v'));
    const error = await call(client).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(KvError);
    expect(error).toMatchObject({ code, outcome: 'not-applied' });
    await Promise.all(bystanders);
  });

  it.each<[string, Uint8Array | string | readonly unknown[], number, RegExp]>([
    ['bytes that are no frame', new Uint8Array([0xc1, 0xff, 0, 1]), 1008, /^KV_MALFORMED/],
    ['a frame cut off', new Uint8Array([0x96, 0x02, 0xa1]), 1008, /^KV_MALFORMED/],
    ['a text', '[2]', 1008, /^KV_MALFORMED.*binary/],
    ['an unknown frame', [99, 1], 1008, /^KV_MALFORMED.*unknown frame type 99/],
    ['a second hello', [FRAME.hello, 1, 'f'.repeat(32), 'x'], 1008, /^KV_MALFORMED.*twice/],
    [
      'a text as a key',
      [FRAME.requests, '0', 1, 0, 0, [[1, OP.get, 'k']]],
      1008,
      /items\[0\].key must be bytes/,
    ],
    [
      'an unknown operation',
      [FRAME.requests, '0', 1, 0, 0, [[1, 9, 0, false, utf8('k')]]],
      1008,
      /items\[0\].op/,
    ],
    [
      'an unknown field',
      [
        FRAME.requests,
        '0',
        1,
        0,
        0,
        [[1, OP.request, 0, false, { op: 'range', key: utf8('k'), limt: 1 }]],
      ],
      1008,
      /limt is not a known field/,
    ],
    [
      'a negative deadline',
      [FRAME.requests, '0', 1, -5, 0, []],
      1008,
      /^KV_MALFORMED.*request frame/,
    ],
    ['a frame over the limit', new Uint8Array(8 * MIB), 1009, /.*/],
  ])('WebSocket: %s', async (_what, frame, code, reason) => {
    const end = await sessionEnd(url, frame);
    expect(end).toEqual({ code, reason: expect.stringMatching(reason) as unknown });
  });

  it('WebSocket: an empty key and a value over the limit, each answered in its place', async () => {
    const { shard, leader } = await leaderUrl('k');
    const session = await RawSession.open(leader);
    session.requests(shard, [
      session.put(1, '', 'v'),
      session.put(2, 'k', large),
      session.put(3, 'k', 'v'),
    ]);
    const { items } = await session.answers(3);
    const codes = new Map(
      items.map(([id, kind, plain]) => [id, kind === 2 ? wrong<unknown[]>(plain)[0] : 'ok']),
    );
    expect(codes).toEqual(
      new Map([
        [1, 'KV_EMPTY_KEY'],
        [2, 'KV_REQUEST_TOO_LARGE'],
        [3, 'ok'],
      ]),
    );
    session.close();
  });

  const PUT = 'POST /v1/kv/put';
  const RANGE = 'POST /v1/kv/range';
  it.each<[string, readonly [line: string, body?: string], string, RegExp]>([
    ['an empty key', [PUT, '{"key":"","value":"v"}'], '400 KV_EMPTY_KEY', /key/],
    ['malformed JSON', [PUT, '{"key":'], '400 KV_MALFORMED', /JSON/],
    ['no object', [PUT, '[1]'], '400 KV_INVALID_ARGUMENT', /object/],
    ['a number as a key', [PUT, '{"key":5,"value":"v"}'], '400 KV_INVALID_ARGUMENT', /key/],
    [
      'an unknown option',
      [RANGE, '{"key":"k","limt":1}'],
      '400 KV_INVALID_ARGUMENT',
      /option limt/,
    ],
    ['a text as a limit', [RANGE, '{"key":"k","limit":"1"}'], '400 KV_INVALID_ARGUMENT', /limit/],
    ['an unknown query', ['GET /v1/kv/keys/k?revison=1'], '400 KV_INVALID_ARGUMENT', /revison/],
    [
      'a text as a revision',
      ['GET /v1/kv/keys/k?revision=x'],
      '400 KV_INVALID_ARGUMENT',
      /revision/,
    ],
    ['no base64', [PUT, '{"key":{"base64":"*"},"value":""}'], '400 KV_MALFORMED', /base64/],
    ['a path that does not decode', ['GET /v1/kv/keys/%ff'], '400 KV_MALFORMED', /./],
    ['an unknown path', ['GET /v1/kv/nothing'], '404 KV_NOT_FOUND', /./],
  ])('REST: %s', async (_what, [line, body], expected, message) => {
    const [method = '', path = ''] = line.split(' ');
    const init = body === undefined ? { method } : { method, body, headers: JSON_TYPE };
    const answer = await fetch(`${url}${path}`, init);
    const [status, code] = expected.split(' ');
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    expect([String(answer.status), error.code]).toEqual([status, code]);
    expect(error.message).toMatch(message);
  });

  it('REST: key, value and body over the limit, other content, no HTTP at all', async () => {
    const put = (value: string, type = 'application/json'): Promise<Response> =>
      fetch(`${url}/v1/kv/put`, { method: 'POST', body: value, headers: { 'content-type': type } });
    const answers = [
      await put(JSON.stringify({ key: 'k', value: large })),
      await put(JSON.stringify({ key: large, value: '' })),
      await put(JSON.stringify({ key: 'k', value: 'x'.repeat(8 * MIB) })),
      await put('<key/>', 'application/xml'),
    ];
    const found = await Promise.all(
      answers.map(async (answer) => [answer.status, await answer.json()]),
    );
    const refused = (status: number, code: string): unknown => [
      status,
      { error: expect.objectContaining({ code }) as unknown },
    ];
    expect(found).toEqual([
      refused(413, 'KV_REQUEST_TOO_LARGE'),
      refused(413, 'KV_REQUEST_TOO_LARGE'),
      refused(413, 'KV_REQUEST_TOO_LARGE'),
      refused(400, 'KV_MALFORMED'),
    ]);
    expect(await rawHttp(url, '\u0000\u0001 hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('10,000 half-open connections', async () => {
    const count = 10_000;
    const half = await openHalf(url, count);
    process.stderr.write(
      `half-open connections: ${half.connected} of ${count}; refused: ${JSON.stringify(half.refused)}\n`,
    );
    try {
      // Fewer only where this machine gives a process fewer files.
      expect(half.connected + (half.refused['EMFILE'] ?? 0)).toBe(count);
      const fresh = await connect({ endpoints: [url], timeoutMs: 30_000 });
      await fresh.put('crowded', 'yes');
      expect((await fresh.get('crowded'))?.text()).toBe('yes');
      await fresh.close();
    } finally {
      half.close();
    }
  });

  it('clients that never read their watches while 50 MB of events flow', async () => {
    const { shard, leader } = await leaderUrl('big/0');
    const before = await residentBytes(leader);
    const watchers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const session = await RawSession.open(leader);
        const range = { key: Buffer.from('big/'), rangeEnd: Buffer.from('big0') };
        session.send([FRAME.watchCreate, 1, shard, range]);
        await session.next(FRAME.watchCreated);
        session.ws.pause();
        return session;
      }),
    );
    const value = Buffer.alloc(100_000, 'v');
    const count = 500;
    for (let i = 0; i < count; i += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, j) => client.put(`big/${i + j}`, value)));
    }
    const growth = (await residentBytes(leader)) - before;
    process.stderr.write(
      `resident memory of the leader: ${Math.round(before / MIB)} MiB, grew by ${Math.round(growth / MIB)} MiB\n`,
    );
    // All that these watches were sent is ten times 50 MB.
    expect(growth).toBeLessThan(250 * MIB);
    const [patient, ...others] = watchers;
    for (const session of others) session.close();
    patient?.ws.resume();
    const revisions: number[] = [];
    while (revisions.length < count) {
      const [, , , events] = (await patient?.next(FRAME.watchEvents)) ?? [];
      for (const event of events as unknown[][]) revisions.push(event[4] as number);
    }
    patient?.close();
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
  });

  it('a full queue', async () => {
    const { shard, leader } = await leaderUrl('q/0');
    const session = await RawSession.open(leader);
    const count = 10_000;
    const items = Array.from({ length: count }, (_, i) => session.put(i, `q/${i}`, 'v'));
    session.requests(shard, items);
    const { items: answers } = await session.answers(count);
    const refused = answers.filter((item) => item[1] === 2).map((item) => item[2] as unknown[]);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(count);
    expect(new Set(refused.map((error) => `${String(error[0])} ${String(error[3])}`))).toEqual(
      new Set(['KV_TOO_MANY_REQUESTS not-applied']),
    );
    session.close();
    // The SDK waits and asks again: nobody who uses it sees a refusal.
    const puts = Array.from({ length: 5000 }, (_, i) => client.put(`q/${i}`, 'w'));
    expect((await Promise.all(puts)).length).toBe(5000);
  });
});
