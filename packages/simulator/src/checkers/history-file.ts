import { closeSync, createReadStream, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { err, KvError, type KvRequest, ok, type Result } from '@kvorum/base';
import { decodeHistoryHeader, decodeHistoryLine, encodeHistoryLine } from './history-codec.ts';
import { BadField } from './plain-fields.ts';
import {
  collectHistory,
  type HistoryHeader,
  type HistoryLine,
  type RecordedHistory,
  type RecordedOperation,
  type RecordedResult,
} from './recorded-history.ts';

/** An operation whose answer is awaited. */
export interface OpenOperation {
  /** Records the answer; only the first one counts. */
  finish(at: number, result: RecordedResult): void;
}

/** What is known of an operation when it is called. */
export interface CalledOperation {
  readonly client: string;
  readonly process: string;
  readonly shard: string;
  readonly request: KvRequest;
  readonly session?: { readonly clientId: string; readonly seq: number };
  readonly member?: string;
}

const BUFFER_CHARS = 1 << 16;

/**
 * Writes a history file as it happens. `close` records the operations that are still open as of unknown outcome and
 * puts the end line, without which a reader takes the file for cut short.
 */
export class HistoryWriter {
  readonly #file: number;
  readonly #open = new Map<number, Omit<RecordedOperation, 'return' | 'result'>>();
  #buffer = '';
  #lines = 0;
  #nextId = 0;

  /** Errors: those of node:fs. */
  constructor(path: string, header: HistoryHeader) {
    this.#file = openSync(path, 'w');
    this.#put(encodeHistoryLine(header));
  }

  /** Records a call; nothing is written before the operation ends. */
  call(at: number, called: CalledOperation): OpenOperation {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#open.set(id, { type: 'operation', id, call: at, ...called });
    return {
      finish: (end, result) => {
        const operation = this.#open.get(id);
        if (operation === undefined) return;
        this.#open.delete(id);
        this.write({ ...operation, return: end, result });
      },
    };
  }

  /** Writes a whole line. Mixes with `call` only when the ids of the operations do not meet. */
  write(line: HistoryLine): void {
    this.#put(encodeHistoryLine(line));
  }

  close(): void {
    for (const operation of this.#open.values()) {
      this.write({ ...operation, result: { outcome: 'unknown', code: 'no answer' } });
    }
    this.#open.clear();
    this.#put(JSON.stringify({ type: 'end', lines: this.#lines + 1 }));
    this.#flush();
    closeSync(this.#file);
  }

  #put(line: string): void {
    this.#lines += 1;
    this.#buffer += `${line}\n`;
    if (this.#buffer.length > BUFFER_CHARS) this.#flush();
  }

  #flush(): void {
    writeSync(this.#file, this.#buffer);
    this.#buffer = '';
  }
}

/** Writes a history that is in memory. */
export function writeHistory(path: string, history: RecordedHistory): void {
  const writer = new HistoryWriter(path, history.header);
  for (const lines of [history.operations, history.watches, history.log, history.notes]) {
    for (const line of lines) writer.write(line);
  }
  writer.close();
}

/**
 * Reads and checks a history file. Errors: KV_MALFORMED naming the line and the field, or that the file has no end (it was
 * cut short, so that what it lacks would look like violations); those of node:fs are thrown.
 */
export async function readHistory(path: string): Promise<Result<RecordedHistory, KvError>> {
  const file = createReadStream(path, 'utf8');
  try {
    return await parseHistory(
      createInterface({ input: file, crlfDelay: Number.POSITIVE_INFINITY }),
    );
  } finally {
    file.destroy();
  }
}

/** As `readHistory`, from the lines themselves. */
export async function parseHistory(
  source: AsyncIterable<string> | Iterable<string>,
): Promise<Result<RecordedHistory, KvError>> {
  const parser = new HistoryParser();
  let number = 0;
  for await (const line of source) {
    number += 1;
    if (line.trim() === '') continue;
    try {
      parser.take(JSON.parse(line));
    } catch (error) {
      if (!(error instanceof BadField || error instanceof SyntaxError)) throw error;
      return err(new KvError('KV_MALFORMED', `line ${number}: ${error.message}`));
    }
  }
  return parser.finish();
}

class HistoryParser {
  readonly #ids = new Set<number>();
  readonly #streams = new Set<string>();
  readonly #offsets = new Map<string, number>();
  readonly #lines: HistoryLine[] = [];
  #header: HistoryHeader | undefined;
  #ended = false;

  take(value: unknown): void {
    if (this.#ended) throw new BadField('nothing may follow the end');
    if (this.#header === undefined) this.#header = decodeHistoryHeader(value);
    else if (isEnd(value)) this.#end(value.lines);
    else this.#add(decodeHistoryLine(value));
  }

  finish(): Result<RecordedHistory, KvError> {
    if (this.#header === undefined) return err(new KvError('KV_MALFORMED', 'the file is empty'));
    if (!this.#ended) {
      return err(new KvError('KV_MALFORMED', 'no end line: the history was cut short'));
    }
    return ok(collectHistory(this.#header, this.#lines));
  }

  #end(lines: unknown): void {
    const count = this.#lines.length + 2;
    if (lines !== undefined && lines !== count) {
      throw new BadField(`the end speaks of ${JSON.stringify(lines)} lines, there are ${count}`);
    }
    this.#ended = true;
  }

  #add(line: HistoryLine): void {
    this.#lines.push(line);
    if (line.type === 'operation') {
      if (this.#ids.has(line.id)) throw new BadField(`operation ${line.id} is there twice`);
      this.#ids.add(line.id);
    } else if (line.type === 'watch') this.#streams.add(line.stream);
    else if (line.type === 'events' || line.type === 'watch-end') {
      if (!this.#streams.has(line.stream)) throw new BadField(`no watch opened ${line.stream}`);
    } else if (line.type === 'log') {
      const last = this.#offsets.get(line.shard) ?? -1;
      if (line.offset <= last) throw new BadField(`offset ${line.offset} after ${last}`);
      this.#offsets.set(line.shard, line.offset);
    }
  }
}

function isEnd(value: unknown): value is { readonly lines?: unknown } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'end';
}
