import type { Rng } from '@kvorum/ports';
import type { AppendFaultRates, PeerLinkFaults } from '@kvorum/testkit';

/** What the nemesis may do to a cluster. */
export const ACTIONS = [
  'kill',
  'machine-crash',
  'pause',
  'cut',
  'one-way-cut',
  'member-outage',
  'outage',
  'transfer',
] as const;
export type Action = (typeof ACTIONS)[number];

/** The options of one run. Each seed draws its own, so that rare mixes come up that no uniform rate would give. */
export interface Swarm {
  readonly members: number;
  readonly shards: number;
  readonly clients: number;
  readonly watchers: number;
  readonly keys: number;
  readonly safetyMs: number;
  readonly appendMsMax: number;
  readonly readMsMax: number;
  readonly storeMsMax: number;
  readonly appendFaults: AppendFaultRates;
  readonly peerFaults: PeerLinkFaults;
  /** Mean time between two of a kind; undefined = never. */
  readonly meanMs: Readonly<Record<Action, number | undefined>>;
  /** Longest time a fault of the nemesis lasts. */
  readonly faultMsMax: number;
}

/** off, low or high. */
function pick<T>(rng: Rng, off: T, low: T, high: T): T {
  const roll = rng.integer(0, 3);
  if (roll === 0) return off;
  return roll === 1 ? low : high;
}

function oneOf<T>(rng: Rng, choices: readonly [T, ...T[]]): T {
  return choices[rng.integer(0, choices.length)] ?? choices[0];
}

export function drawSwarm(rng: Rng): Swarm {
  const perMille = (): number => pick(rng, 0, 10, 100);
  const mean = (): number | undefined => pick(rng, undefined, 12_000, 2500);
  return {
    members: oneOf(rng, [1, 3, 3, 3, 5]),
    shards: oneOf(rng, [1, 1, 2, 3]),
    clients: rng.integer(2, 6),
    watchers: rng.integer(1, 4),
    keys: oneOf(rng, [1, 3, 8]),
    safetyMs: rng.integer(8, 21) * 1000,
    appendMsMax: pick(rng, 1, 10, 200),
    readMsMax: pick(rng, 0, 10, 200),
    storeMsMax: pick(rng, 0, 3, 40),
    appendFaults: {
      refused: perMille(),
      lost: perMille(),
      'answer-lost': perMille(),
      duplicate: perMille(),
      late: perMille(),
      slow: perMille(),
      delayMsMax: pick(rng, 50, 500, 5000),
    },
    peerFaults: {
      delayMsMin: 0,
      delayMsMax: pick(rng, 1, 20, 300),
      lossPerMille: pick(rng, 0, 10, 150),
      duplicationPerMille: pick(rng, 0, 10, 150),
      cut: false,
    },
    meanMs: {
      kill: mean(),
      'machine-crash': mean(),
      pause: mean(),
      cut: mean(),
      'one-way-cut': mean(),
      'member-outage': mean(),
      outage: pick(rng, undefined, 20_000, 6000),
      transfer: mean(),
    },
    faultMsMax: pick(rng, 300, 2000, 6000),
  };
}
