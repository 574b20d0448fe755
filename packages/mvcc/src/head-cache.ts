import type { Head } from './row-codec.ts';

/**
 * Newest heads of recently used keys, bounded: two generations, the older one dropped whole when the younger is full.
 *
 * Why: a hit costs one or two Map look-ups and no list surgery, and a full cache costs nothing per insertion.
 */
export class HeadCache {
  private young = new Map<string, Head>();
  private old = new Map<string, Head>();
  private readonly generationMax: number;

  constructor(entriesMax: number) {
    this.generationMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  get(keyText: string): Head | undefined {
    const recent = this.young.get(keyText);
    if (recent !== undefined) return recent;
    const head = this.old.get(keyText);
    if (head !== undefined) this.set(keyText, head);
    return head;
  }

  set(keyText: string, head: Head): void {
    this.young.set(keyText, head);
    if (this.young.size >= this.generationMax) {
      this.old = this.young;
      this.young = new Map();
    }
  }

  delete(keyText: string): void {
    this.young.delete(keyText);
    this.old.delete(keyText);
  }

  get size(): number {
    return this.young.size + this.old.size;
  }
}
