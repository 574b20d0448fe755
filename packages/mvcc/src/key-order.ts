import { partitionPoint } from '@kvorum/base';
import { byteText } from './binary.ts';

/** So few new keys are put into their places; of more, an eighth of what is there. Otherwise everything is sorted anew. */
const INSERTS_MAX = 32;

/**
 * Things with keys, in the order of their keys, for a batch that scans between its writes: a scan must not walk all that has
 * been written. What is added is put in order when somebody asks, so that a batch which never scans pays nothing.
 */
export class KeyOrder<T extends { readonly key: Uint8Array }> {
  /** Ascending, as byteText; `items` stand beside them. */
  private texts: string[] = [];
  private items: T[] = [];
  private added: T[] = [];

  /** The same thing may come again; it is kept once. */
  add(item: T): void {
    this.added.push(item);
  }

  /** Everything with from <= key < to, in key order. `to` undefined = no upper bound. */
  between(from: Uint8Array, to: Uint8Array | undefined): readonly T[] {
    this.order();
    const first = this.firstAtLeast(byteText(from));
    const last = to === undefined ? this.items.length : this.firstAtLeast(byteText(to));
    return this.items.slice(first, Math.max(first, last));
  }

  private order(): void {
    const insertsMax = INSERTS_MAX + this.texts.length / 8;
    if (this.added.length > insertsMax) this.sortAll();
    else for (const item of this.added) this.insert(item);
    this.added = [];
  }

  private insert(item: T): void {
    const text = byteText(item.key);
    const at = this.firstAtLeast(text);
    if (this.texts[at] === text) return;
    this.texts.splice(at, 0, text);
    this.items.splice(at, 0, item);
  }

  private sortAll(): void {
    const byText = new Map(this.texts.map((text, i) => [text, this.items[i] as T]));
    for (const item of this.added) byText.set(byteText(item.key), item);
    this.texts = [...byText.keys()].sort();
    this.items = this.texts.map((text) => byText.get(text) as T);
  }

  private firstAtLeast(text: string): number {
    return partitionPoint(this.texts, (one) => one < text);
  }
}
