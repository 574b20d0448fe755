import { partitionPoint, type WatchRequest } from '@kvorum/base';
import { keyValueDifference } from './differences.ts';
import type { Findings, Rule } from './finding.ts';
import { covers, type KeyRange, keyRange, keyText, shown } from './key-text.ts';
import type { KeyVersion, KeyVersions } from './key-versions.ts';
import type {
  RecordedEvent,
  RecordedEvents,
  RecordedKeyValue,
  RecordedWatch,
  RecordedWatchEnd,
} from './recorded-history.ts';

export type WatchLine = RecordedWatch | RecordedEvents | RecordedWatchEnd;

/** What streams are held against. */
export interface WatchTruth {
  readonly versions: KeyVersions;
  /** Whether `versions` has every change, as a log does, or those that clients were told of. */
  readonly complete: boolean;
  /** At or below it, previous values may be gone. */
  readonly compactRevision: number;
  /** Whether a change that `versions` lacks may have touched the key. */
  isUncertain(key: string): boolean;
}

/**
 * The lines of one stream against the changes of its shard: in order, each once, whole revisions in one delivery, none missing, only what
 * was asked for, with the right previous values, and over resumptions without a gap.
 */
export function checkWatchStream(
  lines: readonly WatchLine[],
  truth: WatchTruth,
  findings: Findings,
): void {
  const check = new StreamCheck(truth, findings);
  for (const line of lines) {
    if (line.type === 'watch') check.open(line);
    else if (line.type === 'events') check.deliver(line);
    else check.end(line);
  }
}

class StreamCheck {
  readonly #truth: WatchTruth;
  readonly #findings: Findings;
  #stream = '';
  #request: WatchRequest | undefined;
  #range: KeyRange | undefined;
  /** The connection's first revision. */
  #start = 0;
  /** Everything below it was delivered; undefined = the stream does not say where it began. */
  #next: number | undefined;
  /** Given up by a compaction, inclusive. */
  #compacted = 0;

  constructor(truth: WatchTruth, findings: Findings) {
    this.#truth = truth;
    this.#findings = findings;
  }

  open({ at, created, request, stream }: RecordedWatch): void {
    this.#stream = stream;
    this.#request = request;
    this.#range = keyRange(request.key, request.rangeEnd);
    const asked = request.startRevision ?? 0;
    const start = asked > 0 ? asked : created === undefined ? undefined : created + 1;
    const stood = this.#next;
    if (asked > 0 && stood !== undefined && asked > Math.max(stood, this.#compacted + 1)) {
      this.#add('watch-gap', `resumed at revision ${asked}, but it stood at ${stood}`, at);
    }
    this.#next = start;
    this.#start = start ?? 0;
  }

  end({ compactRevision }: RecordedWatchEnd): void {
    this.#compacted = Math.max(this.#compacted, compactRevision ?? 0);
  }

  deliver({ at, events, through }: RecordedEvents): void {
    const first = this.#next ?? events[0]?.kv.modRevision ?? (through ?? 0) + 1;
    const before = first;
    const seen = new Map<string, RecordedEvent>();
    let last = 0;
    for (const event of events) {
      const { modRevision } = event.kv;
      const name = `${modRevision}/${keyText(event.kv.key)}`;
      if (this.#judgePlace(event, { at, before, last, known: seen.has(name) })) {
        seen.set(name, event);
      }
      last = Math.max(last, modRevision);
      this.#judgeRequested(event, at);
      this.#judgeContent(event, at);
    }
    const end = Math.max(last, through ?? 0, before - 1);
    this.#judgeComplete(before, end, seen, at);
    this.#next = end + 1;
  }

  /** Whether the event is new and in its place. */
  #judgePlace(
    event: RecordedEvent,
    where: {
      readonly at: number;
      readonly before: number;
      readonly last: number;
      readonly known: boolean;
    },
  ): boolean {
    const { modRevision } = event.kv;
    const { at, before, known, last } = where;
    if (known) this.#add('watch-duplicate', `${showEvent(event)} came twice`, at);
    else if (modRevision < this.#start) {
      const text = `${showEvent(event)} is older than the start at ${this.#start}`;
      this.#add('watch-order', text, at);
    } else if (modRevision < before) {
      const isLast = modRevision === before - 1;
      const what = isLast ? 'in another delivery than the rest of its revision, or' : 'again';
      const text = `${showEvent(event)} came ${what} after revision ${before - 1} was delivered`;
      this.#add(isLast && !this.#wasDue(event) ? 'watch-torn' : 'watch-duplicate', text, at);
    } else if (modRevision < last) {
      this.#add('watch-order', `${showEvent(event)} came after revision ${last}`, at);
      return true;
    } else return true;
    return false;
  }

  /** Whether the revision has this one change only: then it was there before. */
  #wasDue({ kv }: RecordedEvent): boolean {
    return this.#truth.versions.changesAt(kv.modRevision).length === 1;
  }

  #judgeRequested(event: RecordedEvent, at: number): void {
    const key = keyText(event.kv.key);
    const outside = this.#range !== undefined && !covers(this.#range, key);
    const filtered = this.#request?.filters?.includes(
      event.type === 'put' ? 'no-put' : 'no-delete',
    );
    if (!outside && filtered !== true) return;
    const why = outside ? 'is outside the range' : `was filtered out (no ${event.type})`;
    this.#add('watch-filter', `${showEvent(event)} ${why}`, at);
  }

  #judgeContent(event: RecordedEvent, at: number): void {
    const { complete, versions } = this.#truth;
    const { modRevision } = event.kv;
    const key = keyText(event.kv.key);
    const version = versions.at(key, modRevision);
    const deleted = event.type === 'delete';
    const there = version?.revision === modRevision && version.deleted === deleted;
    if (!there) {
      // Without the log, what a stream alone has seen is part of what is known: a contradiction was reported there.
      if (!complete) return;
      this.#add('watch-wrong-event', `${showEvent(event)} is not a change of the log`, at);
      return;
    }
    const judgeable = complete || !this.#truth.isUncertain(key);
    const different = deleted || !judgeable ? undefined : contentDifference(event.kv, version, key);
    if (different !== undefined) this.#add('watch-wrong-event', `the event ${different}`, at);
    this.#judgePrevious(event, judgeable, at);
  }

  #judgePrevious(event: RecordedEvent, judgeable: boolean, at: number): void {
    const { kv, prevKv } = event;
    const asked = this.#request?.prevKv === true;
    if (prevKv !== undefined && !asked) {
      this.#add('wrong-previous', `${showEvent(event)} has a previous value nobody asked for`, at);
    }
    if (!asked || !judgeable) return;
    const key = keyText(kv.key);
    const before = this.#truth.versions.live(key, kv.modRevision - 1);
    if (prevKv === undefined) {
      // A compaction may take a previous value away, it may not change it.
      if (before === undefined || kv.modRevision <= this.#truth.compactRevision) return;
      const text = `${showEvent(event)} lacks its previous value ${showVersion(before)}`;
      this.#add('wrong-previous', text, at);
      return;
    }
    const different = contentDifference(prevKv, before, key);
    if (different === undefined) return;
    this.#add('wrong-previous', `${showEvent(event)}: previous ${different}`, at);
  }

  #judgeComplete(
    from: number,
    to: number,
    seen: ReadonlyMap<string, RecordedEvent>,
    at: number,
  ): void {
    const { versions } = this.#truth;
    const revisions = versions.revisions();
    for (let i = partitionPoint(revisions, (one) => one < from); i < revisions.length; i += 1) {
      const revision = revisions[i] as number;
      if (revision > to) break;
      const due = versions.changesAt(revision).filter(({ key, version }) => {
        return this.#isDue(key, version);
      });
      const missing = due.filter(({ key }) => !seen.has(`${revision}/${key}`));
      if (missing.length === 0) continue;
      const names = missing.map(({ key, version }) => `${shown(key)}=${showVersion(version)}`);
      const torn = missing.length < due.length;
      const text = `${names.slice(0, 3).join(', ')} was not delivered, ${torn ? 'though the rest of its revision was' : `though everything up to ${to} was`}`;
      this.#add(torn ? 'watch-torn' : 'watch-missing', text, at);
    }
  }

  #isDue(key: string, version: KeyVersion): boolean {
    if (this.#range === undefined || !covers(this.#range, key)) return false;
    const filter = version.deleted ? 'no-delete' : 'no-put';
    return this.#request?.filters?.includes(filter) !== true;
  }

  #add(rule: Rule, text: string, at: number): void {
    const streams = [this.#stream];
    this.#findings.add(rule, `stream ${this.#stream}: ${text}`, [], { streams, at });
  }
}

function contentDifference(
  recorded: RecordedKeyValue,
  version: KeyVersion | undefined,
  key: string,
): string | undefined {
  if (version === undefined) return keyValueDifference(recorded, undefined, { values: true });
  const value = version.value ?? (recorded.value === undefined ? '' : keyText(recorded.value));
  const lease = version.lease === 0n ? (recorded.lease ?? 0n) : version.lease;
  return keyValueDifference(recorded, { ...version, key, value, lease }, { values: true });
}

function showEvent({ kv, type }: RecordedEvent): string {
  const value = kv.value === undefined ? '' : `=${shown(keyText(kv.value))}`;
  return `${type} ${shown(keyText(kv.key))}${type === 'put' ? value : ''}@${kv.modRevision}`;
}

function showVersion(version: KeyVersion): string {
  return `${version.deleted ? '(deleted)' : shown(version.value)}@${version.revision}`;
}
