import { compare, op } from '@kvorum/client';
import { parseCompare, parseOperation, parseTxnFile, parseTxnScript } from '@kvorum/kvctl';
import { describe, expect, it } from 'vitest';
import { parseDuration } from '../src/context.ts';
import { splitWords } from '../src/txn-grammar.ts';

describe('comparisons', () => {
  it.each([
    ['mod("k") > "0"', compare('k', 'mod', '>', 0)],
    ['m("k") = 5', compare('k', 'mod', '=', 5)],
    ['c("k") = "0"', compare('k', 'create', '=', 0)],
    ['create(k) != 3', compare('k', 'create', '!=', 3)],
    ['ver("a b") < "2"', compare('a b', 'version', '<', 2)],
    ['value("k") = "say \\"hi\\""', compare('k', 'value', '=', 'say "hi"')],
    ['val("a)b") = "x = y"', compare('a)b', 'value', '=', 'x = y')],
    ['lease("k") = "1f"', compare('k', 'lease', '=', 0x1fn)],
    ['  mod ( "k" )  =  "1"  '.trim(), compare('k', 'mod', '=', 1)],
  ])('%s', (line, expected) => {
    expect(parseCompare(line)).toEqual(expected);
  });

  it.each([
    ['mod("k") >= "0"', 'is not a comparison'],
    ['hash("k") = "0"', 'cannot be compared'],
    ['mod("k") = "many"', 'is not a whole number'],
    ['value("k") = "a" "b"', 'text after its value'],
    ['value("k") = "a', 'quote is not closed'],
    ['', 'is not a comparison'],
  ])('refuses %s', (line, problem) => {
    expect(() => parseCompare(line)).toThrow(problem);
  });
});

describe('operations', () => {
  it.each([
    ['put a b', op.put('a', 'b')],
    ['put "a key" \'a "value"\'', op.put('a key', 'a "value"')],
    ['put a "" --prev-kv', op.put('a', '', { prevKv: true })],
    ['get a', op.get('a')],
    ['get a z', op.get({ range: ['a', 'z'] })],
    ['get a --prefix --limit 5', op.get({ prefix: 'a' }, { limit: 5 })],
    ['get a --from-key --limit=5', op.get({ from: 'a' }, { limit: 5 })],
    ['del a --prefix --prev-kv', op.delete({ prefix: 'a' }, { prevKv: true })],
  ])('%s', (line, expected) => {
    expect(parseOperation(line)).toEqual(expected);
  });

  it.each([
    ['put a', 'needs a value'],
    ['get', 'needs a key'],
    ['get a b c', 'needs a key'],
    ['get a b --prefix', 'at most one of'],
    ['get a --prefixed', 'is not a flag of get'],
    ['move a b', 'is not an operation'],
  ])('refuses %s', (line, problem) => {
    expect(() => parseOperation(line)).toThrow(problem);
  });

  it.each([
    ['a  b\tc', ['a', 'b', 'c']],
    ['\'a b\'c"d"', ['a bcd']],
    ['"\\n\\"" \\ x ""', ['\n"', ' x', '']],
    ["'\\n'", ['\\n']],
  ])('splits %s', (text, words) => {
    expect(splitWords(text)).toEqual(words);
  });
});

describe('scripts', () => {
  it('have three sections, the later ones optional', () => {
    const script = 'mod("k") > "0"\n\nput k 1\nget k\n\nget k\n\nignored';
    expect(parseTxnScript(script)).toEqual({
      compare: [compare('k', 'mod', '>', 0)],
      success: [op.put('k', '1'), op.get('k')],
      failure: [op.get('k')],
    });
    expect(parseTxnScript('\nput k 1')).toEqual({
      compare: [],
      success: [op.put('k', '1')],
      failure: [],
    });
  });

  it('have a JSON form', () => {
    const file = {
      compare: [{ key: 'k', target: 'version', result: '=', value: 0 }],
      success: [
        { op: 'put', key: 'k', valueBase64: 'AP8=' },
        { op: 'txn', success: [{ op: 'del', prefix: 'x/', prevKv: true }] },
      ],
      failure: [{ op: 'get', key: 'a', rangeEnd: 'b', limit: 1 }],
    };
    expect(parseTxnFile(JSON.stringify(file))).toEqual({
      compare: [compare('k', 'version', '=', 0)],
      success: [
        op.put('k', new Uint8Array([0, 255])),
        op.txn({
          compare: [],
          success: [op.delete({ prefix: 'x/' }, { prevKv: true })],
          failure: [],
        }),
      ],
      failure: [op.get({ range: ['a', 'b'] }, { limit: 1 })],
    });
  });

  it.each([
    ['{', 'not JSON'],
    ['[]', 'txn must be an object'],
    ['{"then": []}', 'txn.then must be one of op, compare, success, failure'],
    ['{"success": [{"op": "put", "value": "1"}]}', 'txn.success[0].key must be given'],
    [
      '{"success": [{"op": "put", "key": "a", "value": 1}]}',
      'txn.success[0].value must be a string',
    ],
    ['{"success": [{"op": "inc"}]}', 'txn.success[0].op must be put, get, del or txn'],
    [
      '{"compare": [{"key": "a", "target": "mod", "result": ">=", "value": 1}]}',
      'compare[0].result must be',
    ],
  ])('refuse %s', (text, problem) => {
    expect(() => parseTxnFile(text)).toThrow(problem);
  });
});

describe('what JavaScript objects know of themselves', () => {
  it.each(['constructor a', 'toString a', '__proto__ a', 'hasOwnProperty a b'])(
    '%s is no operation',
    (line) => {
      expect(() => parseOperation(line)).toThrow('is not an operation');
    },
  );

  it('is nothing to compare either', () => {
    expect(() => parseCompare('constructor("a") = "b"')).toThrow('cannot be compared');
  });
});

describe('numbers and sizes beyond what can be meant', () => {
  it('are refused where they are written', () => {
    expect(() => parseCompare('mod("a") > "99999999999999999999"')).toThrow('not a whole number');
    expect(() => parseDuration('99999999m')).toThrow('too long a duration');
    expect(parseDuration('35791m')).toBe(2_147_460_000);
  });

  it('a transaction file nested without end is refused, not a stack overflow', () => {
    const depth = 100_000;
    const text = `${'{"op":"txn","success":['.repeat(depth)}${']}'.repeat(depth)}`;
    expect(() => parseTxnFile(text)).toThrow('nested deeper than 32');
  });

  it.each(['a b', 'YWJjZ', 'YWJjZB'])('bytes that are no base64 are refused: %j', (key) => {
    const text = JSON.stringify({ success: [{ op: 'get', keyBase64: key }] });
    expect(() => parseTxnFile(text)).toThrow('txn.success[0].keyBase64 must be base64');
  });
});
