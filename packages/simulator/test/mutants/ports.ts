import { toHex } from '@kvorum/base';
import { HARD_STATE_KEY, META_KEY, STATE_PREFIXES } from '@kvorum/mvcc';
import type { SharedLog, StateStore, StoreBatch } from '@kvorum/ports';

/** Another log behind the same instance: methods not given stay. */
export function bent(log: SharedLog, append: SharedLog['append']): SharedLog {
  return { ...log, append };
}

/** An append without an answer counts as written at the end of the log. */
export function timeOutMeansWritten(log: SharedLog): SharedLog {
  return bent(log, async (record) => {
    const outcome = await log.append(record);
    const bounds = await log.bounds();
    if (outcome.kind !== 'unknown' || !('end' in bounds)) return outcome;
    return { kind: 'appended', offset: bounds.end };
  });
}

/** Splits each batch: the applied position first, what it admits later. */
export function positionApartFromData(store: StateStore): StateStore {
  const isPosition = (key: Uint8Array): boolean => toHex(key) === toHex(META_KEY);
  const part =
    (fill: (batch: StoreBatch) => void, wanted: (key: Uint8Array) => boolean) =>
    (batch: StoreBatch): void =>
      fill({
        put: (key, value) => {
          if (wanted(key)) batch.put(key, value);
        },
        delete: (key) => {
          if (wanted(key)) batch.delete(key);
        },
      });
  return {
    ...store,
    write: async (fill, options) => {
      await store.write(part(fill, isPosition), options);
      await store.write(
        part(fill, (key) => !isPosition(key)),
        options,
      );
    },
  };
}

/** A new leader that does not load its sessions. */
export function forgetsSessions(store: StateStore): StateStore {
  return {
    ...store,
    scan: async (range, options) =>
      range.gte[0] === STATE_PREFIXES.session ? [] : store.scan(range, options),
  };
}

/** A process that starts does not find its vote. */
export function forgetsVote(store: StateStore): StateStore {
  return {
    ...store,
    getMany: async (keys) => {
      const found = await store.getMany(keys);
      return found.map((value, i) => (keys[i]?.[0] === HARD_STATE_KEY[0] ? undefined : value));
    },
  };
}

/** Whatever the disk says to a write, it counts as done. */
export function ignoresWriteErrors(store: StateStore): StateStore {
  return {
    ...store,
    write: (fill, options) => store.write(fill, options).catch(() => undefined),
  };
}
