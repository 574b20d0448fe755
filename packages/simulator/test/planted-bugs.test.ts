import { toHex } from '@kvorum/base';
import { META_KEY, STATE_PREFIXES } from '@kvorum/mvcc';
import type { SharedLog, StateStore, StoreBatch } from '@kvorum/ports';
import { type Plant, type RunResult, runSeed, type Swarm } from '@kvorum/simulator';
import { expect, it } from 'vitest';

const QUIET: Swarm['meanMs'] = {
  kill: undefined,
  'machine-crash': undefined,
  pause: undefined,
  cut: undefined,
  'one-way-cut': undefined,
  'member-outage': undefined,
  outage: undefined,
  transfer: undefined,
};

/** Seeds that a planted bug may take to be caught. */
const SEEDS_MAX = 100;

interface Bug {
  readonly name: string;
  readonly plant: () => Plant;
  readonly caught: RegExp;
  readonly adjust?: (swarm: Swarm) => Swarm;
}

/** Another log behind the same instance: methods not given stay. */
function bent(log: SharedLog, append: SharedLog['append']): SharedLog {
  return { ...log, append };
}

/** Remembers the end of the log as this replica last saw it by reading or appending. */
function acknowledgesOnProduceSuccess(log: SharedLog): SharedLog {
  let seen = -1;
  return {
    ...log,
    read: async (from, options) => {
      const outcome = await log.read(from, options);
      if (outcome.kind === 'records') seen = outcome.entries.at(-1)?.offset ?? seen;
      return outcome;
    },
    append: async (record) => {
      const outcome = await log.append(record);
      if (outcome.kind !== 'appended') return outcome;
      seen += 1;
      return { kind: 'appended', offset: seen as typeof outcome.offset };
    },
  };
}

/** Splits each batch: the applied position first, what it admits later. */
function positionApartFromData(store: StateStore): StateStore {
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
function forgetsSessions(store: StateStore): StateStore {
  return {
    ...store,
    scan: async (range, options) =>
      range.gte[0] === STATE_PREFIXES.session ? [] : store.scan(range, options),
  };
}

function isHeartbeat(payload: unknown): payload is { term: number; round: number } {
  return (
    typeof payload === 'object' &&
    payload !== null &&
    'kind' in payload &&
    payload.kind === 'heartbeat'
  );
}

const BUGS: readonly Bug[] = [
  {
    name: 'acknowledges on produce success',
    plant: () => ({ log: acknowledgesOnProduceSuccess }),
    caught: /accepted another history|lost write|halted/,
  },
  {
    name: 'takes a time-out for "not written"',
    plant: () => ({
      log: (log) =>
        bent(log, async (record) => {
          const outcome = await log.append(record);
          return outcome.kind === 'unknown'
            ? { ...outcome, kind: 'absent', oversize: false }
            : outcome;
        }),
    }),
    caught: /but stands|more than once|accepted another history|halted|lost write/,
  },
  {
    name: 'takes a time-out for "written"',
    plant: () => ({
      log: (log) =>
        bent(log, async (record) => {
          const outcome = await log.append(record);
          const bounds = await log.bounds();
          if (outcome.kind !== 'unknown' || !('end' in bounds)) return outcome;
          return { kind: 'appended', offset: bounds.end };
        }),
    }),
    caught: /lost write|accepted another history|halted/,
  },
  {
    name: 'writes the applied position apart from the data',
    plant: () => ({ store: positionApartFromData }),
    caught: /index \d+: m\d has|halted|read |never|saw |stale/,
    adjust: (swarm) => ({
      ...swarm,
      members: 3,
      meanMs: { ...swarm.meanMs, 'machine-crash': 1500 },
    }),
  },
  {
    name: 'forgets its sessions at a failover',
    plant: () => ({ store: forgetsSessions }),
    caught: /more than once/,
    adjust: (swarm) => ({
      ...swarm,
      appendFaults: { ...swarm.appendFaults, 'answer-lost': 100 },
      meanMs: { ...swarm.meanMs, kill: 1500 },
    }),
  },
  {
    name: 'confirms reads without an answer from a majority',
    plant: () => ({
      sent: (payload, { receive }) => {
        if (!isHeartbeat(payload)) return;
        receive({
          kind: 'heartbeat-response',
          term: payload.term,
          round: payload.round,
          index: 0,
          durableOffset: -1,
          logReachable: true,
          contradicts: false,
        });
      },
    }),
    caught: /stale/,
    adjust: (swarm) => ({
      ...swarm,
      members: 3,
      shards: 1,
      clients: 5,
      faultMsMax: 6000,
      meanMs: { ...QUIET, cut: 700 },
    }),
  },
];

it.each(BUGS)(
  'catches a replica that $name',
  async ({ plant, adjust, caught }) => {
    let result: RunResult | undefined;
    for (let seed = 1; seed <= SEEDS_MAX; seed += 1) {
      result = await runSeed(seed, { plant: plant(), ...(adjust === undefined ? {} : { adjust }) });
      if (result.problems.some((problem) => caught.test(problem))) break;
    }
    expect(result?.problems.join('\n')).toMatch(caught);
  },
  60_000,
);
