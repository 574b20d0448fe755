import { request } from 'node:http';
import { isErrorCode } from '@kvorum/base';
import { FRAME, packFrame } from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { countInputs, fuzz, mutationSeeds, SEED } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes, mutateText } from '../../../test/fuzz/mutate.ts';
import { CLIENT_ID, RawSession } from './support/raw-session.ts';
import { useOneMember } from './support/use-member.ts';

const MUTANTS = 8;
const member = useOneMember({
  'limits.requestBytesMax': 10_000,
  'limits.requestTimeoutMs': 500,
});

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly type: string;
  readonly body: string;
}

const PATHS = [
  '/v1/kv/put?timeoutMs=100',
  '/v1/kv/range?timeoutMs=100',
  '/v1/kv/delete',
  '/v1/kv/txn?timeoutMs=1',
  '/v1/kv/compact',
  '/v1/kv/keys/a%2Fb?encoding=base64&revision=1&serializable=true&prevKv=true&timeoutMs=50',
  '/v1/kv/watch?key=a&prefix=true&resume=eyJ2IjoxLCJzIjp7IjAiOjF9fQ&startRevision=3',
  '/v1/status',
];
const JSON_BODIES = [
  '{"key":"a","value":{"base64":"AA=="},"lease":"-1","prevKv":true}',
  '{"key":"a","prefix":true,"limit":3,"sortOrder":"ascend","sortTarget":"mod","countOnly":false}',
  '{"key":{"base64":"/w=="},"rangeEnd":"","revision":5}',
  '{"compare":[{"key":"a","target":"lease","result":"equal","value":"0"}],"success":[{"op":"put","key":"a","value":"b"}],"failure":[{"op":"txn","success":[{"op":"range","key":"a"}]}]}',
  '{"shard":"0","revision":1,"physical":true}',
  `${'{"success":[{"op":"txn",'.repeat(50)}"success":[]${'}]}'.repeat(50)}`,
];
const WORDS: readonly string[] = [
  ...[
    '"op":"txn",',
    '"success":[',
    '"key":',
    '{"base64":"',
    '%zz',
    '%',
    '&timeoutMs=',
    '&key=',
    '?',
  ],
  ...[
    '1e400',
    '-0',
    '99999999999999999999',
    '"__proto__":{}',
    '"constructor":{"prototype":{}}',
    '../',
  ],
];
const sent: fc.Arbitrary<Sent> = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'PATCH'),
  path: fc.constantFrom(...PATHS),
  type: fc.constantFrom(
    'application/json',
    'application/json',
    'text/plain',
    'application/x-unknown',
  ),
  body: fc.constantFrom(...JSON_BODIES),
});

/** Status and body; a stream that opened is closed again. */
function ask(one: Sent): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': one.type, 'content-length': Buffer.byteLength(one.body) };
    const { hostname, port } = new URL(member.url);
    const options = { hostname, port, method: one.method, path: one.path, headers };
    const asked = request(options, (answer) => {
      const status = answer.statusCode ?? 0;
      if (answer.headers['content-type']?.startsWith('text/event-stream') === true) {
        asked.destroy();
        resolve({ status, body: '' });
        return;
      }
      let body = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      answer.on('end', () => resolve({ status, body }));
      answer.on('error', reject);
    });
    asked.on('error', reject).end(one.body);
  });
}

/** Without halves of surrogate pairs, as on any wire. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

/** What may stand in a request line; the rest of what a mutation makes is given as `%xx`. */
const asPath = (text: string): string =>
  `/${encodeURI(wellFormed(text)).replace(/%25/g, '%')}`.replace(/^\/+/, '/');

async function checkAnswer(one: Sent): Promise<void> {
  countInputs(1);
  const { status, body } = await ask(one);
  expect(status).not.toBe(500);
  if (status < 400 || one.method === 'HEAD') return;
  const { error } = JSON.parse(body) as { error: { code: unknown; message: unknown } };
  expect(isErrorCode(error.code) && typeof error.message === 'string').toBe(true);
}

const REQUESTS = [
  [FRAME.requests, '0', 1, 50, 0, [[1, 1, 1, false, Buffer.from('k'), Buffer.from('v')]]],
  [
    FRAME.requests,
    '1',
    1,
    50,
    0,
    [
      [1, 2, Buffer.from('k')],
      [2, 3, 0, false, { op: 'range', key: Buffer.from('a'), limit: 3 }],
    ],
  ],
  [
    FRAME.requests,
    '0',
    1,
    50,
    3,
    [
      [
        3,
        3,
        5,
        true,
        {
          op: 'txn',
          compare: [],
          success: [{ op: 'put', key: Buffer.from('k'), value: Buffer.from('v') }],
          failure: [],
        },
      ],
    ],
  ],
  [FRAME.watchCreate, 1, '0', { key: Buffer.from('a'), startRevision: 1, filters: ['no-put'] }],
  [FRAME.watchCancel, 1],
  [FRAME.control, 9, 'status', null],
  [FRAME.control, 9, 'hash', { shard: '0' }],
  [FRAME.hello, 1, CLIENT_ID, 'again'],
].map((frame) => Uint8Array.from(packFrame(frame)));

/** Sends one damaged frame after the other until the member has enough of it; then it must greet the next one. */
async function session(frames: readonly Uint8Array[]): Promise<void> {
  const raw = await RawSession.open(member.url);
  for (const frame of frames) raw.sendBytes(frame);
  countInputs(frames.length);
  raw.send([FRAME.control, 77, 'health', null]);
  const answered = raw.next(FRAME.controlResponse).catch(() => undefined);
  const { code } = (await Promise.race([raw.closed, answered.then(() => ({ code: 1008 }))])) ?? {};
  expect(code).toBe(1008);
  raw.close();
}

describe('a running member', () => {
  fuzz(
    'answers every HTTP request with a value or an error of a known code',
    25,
    fc.asyncProperty(sent, SEED, async (one, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const path = mutation % 3 === 0 ? one.path : asPath(mutateText(one.path, WORDS, mutation));
        const body = mutation % 3 === 1 ? one.body : mutateText(one.body, WORDS, mutation);
        await checkAnswer({ ...one, path, body: wellFormed(body) });
      }
    }),
  );

  fuzz(
    'survives every frame, and greets the next client',
    15,
    fc.asyncProperty(
      fc.constantFrom(...REQUESTS),
      fc.constantFrom(...REQUESTS),
      SEED,
      async (one, other, seed) => {
        await session(
          mutationSeeds(seed, MUTANTS).map((mutation) => mutateBytes(one, other, mutation)),
        );
      },
    ),
  );
});
