import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from '@kvorum/client';
import { FRAME, packFrame, parseClientFrame } from '@kvorum/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  countInputs,
  fuzz,
  hasStableCode,
  mutationSeeds,
  SEED,
  triedThrowing,
} from '../../../test/fuzz/fuzz.ts';
import { mutateBytes, mutatePlain } from '../../../test/fuzz/mutate.ts';
import { kvResultOf, MalformedAnswer, watchEventOf } from '../src/answer.ts';
import { plainMap } from './support/plain-map.ts';

const MUTANTS = 16;
const KEY = new Uint8Array([107]);
const KV = { key: KEY, value: KEY, createRevision: 2, modRevision: 3, version: 1, lease: 5n };
const RANGE = { op: 'range', revision: 4, kvs: [KV], more: false, count: 1 };
const ANSWERS = [
  RANGE,
  { op: 'put', revision: 4, prevKv: KV },
  { op: 'delete-range', revision: 4, deleted: 1, prevKvs: [KV] },
  {
    op: 'txn',
    revision: 4,
    succeeded: true,
    responses: [RANGE, { op: 'txn', revision: 4, succeeded: false, responses: [RANGE] }],
  },
  { op: 'compact', revision: 4 },
];
const EVENTS = [
  [false, KEY, KEY, 2, 3, 1, 0, null],
  [true, KEY, KEY, 0, 3, 0, 0n, [KEY, KEY, 2, 2, 1, 5n]],
];
const isMalformed = (error: unknown): boolean =>
  error instanceof MalformedAnswer || hasStableCode(error);

describe('answers of any shape', () => {
  fuzz(
    'are malformed or a result',
    150,
    fc.property(
      fc.constantFrom(...ANSWERS),
      fc.constantFrom(...EVENTS),
      SEED,
      (answer, event, seed) => {
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const mutant = mutatePlain(answer, mutation);
          triedThrowing(() => kvResultOf(mutant, '0'), isMalformed);
          const eventMutant = mutatePlain(event, mutation);
          triedThrowing(() => watchEventOf(eventMutant, '0'), isMalformed);
        }
      },
    ),
  );
});

it('an answer nested without end is malformed, not a stack overflow in the program', () => {
  let answer: object = RANGE;
  for (let i = 0; i < 100_000; i += 1) {
    answer = { op: 'txn', revision: 4, succeeded: true, responses: [answer] };
  }
  expect(() => kvResultOf(answer, '0')).toThrow(MalformedAnswer);
});

const MEMBER = '0000000000000001';
const MAP = plainMap(1, [{ id: MEMBER, name: 'm1', peer: '', client: '' }]);
const welcome = (): unknown => ({
  protocol: 1,
  version: '0.1.0',
  clusterId: '00000000000000c1',
  memberId: MEMBER,
  requestBytesMax: 1_000_000,
  map: MAP,
  leaders: { 0: MEMBER },
});

/** A member that greets well and then answers every request with damaged frames. */
let answers: readonly Uint8Array[] = [];
let server: WebSocketServer;
let url: string;
beforeAll(async () => {
  server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.on('connection', (ws: WebSocket) => {
    ws.on('message', (data: Buffer) => {
      const frame = parseClientFrame(data);
      if (frame.ok && frame.value.type === FRAME.hello)
        ws.send(packFrame([FRAME.welcome, welcome()]));
      else for (const answer of answers) ws.send(answer);
    });
    ws.on('error', () => undefined);
  });
});
afterAll(async () => {
  server.close();
  for (const ws of server.clients) ws.terminate();
  await once(server, 'close');
});

const FRAMES = [
  [
    FRAME.responses,
    '0',
    [
      [1, 0, 5],
      [2, 0, 5],
      [3, 1, RANGE],
      [4, 2, ['KV_NO_LEADER', 'text', {}, 'not-applied']],
    ],
  ],
  [FRAME.watchCreated, 1, 5],
  [FRAME.watchEvents, 1, 5, EVENTS],
  [FRAME.controlResponse, 1, null, { healthy: true, reasons: [] }],
  [FRAME.watchCancelled, 1, ['KV_COMPACTED', 'text', { compactRevision: 3 }, 'not-applied']],
  [FRAME.mapChanged, MAP, { 0: MEMBER }],
  [FRAME.welcome, welcome()],
].map((frame) => Uint8Array.from(packFrame(frame)));

describe('a client of a broken member', () => {
  fuzz(
    'ends every call with a result or an error of a known code',
    12,
    fc.asyncProperty(
      fc.constantFrom(...FRAMES),
      fc.constantFrom(...FRAMES),
      SEED,
      async (one, other, seed) => {
        answers = mutationSeeds(seed, MUTANTS).map((mutation) => mutateBytes(one, other, mutation));
        countInputs(MUTANTS);
        const client = await connect({ endpoints: [url], timeoutMs: 2000 });
        try {
          const timeoutMs = 30;
          const calls = [
            client.put('k', 'v', { timeoutMs }),
            client.get('k', { timeoutMs }),
            client.range({ prefix: '' }, { timeoutMs }),
            client.delete('k', { timeoutMs }),
          ];
          for (const settled of await Promise.allSettled(calls)) {
            if (settled.status === 'rejected') expect(hasStableCode(settled.reason)).toBe(true);
          }
        } finally {
          await client.close();
        }
      },
    ),
  );
});
