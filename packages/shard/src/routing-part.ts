import { utf8 } from '@kvorum/base';
import { crc16 } from './crc16.ts';

export const SLOT_COUNT = 16_384;

/** Keys that start with `prefix` are routed by their first `depth` path segments (as many as they have). */
export interface RoutingRule {
  readonly prefix: string;
  /** >= 1. */
  readonly depth: number;
}

interface CompiledRule {
  readonly prefix: Uint8Array;
  readonly depth: number;
}

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const SLASH = 0x2f;

/** Rules come from a shard map and are matched against every key: their bytes are made once. */
const compiledRules = new WeakMap<readonly RoutingRule[], readonly CompiledRule[]>();

/** Longest prefix first, so that the first match is the most specific one. */
function compile(rules: readonly RoutingRule[]): readonly CompiledRule[] {
  const known = compiledRules.get(rules);
  if (known !== undefined) return known;
  const compiled = rules
    .map(({ prefix, depth }) => ({ prefix: utf8(prefix), depth }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  compiledRules.set(rules, compiled);
  return compiled;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i += 1) if (bytes[i] !== prefix[i]) return false;
  return true;
}

interface Segments {
  /** End of the first `depth` segments, without the slash after them. A leading slash starts no segment. */
  readonly end: number;
  /** A slash ends them: more bytes after `key` cannot change them. */
  readonly complete: boolean;
}

function firstSegments(key: Uint8Array, depth: number): Segments {
  let from = key[0] === SLASH ? 1 : 0;
  for (let segment = 1; ; segment += 1) {
    const slash = key.indexOf(SLASH, from);
    if (slash === -1) return { end: key.length, complete: false };
    if (segment === depth) return { end: slash, complete: true };
    from = slash + 1;
  }
}

/** Where the bytes between the first `{` and the first `}` after it lie; `undecided`: the `}` may still come. */
type Tag = { readonly from: number; readonly to: number } | 'none' | 'undecided';

function findTag(key: Uint8Array, open: number): Tag {
  if (open === -1) return 'none';
  const close = key.indexOf(CLOSE_BRACE, open + 1);
  if (close === -1) return 'undecided';
  return close === open + 1 ? 'none' : { from: open + 1, to: close };
}

/**
 * The bytes of a key that decide its slot. The first that applies:
 *
 * 1. a matching rule (longest prefix) whose segments end before the first `{`: those segments;
 * 2. the text inside the first `{…}`, unless it is empty or never closed (the Redis Cluster rule, exactly);
 * 3. a matching rule: its segments;
 * 4. the key's directory: everything up to and including its last `/`;
 * 5. the whole key.
 *
 * Rule 1 stands before the tag so that all keys below one satisfied rule share a shard whatever follows: a range over them
 * then needs that one shard only.
 */
export function routingPart(key: Uint8Array, rules: readonly RoutingRule[]): Uint8Array {
  const open = key.indexOf(OPEN_BRACE);
  const rule =
    rules.length === 0 ? undefined : compile(rules).find((r) => startsWith(key, r.prefix));
  const end = rule === undefined ? -1 : firstSegments(key, rule.depth).end;
  if (rule !== undefined && (open === -1 || end <= open)) return key.subarray(0, end);
  const tag = findTag(key, open);
  if (typeof tag === 'object') return key.subarray(tag.from, tag.to);
  if (rule !== undefined) return key.subarray(0, end);
  const slash = key.lastIndexOf(SLASH);
  return slash === -1 ? key : key.subarray(0, slash + 1);
}

/**
 * The routing part that every key starting with `prefix` has; undefined when they may differ. The directory rule never
 * fixes one: a longer key may lie in a directory below.
 */
export function fixedRoutingPart(
  prefix: Uint8Array,
  rules: readonly RoutingRule[],
): Uint8Array | undefined {
  const compiled = compile(rules);
  // A rule that only some of the keys match could give those another part.
  if (compiled.some((r) => r.prefix.length > prefix.length && startsWith(r.prefix, prefix))) {
    return undefined;
  }
  const open = prefix.indexOf(OPEN_BRACE);
  const tag = findTag(prefix, open);
  const rule = compiled.find((r) => startsWith(prefix, r.prefix));
  const segments = rule === undefined ? undefined : firstSegments(prefix, rule.depth);
  const ruleFixes = segments?.complete === true;
  if (ruleFixes && (open === -1 || segments.end <= open)) return prefix.subarray(0, segments.end);
  if (tag === 'undecided') return undefined;
  if (tag !== 'none') return prefix.subarray(tag.from, tag.to);
  // No tag yet: one may still come, unless empty braces already spent the only chance.
  return ruleFixes && open !== -1 ? prefix.subarray(0, segments.end) : undefined;
}

/** Slot of a routing part, 0..16383. */
export function slotOfPart(part: Uint8Array): number {
  return crc16(part) % SLOT_COUNT;
}

/** Slot of a key, 0..16383. */
export function slotOf(key: Uint8Array, rules: readonly RoutingRule[]): number {
  return slotOfPart(routingPart(key, rules));
}
