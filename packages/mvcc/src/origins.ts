import {
  err,
  fromUtf8,
  KvError,
  ORIGIN_NAME_BYTES_MAX,
  type Origin,
  ok,
  partitionPoint,
  type Result,
  utf8,
} from '@kvorum/base';
import { ByteReader, ByteWriter } from './binary.ts';

/** Bytes of one origin at most, and of one run. */
const FRAME_BYTES = 16;
const RUN_BYTES_MAX = 8;

/** `count` revisions in a row of one origin; 0 = unknown, else its place in the table + 1. */
interface Run {
  readonly origin: number;
  count: number;
}

/** How far a batch has come. */
export interface Progress {
  readonly revision: number;
  readonly compactedTo: number;
}

/**
 * Who asked for what in one batch: a table of the distinct origins, and which of them each revision is of, by runs.
 *
 * ```
 * varint origin count; per origin: blob user, blob client
 * varint origin of the compaction (0 = unknown or none)
 * runs until the end: varint revisions, varint origin (0 = unknown)
 * ```
 * A batch of one client costs its name and five bytes.
 */
export class OriginRecorder {
  private readonly table: Origin[] = [];
  private readonly known = new Map<string, number>();
  private readonly runs: Run[] = [];
  private compactedBy = 0;
  private last: Origin | undefined;
  private lastNumber = 0;
  private namesBytes = FRAME_BYTES;

  /** The command that comes next is of this origin. Returns how many bytes the origins take at most, with that command. */
  begin(origin: Origin | undefined): number {
    if (origin !== this.last) {
      this.last = origin;
      this.lastNumber = origin === undefined ? 0 : this.numberOf(origin);
    }
    // The command may begin a run.
    return this.namesBytes + (this.runs.length + 1) * RUN_BYTES_MAX;
  }

  /** The command that was begun is done; what it did shows in the state. */
  end(before: Progress, after: Progress): void {
    if (after.compactedTo !== before.compactedTo) this.compactedBy = this.lastNumber;
    if (after.revision === before.revision) return;
    const run = this.runs.at(-1);
    if (run?.origin === this.lastNumber) run.count += 1;
    else this.runs.push({ origin: this.lastNumber, count: 1 });
  }

  /** Undefined when nothing is known of anything that the batch did. */
  encode(): Uint8Array | undefined {
    if (this.compactedBy === 0 && this.runs.every(({ origin }) => origin === 0)) return undefined;
    const out = new ByteWriter(this.namesBytes);
    out.varint(this.table.length);
    for (const { user, client } of this.table) {
      out.blob(utf8(user));
      out.blob(utf8(client));
    }
    out.varint(this.compactedBy);
    for (const { count, origin } of this.runs) {
      out.varint(count);
      out.varint(origin);
    }
    return out.view();
  }

  private numberOf(origin: Origin): number {
    const name = `${origin.user}\0${origin.client}`;
    const known = this.known.get(name);
    if (known !== undefined) return known;
    this.table.push(origin);
    this.known.set(name, this.table.length);
    this.namesBytes += FRAME_BYTES + 2 * ORIGIN_NAME_BYTES_MAX;
    return this.table.length;
  }
}

/** The origins of one batch, as its record tells them. */
export interface Origins {
  readonly compactedBy: Origin | undefined;
  /** Of the n-th revision of the batch, from 0 on; undefined = unknown. */
  of(nth: number): Origin | undefined;
}

/**
 * Reads the origins of a write set. Replicas never do: what is amiss here changes no state.
 *
 * Errors: KV_CORRUPT.
 */
export function decodeOrigins(bytes: Uint8Array): Result<Origins, KvError> {
  const input = new ByteReader(bytes);
  const table: (Origin | undefined)[] = [undefined];
  for (let left = input.varint(); left > 0 && !input.failed; left -= 1) {
    table.push({ user: name(input), client: name(input) });
  }
  const compactedBy = input.varint();
  const ends: { readonly end: number; readonly origin: number }[] = [];
  let end = 0;
  while (!input.failed && input.at < bytes.length) {
    end += input.varint();
    ends.push({ end, origin: input.varint() });
  }
  const known = [compactedBy, ...ends.map(({ origin }) => origin)];
  if (!input.finished() || known.some((origin) => origin >= table.length)) {
    return err(new KvError('KV_CORRUPT', 'malformed origins in a write set'));
  }
  return ok({
    compactedBy: table[compactedBy],
    of: (nth) => table[ends[partitionPoint(ends, (run) => run.end <= nth)]?.origin ?? 0],
  });
}

function name(input: ByteReader): string {
  return fromUtf8(input.blob());
}
