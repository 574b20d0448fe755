import { fromUtf8, type KeyValue, type LeaseId, type Revision } from '@kvorum/base';

/**
 * A stored key with its value and revisions. The bytes are views of a received frame: copy what you
 * keep for long.
 */
export class Entry implements KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  readonly version: number;
  readonly lease: LeaseId;

  constructor(kv: KeyValue) {
    this.key = kv.key;
    this.value = kv.value;
    this.createRevision = kv.createRevision;
    this.modRevision = kv.modRevision;
    this.version = kv.version;
    this.lease = kv.lease;
  }

  /** The key as UTF-8. */
  keyText(): string {
    return fromUtf8(this.key);
  }

  /** The value as UTF-8. */
  text(): string {
    return fromUtf8(this.value);
  }

  /**
   * The value parsed as JSON; throws a SyntaxError when it is none. Check or parse the result
   * before trusting it.
   */
  json(): unknown {
    return JSON.parse(this.text()) as unknown;
  }
}
