import { isCount, type KeyValue, leaseId, revision, type WatchEvent } from '@kvorum/base';

type PlainKv = readonly [
  key: Uint8Array,
  value: Uint8Array,
  create: number,
  mod: number,
  version: number,
  lease: number | bigint,
];

function plainKv(kv: KeyValue): PlainKv {
  return [
    kv.key,
    kv.value,
    kv.createRevision,
    kv.modRevision,
    kv.version,
    kv.lease === 0n ? 0 : kv.lease,
  ];
}

/** [deleted, key, value, create, mod, version, lease, prev | null]; prev = [key, value, create, mod, version, lease]. */
export function plainEvent(event: WatchEvent): readonly unknown[] {
  const prev = event.prevKv === undefined ? null : plainKv(event.prevKv);
  return [event.type === 'delete', ...plainKv(event.kv), prev];
}

function kvOf(fields: readonly unknown[]): KeyValue | undefined {
  const [key, value, create, mod, version, lease] = fields;
  if (!(key instanceof Uint8Array) || !(value instanceof Uint8Array)) return undefined;
  if (!isCount(create) || !isCount(mod) || !isCount(version)) return undefined;
  if (!isCount(lease) && typeof lease !== 'bigint') return undefined;
  return {
    key,
    value,
    createRevision: revision(create),
    modRevision: revision(mod),
    version,
    lease: leaseId(BigInt(lease)),
  };
}

/** Reads what {@link plainEvent} made on another member; undefined when it is no event. */
export function eventOfPlain(plain: unknown): WatchEvent | undefined {
  if (!Array.isArray(plain) || typeof plain[0] !== 'boolean') return undefined;
  const fields = plain as readonly unknown[];
  const kv = kvOf(fields.slice(1, 7));
  if (kv === undefined) return undefined;
  const type = plain[0] ? 'delete' : 'put';
  const prev = fields[7];
  if (prev === null || prev === undefined) return { type, kv };
  const prevKv = Array.isArray(prev) ? kvOf(prev as readonly unknown[]) : undefined;
  return prevKv === undefined ? undefined : { type, kv, prevKv };
}
