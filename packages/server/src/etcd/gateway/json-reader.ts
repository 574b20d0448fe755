import { GrpcError } from '../grpc-error.ts';

/** Transactions nest 128 deep at most, and each level of them is three of JSON. */
const DEPTH_MAX = 400;
/** Values of one request, asked for or not: a few bytes of text may each become an object of a hundred. */
const VALUES_MAX = 262_144;

const UTF8 = new TextDecoder('utf-8', { fatal: true });
const SPACE = /[ \t\n\r]*/y;
/** Everything but control characters, the quote and the backslash. */
const PLAIN = /[ !#-[\]-\u{10ffff}]*/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LONE_SURROGATE = /\p{Surrogate}/u;
const LITERALS = ['true', 'false', 'null'] as const;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/**
 * Reads JSON piece by piece and keeps only what it is asked for; RFC 8259, strictly. Depth, and the number of values, are bounded.
 * Errors: INVALID_ARGUMENT, with the offset where it helps.
 */
export class JsonReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  #values = 0;

  constructor(body: Uint8Array) {
    try {
      this.#text = UTF8.decode(body);
    } catch {
      throw new GrpcError('INVALID_ARGUMENT', 'the request is not UTF-8');
    }
  }

  /** Whether nothing but space is left. */
  get atEnd(): boolean {
    this.#skipSpace();
    return this.#at === this.#text.length;
  }

  /** What kind of value comes next. */
  kind(): 'object' | 'array' | 'string' | 'number' | 'true' | 'false' | 'null' {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === '{') return 'object';
    if (char === '[') return 'array';
    if (char === '"') return 'string';
    const literal = LITERALS.find((word) => this.#text.startsWith(word, this.#at));
    if (literal !== undefined) return literal;
    if (char === '-' || (char !== undefined && char >= '0' && char <= '9')) return 'number';
    throw this.#unexpected('a value');
  }

  /** Calls `member` with each name of an object; it must read the value. */
  object(member: (name: string) => void): void {
    this.#open('{');
    this.#members('}', () => {
      this.#skipSpace();
      const name = this.string();
      this.#expect(':');
      member(name);
    });
  }

  /** Calls `item` for each value of an array; it must read the value. */
  array(item: () => void): void {
    this.#open('[');
    this.#members(']', item);
  }

  string(): string {
    this.#count();
    this.#expect('"');
    let text = '';
    let escaped = false;
    for (;;) {
      text += this.#match(PLAIN);
      const char = this.#text[this.#at];
      this.#at += 1;
      if (char === '"') break;
      if (char !== '\\') throw this.#unexpectedBefore('the end of a string');
      text += this.#escaped();
      escaped = true;
    }
    if (escaped && LONE_SURROGATE.test(text)) throw this.#error('half a surrogate pair');
    return text;
  }

  /** A number as it is written: 64-bit integers do not survive JavaScript's. */
  number(): string {
    this.#count();
    this.#skipSpace();
    const text = this.#match(NUMBER);
    if (text === '') throw this.#unexpected('a number');
    return text;
  }

  literal(): boolean | null {
    this.#count();
    const kind = this.kind();
    if (kind !== 'true' && kind !== 'false' && kind !== 'null') throw this.#unexpected('a literal');
    this.#at += kind.length;
    return kind === 'null' ? null : kind === 'true';
  }

  /** Reads over a value of any kind. */
  skip(): void {
    switch (this.kind()) {
      case 'object':
        this.object(() => this.skip());
        break;
      case 'array':
        this.array(() => this.skip());
        break;
      case 'string':
        this.string();
        break;
      case 'number':
        this.number();
        break;
      default:
        this.literal();
    }
  }

  #open(bracket: '{' | '['): void {
    this.#count();
    this.#expect(bracket);
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw this.#error(`nested deeper than ${DEPTH_MAX}`);
  }

  #members(end: '}' | ']', member: () => void): void {
    this.#skipSpace();
    let first = true;
    while (this.#text[this.#at] !== end) {
      if (!first) this.#expect(',');
      first = false;
      member();
      this.#skipSpace();
    }
    this.#at += 1;
    this.#depth -= 1;
  }

  #escaped(): string {
    const char = this.#text[this.#at] ?? '';
    this.#at += 1;
    if (char === 'u') {
      const digits = this.#text.slice(this.#at, this.#at + 4);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#unexpected('four hex digits');
      this.#at += 4;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const plain = ESCAPES[char];
    if (plain === undefined) throw this.#unexpectedBefore('an escape sequence');
    return plain;
  }

  #count(): void {
    this.#values += 1;
    if (this.#values > VALUES_MAX) throw this.#error(`more than ${VALUES_MAX} values`);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += text.length;
    return text;
  }

  #skipSpace(): void {
    this.#match(SPACE);
  }

  #expect(char: string): void {
    this.#skipSpace();
    if (this.#text[this.#at] !== char) throw this.#unexpected(`'${char}'`);
    this.#at += 1;
  }

  #unexpectedBefore(wanted: string): GrpcError {
    this.#at -= 1;
    return this.#unexpected(wanted);
  }

  #unexpected(wanted: string): GrpcError {
    const char = this.#text[this.#at];
    const found = char === undefined ? 'the end' : JSON.stringify(char);
    return this.#error(`expected ${wanted}, found ${found}`);
  }

  #error(what: string): GrpcError {
    return new GrpcError('INVALID_ARGUMENT', `malformed JSON at offset ${this.#at}: ${what}`);
  }
}
