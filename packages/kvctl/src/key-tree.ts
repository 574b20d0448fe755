import type { Entry } from '@kvorum/client';
import { shown } from './output.ts';

/** A directory of keys, or a key: names are separated by slashes, which stay with the name before them. */
export interface KeyNode {
  readonly name: string;
  /** Of everything in it. */
  keys: number;
  /** Of their keys and values. */
  bytes: number;
  readonly children: Map<string, KeyNode>;
}

export function emptyNode(name: string): KeyNode {
  return { name, keys: 0, bytes: 0, children: new Map() };
}

/** Adds a key below `root`, with names of its own down to `depth`; what is deeper is counted. */
export function addKey(root: KeyNode, entry: Entry, prefix: string, depth: number): void {
  const rest = shown(entry.key).slice(prefix.length);
  const names = rest.match(/[^/]*\/|[^/]+$/g) ?? [''];
  let at = root;
  const count = (node: KeyNode): void => {
    node.keys += 1;
    node.bytes += entry.key.length + entry.value.length;
  };
  count(at);
  for (const name of names.slice(0, depth)) {
    let child = at.children.get(name);
    if (child === undefined) {
      child = emptyNode(name);
      at.children.set(name, child);
    }
    count(child);
    at = child;
  }
}
