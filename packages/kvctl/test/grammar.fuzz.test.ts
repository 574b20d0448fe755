import { reportOf } from '@kvorum/kvctl';
import { parseKvRequest } from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { fuzz, mutationSeeds, SEED, triedThrowing } from '../../../test/fuzz/fuzz.ts';
import { mutateText } from '../../../test/fuzz/mutate.ts';
import { parseCount, parseDuration } from '../src/context.ts';
import { parseTxnFile } from '../src/txn-file.ts';
import { parseLease, parseTxnScript, splitWords } from '../src/txn-grammar.ts';
import { kvctl } from './support/run-kvctl.ts';

const MUTANTS = 16;
/** An error that a person gets to read, with an exit code; anything else is a bug. */
const isReported = (error: unknown): boolean => reportOf(error) !== undefined;

const WORDS: readonly string[] = [
  ...['put', 'get', 'del', 'mod', 'ver', 'lease', 'value', 'create', 'constructor', 'toString'],
  ...['--prefix', '--from-key', '--limit', '--lease', '--prev-kv', '--ignore-value', '--limit=1'],
  ...['"a"', "'a'", '= "0"', '!= "1"', '("k")', '\n\n', '\\n', '0x', 'ffffffffffffffff'],
];
const SCRIPTS = [
  'mod("key") > "0"\nvalue("k") = "text"\n\nput key "va\\nlue"\nget a b\n\ndel a --prefix',
  'lease("k") = "1f"\n\nput k v --lease=1f --prev-kv\n\nget k --limit 5',
  "ver(a) < 3\n\nput 'a b' \"c\\\"d\"\ndel k --from-key\n\nget '' --prefix",
];
const FILES = [
  '{"compare":[{"key":"a","target":"version","result":"=","value":0}],"success":[{"op":"put","key":"a","value":"1","lease":"1f"}],"failure":[{"op":"get","prefix":"a/","limit":3}]}',
  '{"success":[{"op":"txn","compare":[{"keyBase64":"/w==","target":"lease","result":"!=","value":"0"}],"success":[{"op":"del","key":"a","rangeEnd":"b","prevKv":true}]}]}',
];
const DURATIONS = ['250ms', '5s', '2m', '1.5', '0', '1e3', '-1s'];

/** A word in quotes, as a shell and this grammar read it. */
const quoted = (word: string): string => `"${word.replace(/["\\]/g, '\\$&')}"`;

describe('what people type', () => {
  fuzz(
    'transaction scripts: an error to read, or a transaction that members take',
    100,
    fc.property(fc.constantFrom(...SCRIPTS), SEED, (script, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const text = mutateText(script, WORDS, mutation);
        const txn = triedThrowing(() => parseTxnScript(text), isReported);
        if (txn !== undefined)
          expect(parseKvRequest({ op: 'txn', ...txn })).toMatchObject({ ok: true });
      }
    }),
  );

  fuzz(
    'transaction files: an error to read, or a transaction that members take',
    100,
    fc.property(fc.constantFrom(...FILES), SEED, (file, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const text = mutateText(file, WORDS, mutation);
        const txn = triedThrowing(() => parseTxnFile(text), isReported);
        if (txn !== undefined)
          expect(parseKvRequest({ op: 'txn', ...txn })).toMatchObject({ ok: true });
      }
    }),
  );

  fuzz(
    'words, durations, counts and lease ids',
    100,
    fc.property(
      fc.array(fc.string({ unit: 'binary' }), { maxLength: 4 }),
      fc.constantFrom(...DURATIONS),
      SEED,
      (words, duration, seed) => {
        expect(splitWords(words.map(quoted).join(' '))).toEqual(words);
        for (const mutation of mutationSeeds(seed, MUTANTS)) {
          const text = mutateText(duration, ['ms', 's', 'm', '.', '9'.repeat(400)], mutation);
          const ms = triedThrowing(() => parseDuration(text), isReported);
          if (ms !== undefined) expect(ms > 0 && ms < 2 ** 31).toBe(true);
          const count = triedThrowing(() => parseCount(text), isReported);
          if (count !== undefined) expect(Number.isSafeInteger(count)).toBe(true);
          const lease = triedThrowing(() => parseLease(text), isReported);
          if (lease !== undefined) expect(BigInt.asIntN(64, lease)).toBe(lease);
          triedThrowing(() => splitWords(text), isReported);
        }
      },
    ),
  );
});

const ARGUMENTS: readonly string[] = [
  ...['put', 'get', 'del', 'txn', 'watch', 'status', 'version', 'completion', 'help', 'compaction'],
  ...[
    'endpoint',
    'member',
    'shard',
    'leader',
    'list',
    'where',
    'transfer',
    'hash',
    'bash',
    '--',
    '-',
  ],
  ...['--prefix', '--from-key', '--rev', '--limit', '--order', 'ASCEND', '--sort-by', '--lease'],
  ...['--timeout', '-w', 'json', 'table', '--shard-rev', '0=1', '--count', '--consistency', 's'],
  ...['--file', '/nonexistent', '--cacert', '', ' ', '\0', '-1', '1e9', 'constructor', '__proto__'],
];

describe('the command line', () => {
  fuzz(
    'arguments in any order: an exit code, and words for it',
    60,
    fc.asyncProperty(fc.array(fc.constantFrom(...ARGUMENTS), { maxLength: 6 }), async (args) => {
      // Nothing listens there, and there is no time to try.
      const ran = await kvctl(['--endpoints', 'http://127.0.0.1:1', '--timeout', '1ms', ...args]);
      triedThrowing(() => expect([0, 1, 2, 3, 4, 5, 6, 8]).toContain(ran.code));
      // `status` of a member that is down is an answer, on standard output.
      if (ran.code !== 0) expect(ran.err + ran.out).not.toBe('');
    }),
  );
});
