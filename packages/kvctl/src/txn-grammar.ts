import { type Compare, leaseId, type TxnOp } from '@kvorum/base';
import {
  type Bytes,
  type CompareSign,
  compare,
  type KeyRange,
  op,
  type TxnInit,
} from '@kvorum/client';
import { InputError } from './exit.ts';

/**
 * etcdctl's transaction script: comparisons, a blank line, the operations when all hold, a blank
 * line, the operations otherwise.
 *
 * Comparison: `target("key") sign "value"`, target one of c|create, m|mod, ver|version, val|value,
 * lease, sign one of = != < >. Operation: `put KEY VALUE`, `get KEY [END]`, `del KEY [END]` with
 * the flags of the commands of these names.
 */
export function parseTxnScript(text: string): TxnInit {
  const sections: string[][] = [[], [], []];
  let at = 0;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (line === '') {
      at += 1;
      if (at > 2) break;
    } else {
      sections[at]?.push(line);
    }
  }
  const [compares = [], success = [], failure = []] = sections;
  return {
    compare: compares.map(parseCompare),
    success: success.map(parseOperation),
    failure: failure.map(parseOperation),
  };
}

const COMPARE = /^([a-z]+)\s*\(\s*("(?:[^"\\]|\\.)*"|[^\s)"]+)\s*\)\s*(=|!=|<|>)\s*([^\s=].*)$/;

/** Errors: InputError quoting the line. */
export function parseCompare(line: string): Compare {
  const match = COMPARE.exec(line);
  if (match === null) {
    throw new InputError(
      `"${line}" is not a comparison`,
      'write one like  mod("key") > "0"  or  value("key") = "text"',
    );
  }
  const [, target = '', quotedKey = '', sign = '=', quotedValue = ''] = match;
  const compareWith = COMPARE_TARGETS.get(target);
  if (compareWith === undefined) {
    throw new InputError(
      `"${target}" in "${line}" cannot be compared`,
      'compare create, mod, version, value or lease',
    );
  }
  const value = unquote(quotedValue.trim(), line);
  return compareWith(unquote(quotedKey, line), sign as CompareSign, value);
}

type CompareWith = (key: string, sign: CompareSign, value: string) => Compare;

const compareNumber =
  (target: 'create' | 'mod' | 'version'): CompareWith =>
  (key, sign, value) =>
    compare(key, target, sign, wholeNumber(value, value));
const compareValue: CompareWith = (key, sign, value) => compare(key, 'value', sign, value);

/** Maps, here and below: an object would also know `constructor` and `toString`. */
const COMPARE_TARGETS: ReadonlyMap<string, CompareWith> = new Map([
  ['c', compareNumber('create')],
  ['create', compareNumber('create')],
  ['m', compareNumber('mod')],
  ['mod', compareNumber('mod')],
  ['ver', compareNumber('version')],
  ['version', compareNumber('version')],
  ['val', compareValue],
  ['value', compareValue],
  ['lease', (key, sign, value) => compare(key, 'lease', sign, parseLease(value))],
]);

function wholeNumber(text: string, line: string): number {
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new InputError(`"${text}" in "${line}" is not a whole number`);
  }
  return Number(text);
}

/** Hexadecimal, as etcdctl writes lease ids. */
export function parseLease(text: string): bigint {
  if (!/^(0x)?[0-9a-fA-F]{1,16}$/.test(text))
    throw new InputError(`"${text}" is not a lease id (hex)`);
  return BigInt.asIntN(64, BigInt(text.startsWith('0x') ? text : `0x${text}`));
}

/** `"a \"b\""` → `a "b"`; what is not quoted stays. */
function unquote(text: string, line: string): string {
  if (!text.startsWith('"')) return text;
  const words = splitWords(text, line);
  if (words.length !== 1) throw new InputError(`"${line}" has text after its value`);
  return words[0] ?? '';
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0' };

/** One piece of a word: in double quotes, in single quotes, or bare; or the space between words. */
const PIECE = /"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|((?:[^\s"'\\]|\\[\s\S])+)|(\s+)|([\s\S])/g;

function pieceText(double: string | undefined, single: string | undefined, bare = ''): string {
  if (double !== undefined) {
    return double.replace(/\\([\s\S])/g, (_, char: string) => ESCAPES[char] ?? char);
  }
  return single ?? bare.replace(/\\([\s\S])/g, '$1');
}

/** Words as a shell splits them: quotes group, a backslash escapes outside single quotes. */
export function splitWords(text: string, line: string = text): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const [, double, single, bare, space, stray] of text.matchAll(PIECE)) {
    if (stray !== undefined) throw new InputError(`a quote is not closed in "${line}"`);
    if (space === undefined) {
      word = (word ?? '') + pieceText(double, single, bare);
    } else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

interface Words {
  readonly operands: readonly string[];
  readonly flags: ReadonlyMap<string, string>;
}

const FLAGS_WITH_VALUE = new Set(['lease', 'limit']);
const FLAGS: ReadonlyMap<string, readonly string[]> = new Map([
  ['put', ['prev-kv', 'lease', 'ignore-value', 'ignore-lease']],
  ['get', ['prefix', 'from-key', 'limit']],
  ['del', ['prefix', 'from-key', 'prev-kv']],
]);

function readWords(name: string, words: readonly string[], line: string): Words {
  const operands: string[] = [];
  const flags = new Map<string, string>();
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith('--')) {
      operands.push(word);
      continue;
    }
    const [flag = '', given] = word.slice(2).split('=', 2);
    if (FLAGS.get(name)?.includes(flag) !== true) {
      throw new InputError(`--${flag} is not a flag of ${name} in "${line}"`);
    }
    const value = given ?? (FLAGS_WITH_VALUE.has(flag) ? rest.shift() : 'true');
    flags.set(flag, value ?? '');
  }
  return { operands, flags };
}

/** Errors: InputError quoting the line. */
export function parseOperation(line: string): TxnOp {
  const [name = '', ...rest] = splitWords(line);
  if (!FLAGS.has(name)) {
    throw new InputError(`"${name}" in "${line}" is not an operation`, 'use put, get or del');
  }
  const words = readWords(name, rest, line);
  const [key, second] = words.operands;
  if (key === undefined || words.operands.length > 2) throw new InputError(`"${line}" needs a key`);
  if (name === 'put') return putOperation(key, second, words.flags, line);
  const on = (flag: string): boolean => words.flags.get(flag) === 'true';
  const target = targetOf(key, second, on('prefix'), on('from-key'));
  if (name === 'del') return op.delete(target, on('prev-kv') ? { prevKv: true } : {});
  const limit = words.flags.get('limit');
  return op.get(target, limit === undefined ? {} : { limit: wholeNumber(limit, line) });
}

function putOperation(
  key: string,
  value: string | undefined,
  flags: ReadonlyMap<string, string>,
  line: string,
): TxnOp {
  const on = (flag: string): boolean => flags.get(flag) === 'true';
  if (value === undefined && !on('ignore-value')) throw new InputError(`"${line}" needs a value`);
  const lease = flags.get('lease');
  return op.put(key, value ?? '', {
    prevKv: on('prev-kv') || undefined,
    ignoreValue: on('ignore-value') || undefined,
    ignoreLease: on('ignore-lease') || undefined,
    lease: lease === undefined ? undefined : leaseId(parseLease(lease)),
  });
}

/**
 * The keys that `KEY [END] --prefix --from-key` name. Errors: InputError when they contradict each
 * other.
 */
export function targetOf(
  key: string,
  end: string | undefined,
  prefix: boolean,
  fromKey: boolean,
): Bytes | KeyRange {
  if (Number(prefix) + Number(fromKey) + Number(end !== undefined) > 1) {
    throw new InputError('give at most one of a range end, --prefix and --from-key');
  }
  if (prefix) return { prefix: key };
  if (fromKey) return { from: key };
  return end === undefined ? key : { range: [key, end] };
}
