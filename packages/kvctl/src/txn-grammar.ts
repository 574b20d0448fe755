import {
  type Compare,
  leaseId,
  type RangeRequest,
  type SortTarget,
  type TxnOp,
} from '@kvorum/base';
import {
  type Bytes,
  type CompareSign,
  compare,
  type KeyRange,
  op,
  type TxnInit,
} from '@kvorum/client';
import { InputError } from './exit.ts';

const SECTIONS = ['compare', 'success', 'failure'] as const;
export type TxnSection = (typeof SECTIONS)[number];

/**
 * etcdctl's transaction script, line by line: comparisons, a blank line, the operations when all hold, a blank line, the operations
 * otherwise, and a blank line or the end.
 *
 * Comparison: `target("key") sign "value"`, target one of c|create, m|mod, ver|version, val|value,
 * lease, sign one of = != < >. Operation: `put KEY VALUE`, `get KEY [END]`, `del KEY [END]` with
 * the flags of the commands of these names.
 */
export class TxnScript {
  readonly #compare: Compare[] = [];
  readonly #success: TxnOp[] = [];
  readonly #failure: TxnOp[] = [];
  #at = 0;

  /** What the next line belongs to; undefined: the script is at its end. */
  get section(): TxnSection | undefined {
    return SECTIONS[this.#at];
  }

  /** Errors: InputError quoting the line. */
  push(raw: string): void {
    const line = raw.trim();
    if (line === '') this.#at += 1;
    else if (this.section === 'compare') this.#compare.push(parseCompare(line));
    else if (this.section === 'success') this.#success.push(parseOperation(line));
    else if (this.section === 'failure') this.#failure.push(parseOperation(line));
  }

  get txn(): TxnInit {
    return { compare: this.#compare, success: this.#success, failure: this.#failure };
  }
}

/** A whole script; what stands behind its end is left alone. */
export function parseTxnScript(text: string): TxnInit {
  const script = new TxnScript();
  for (const line of text.split('\n')) {
    if (script.section === undefined) break;
    script.push(line);
  }
  return script.txn;
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

/** Flags of `get` that take a number, and what they are called in a request. */
const NUMBERS: ReadonlyMap<string, keyof RangeRequest> = new Map([
  ['limit', 'limit'],
  ['rev', 'revision'],
  ['min-mod-rev', 'minModRevision'],
  ['max-mod-rev', 'maxModRevision'],
  ['min-create-rev', 'minCreateRevision'],
  ['max-create-rev', 'maxCreateRevision'],
]);
const FLAGS_WITH_VALUE = new Set(['lease', 'order', 'sort-by', ...NUMBERS.keys()]);
const FLAGS: ReadonlyMap<string, readonly string[]> = new Map([
  ['put', ['prev-kv', 'lease', 'ignore-value', 'ignore-lease']],
  ['get', ['prefix', 'from-key', 'keys-only', 'count-only', 'order', 'sort-by', ...NUMBERS.keys()]],
  ['del', ['prefix', 'from-key', 'prev-kv', 'range']],
]);

/** `--sort-by` of a get → what the request calls it. */
export const SORT_TARGETS: ReadonlyMap<string, SortTarget> = new Map([
  ['create', 'create'],
  ['key', 'key'],
  ['modify', 'mod'],
  ['value', 'value'],
  ['version', 'version'],
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
  return { ...op.get(target), ...rangeOptions(words.flags, line) } as TxnOp;
}

function rangeOptions(flags: ReadonlyMap<string, string>, line: string): Partial<RangeRequest> {
  const numbers = [...NUMBERS].flatMap(([flag, field]) => {
    const text = flags.get(flag);
    return text === undefined ? [] : [[field, wholeNumber(text, line)] as const];
  });
  const sortBy = flags.get('sort-by')?.toLowerCase();
  const order = flags.get('order')?.toLowerCase();
  const sortTarget = sortBy === undefined ? undefined : SORT_TARGETS.get(sortBy);
  if (sortBy !== undefined && sortTarget === undefined) {
    throw new InputError(`"${sortBy}" in "${line}" is nothing to sort by`);
  }
  if (order !== undefined && order !== 'ascend' && order !== 'descend') {
    throw new InputError(`"${order}" in "${line}" is no order`, 'ASCEND or DESCEND');
  }
  const isSorted = sortTarget !== undefined || order !== undefined;
  return {
    ...Object.fromEntries(numbers),
    ...(sortTarget === undefined ? {} : { sortTarget }),
    ...(isSorted ? { sortOrder: order ?? 'ascend' } : {}),
    ...(flags.get('keys-only') === 'true' ? { keysOnly: true } : {}),
    ...(flags.get('count-only') === 'true' ? { countOnly: true } : {}),
  };
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
  if (fromKey) return key === '' ? { prefix: '' } : { from: key };
  return end === undefined ? key : { range: [key, end] };
}
