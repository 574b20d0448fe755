import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  clusterId,
  isKvError,
  type KvRequest,
  type KvResponse,
  leaseId,
  memberId,
  revision,
  shardId,
  toHex,
} from '@kvorum/base';
import {
  type ConfigInput,
  configLeaves,
  decodeResumeToken,
  encodeResumeToken,
  environmentName,
  loadConfig,
  openDataDirectory,
  printConfig,
  systemRng,
} from '@kvorum/server';
import { packFrame, parseKvRequest, unpackFrame } from '@kvorum/wire';
import fc from 'fast-check';
import { afterAll, describe, expect } from 'vitest';
import {
  BYTES,
  COUNT,
  expectTyped,
  fuzz,
  mutationSeeds,
  SEED,
  tried,
  triedThrowing,
} from '../../../test/fuzz/fuzz.ts';
import { mutatePlain, mutateText } from '../../../test/fuzz/mutate.ts';
import { splitAddress } from '../src/config/address.ts';
import { requestFromJson, responseToJson } from '../src/http/json-forms.ts';
import { parseWatchRequest } from '../src/http/watch-request.ts';
import {
  encodeForward,
  encodeForwardAnswer,
  encodeHold,
  encodeTransfer,
  parseForwardAnswer,
  parsePeerRequest,
} from '../src/router/forward.ts';
import { temporaryDirectory } from './support/one-member.ts';

const MUTANTS = 16;
const directory = temporaryDirectory();
afterAll(() => directory.remove());
const file = join(directory.path, 'kvd.yaml');

/** Only this, so that a person gets to read what is wrong instead of a stack. */
const isConfigError = (error: unknown): boolean => isKvError(error) && error.code === 'KV_CONFIG';

/** A configuration that was taken can be shown, and is taken again as it is shown. */
function load(input: Partial<ConfigInput>): void {
  const loaded = triedThrowing(
    () => loadConfig({ environment: {}, flags: {}, ...input }),
    isConfigError,
  );
  if (loaded !== undefined) expect(printConfig(loaded)).toContain('shards:');
}

const YAML = [
  'name: m1\ndataDir: ./data\nshards: 4\nmembers:\n  - { name: m1, peer: "127.0.0.1:1", client: "http://127.0.0.1:2" }\nlimits:\n  requestBytesMax: 1000\n',
  'log:\n  kind: kafka\n  brokers: [a:1, b:2]\n  sasl:\n    mechanism: plain\n    username: u\n    passwordFile: f\nrouting:\n  rules:\n    - prefix: a/\n      depth: 2\n',
  'base: &base\n  name: m1\n<<: *base\ninsecure: true\nlogLevel: debug # why\n',
];
const YAML_WORDS: readonly string[] = [
  ...[
    'name: ',
    'shards: ',
    'limits:\n  ',
    'members: []',
    '- ',
    '? ',
    '| ',
    '>-\n ',
    '!!binary ',
    '!!set ',
  ],
  ...[
    '&a ',
    '*a',
    '[*a, *a]',
    '{a: *a}',
    '__proto__: {}',
    'constructor: 1',
    '1e999',
    '.inf',
    '0x10',
    '~',
  ],
  ...[
    '2001-01-01',
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '\t',
    '"\\x00"',
    'log.brokers: x',
    '? [a]\n: b\n',
  ],
];
const LEAVES = configLeaves();
const VALUES = [
  ...[
    '',
    '0',
    '1',
    '-1',
    'true',
    'a:1',
    'a:1,b:2',
    '[]',
    '[{}]',
    '[{"prefix":"a","depth":1}]',
    '{',
  ],
  ...[
    '99999999999999999999',
    '1.5',
    'NaN',
    'constructor',
    '__proto__',
    '127.0.0.1:99999',
    '[::1]:1',
  ],
];

describe('configuration', () => {
  fuzz(
    'YAML files: KV_CONFIG or a configuration',
    12,
    fc.property(fc.constantFrom(...YAML), SEED, (yaml, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        writeFileSync(file, mutateText(yaml, YAML_WORDS, mutation));
        load({ file });
      }
    }),
  );

  fuzz(
    'variables and flags: KV_CONFIG or a configuration',
    12,
    fc.property(
      fc.constantFrom(...LEAVES),
      fc.constantFrom(...LEAVES),
      fc.constantFrom(...VALUES),
      SEED,
      (one, other, value, seed) => {
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const text = mutateText(value, VALUES, mutation);
          load({
            environment: { [environmentName(one.path)]: text },
            flags: { [other.path]: value },
          });
          const name = mutateText(environmentName(one.path), ['KVD_', 'LIMITS'], mutation);
          load({ environment: { [name]: value }, flags: { [other.path]: text } });
          triedThrowing(() => splitAddress(text), isConfigError);
        }
      },
    ),
  );

  fuzz(
    'identity files: KV_DATA_DIR or the same directory again',
    2,
    fc.property(SEED, (seed) => {
      const owner = { cluster: clusterId(7n), member: memberId(8n), name: 'm1' };
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const path = join(directory.path, 'data');
        mkdirSync(path, { recursive: true });
        const identity = {
          format: 1,
          clusterId: '0'.repeat(15).concat('7'),
          memberId: '0'.repeat(15).concat('8'),
          memberName: 'm1',
          diskId: 'd',
        };
        const text = mutateText(JSON.stringify(identity), ['format', '2', 'null'], mutation);
        writeFileSync(join(path, 'identity.json'), text);
        triedThrowing(
          () => openDataDirectory(path, owner, systemRng),
          (error) => isKvError(error) && error.code === 'KV_DATA_DIR',
        );
      }
    }),
  );
});

/** JSON bodies of the REST interface, before the schema of their route has seen them. */
const BODIES: readonly (readonly [KvRequest['op'], object])[] = [
  ['put', { key: 'a', value: { base64: 'AA==' }, lease: '-1', prevKv: true }],
  [
    'range',
    { key: 'a', prefix: true, limit: 3, revision: 0, sortOrder: 'ascend', sortTarget: 'mod' },
  ],
  ['range', { key: { base64: '/w==' }, rangeEnd: { base64: 'AA==' }, keysOnly: true }],
  ['delete-range', { key: 'a', rangeEnd: 'b', prevKv: false }],
  ['compact', { revision: 5, physical: false }],
  [
    'txn',
    {
      compare: [
        { key: 'a', target: 'lease', result: 'equal', value: '0' },
        { key: 'a', prefix: true, target: 'value', result: 'less', value: 'x' },
      ],
      success: [
        { op: 'put', key: 'a', value: 'b' },
        { op: 'txn', success: [{ op: 'range', key: 'a' }] },
      ],
      failure: [{ op: 'delete-range', key: '', prefix: true }],
    },
  ],
];

const session = fc.record({
  clientId: fc.uint8Array({ minLength: 16, maxLength: 16 }).map(toHex),
  seq: COUNT,
  ackedThrough: COUNT,
  retry: fc.boolean(),
});
const keyValue = fc.record({
  key: BYTES,
  value: BYTES,
  createRevision: COUNT.map(revision),
  modRevision: COUNT.map(revision),
  version: COUNT,
  lease: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(leaseId),
});
const response: fc.Arbitrary<KvResponse> = fc.oneof(
  fc.record({ op: fc.constant('put' as const), revision: COUNT.map(revision), prevKv: keyValue }),
  fc.record({
    op: fc.constant('txn' as const),
    revision: COUNT.map(revision),
    succeeded: fc.boolean(),
    responses: fc.array(
      fc.record({
        op: fc.constant('range' as const),
        revision: COUNT.map(revision),
        kvs: fc.array(keyValue, { maxLength: 2 }),
        more: fc.boolean(),
        count: COUNT,
      }),
      { maxLength: 2 },
    ),
  }),
);

/** As it comes out of a frame, where whoever sent it may have had other ideas. */
function throughFrame(value: unknown): unknown {
  return unpackFrame(Uint8Array.from(packFrame([1, value])))?.[1];
}

describe('what clients and members send', () => {
  fuzz(
    'JSON bodies: KV_MALFORMED or a request that parses as itself',
    50,
    fc.property(fc.constantFrom(...BODIES), SEED, ([op, body], seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutatePlain(body, mutation);
        if (typeof mutant !== 'object' || mutant === null) continue;
        const parsed = tried(() => requestFromJson(op, mutant));
        expectTyped(parsed);
        if (parsed.ok) expect(parseKvRequest(parsed.value)).toEqual(parsed);
      }
    }),
  );

  fuzz(
    'watch requests and resume tokens',
    50,
    fc.property(
      BYTES,
      fc.dictionary(fc.nat(99).map(String), COUNT, { maxKeys: 4 }),
      SEED,
      (key, shards, seed) => {
        const request = { key, rangeEnd: key, startRevision: 4, filters: ['no-put'], prevKv: true };
        const position = new Map(Object.entries(shards));
        const token = encodeResumeToken(position);
        expect(decodeResumeToken(token)).toEqual({ ok: true, value: position });
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          expectTyped(tried(() => parseWatchRequest(mutatePlain(request, mutation))));
          expectTyped(tried(() => decodeResumeToken(mutateText(token, ['eyJ2', '=='], mutation))));
          const inner = mutateText(JSON.stringify({ v: 1, s: shards }), ['"s":', '[]'], mutation);
          const whole = Buffer.from(inner).toString('base64url');
          expectTyped(tried(() => decodeResumeToken(whole)));
        }
      },
    ),
  );

  fuzz(
    'requests and answers between members',
    50,
    fc.property(BYTES, session, response, SEED, (key, session, answer, seed) => {
      const request: KvRequest = { op: 'put', key, value: key, lease: leaseId(5n) };
      const forwarded = { shard: shardId(3), request, timeoutMs: 5, session };
      const sent = encodeForward(forwarded);
      expect(parsePeerRequest(throughFrame(sent))).toEqual({
        ok: true,
        value: { kind: 'kv', forwarded },
      });
      const answered = encodeForwardAnswer({ ok: true, response: answer });
      expect(parseForwardAnswer(throughFrame(answered))).toEqual({ ok: true, response: answer });
      const others = [encodeTransfer('1', 'm2'), encodeHold('1'), sent];
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutatePlain(others[Math.abs(mutation) % others.length], mutation);
        expectTyped(tried(() => parsePeerRequest(mutant)));
        const answerMutant = mutatePlain(answered, mutation);
        expectTyped(tried(() => parseForwardAnswer(answerMutant)));
      }
      expect(JSON.parse(JSON.stringify(responseToJson(answer)))).toMatchObject({ op: answer.op });
    }),
  );
});
