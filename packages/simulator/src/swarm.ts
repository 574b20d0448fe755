import type { Limits } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { AutoCompactionPolicy } from '@kvorum/replica';
import type { AppendFaultRates, PeerLinkFaults } from '@kvorum/testkit';

/** What the nemesis may do to a cluster. */
export const ACTIONS = [
  'kill',
  'kill-at-effect',
  'machine-crash',
  'pause',
  'suspend',
  'clock-jump',
  'cut',
  'one-way-cut',
  'isolate',
  'hang',
  'swizzle',
  'member-outage',
  'outage',
  'stale-broker',
  'partition-leader',
  'isr-shrunk',
  'disk-full',
  'disk-wiped',
  'bit-flip',
  'given-up',
  'transfer',
  'membership',
  'member-replaced',
  'files-deleted',
] as const;
export type Action = (typeof ACTIONS)[number];

/**
 * What Kafka does against its promises, once in a run: other records in the place of the last ones, an empty topic of the same name, or a
 * start above what somebody still needs. The only legal result is to detect it and to halt.
 */
export const DAMAGES = ['tail-rewritten', 'topic-recreated', 'start-moved'] as const;
export type Damage = (typeof DAMAGES)[number];

/** The options of one run. Each seed draws its own, so that rare mixes come up that no uniform rate would give. */
export interface Swarm {
  readonly members: number;
  /** The first so many of them vote at first; absent = all. */
  readonly voters?: number;
  readonly shards: number;
  readonly clients: number;
  readonly watchers: number;
  readonly keys: number;
  readonly safetyMs: number;
  readonly appendMsMax: number;
  readonly replicationMsMax: number;
  readonly readMsMax: number;
  readonly storeMsMax: number;
  /** How far the speeds of the members' clocks may be off, in 1/1024. */
  readonly driftMax: number;
  /** Those that differ from the defaults. */
  readonly limits: Partial<Limits>;
  readonly appendFaults: AppendFaultRates;
  readonly peerFaults: PeerLinkFaults;
  /** Mean time between two of a kind; undefined = never. */
  readonly meanMs: Readonly<Record<Action, number | undefined>>;
  /** Longest time a fault of the nemesis lasts. */
  readonly faultMsMax: number;
  /** How many of a hundred faults are aimed at a leader. */
  readonly leaderPercent: number;
  readonly damage: Damage | undefined;
  readonly autoCompaction: AutoCompactionPolicy | undefined;
  /** Of a thousand requests of clients, and answers to them, so many are stuck for seconds. */
  readonly stuckPerMille: number;
  /** Mean time between two orders to move slots or to stop; absent = nothing moves. One shard more keeps the map then. */
  readonly movesMeanMs?: number;
  /** So many take leases and let them go; absent = nobody. */
  readonly leaseHolders?: number;
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

/** Small bounds, one by one, so that what is hit is not always the same one. */
function drawLimits(rng: Rng): Partial<Limits> {
  if (rng.integer(0, 3) > 0) return {};
  const maybe = <K extends keyof Limits>(name: K, value: number): Partial<Limits> =>
    rng.integer(0, 2) === 0 ? { [name]: value } : {};
  return {
    ...maybe('batchCommandsMax', rng.integer(1, 4)),
    ...maybe('shardQueueCommandsMax', rng.integer(2, 8)),
    ...maybe('readQueueMax', rng.integer(2, 8)),
    ...maybe('logReadBytesMax', rng.integer(1, 600)),
    ...maybe('sessionsPerShardMax', rng.integer(1, 4)),
    ...maybe('sessionResultBytesMax', rng.integer(1, 200)),
    ...maybe('connectionInflightMax', rng.integer(2, 6)),
    ...maybe('recordBytesTarget', rng.integer(100, 1000)),
    ...maybe('followPauseMs', rng.integer(0, 200)),
  };
}

/** No fault of the nemesis: what scripted sets start from. */
export const QUIET: Swarm['meanMs'] = {
  kill: undefined,
  'kill-at-effect': undefined,
  'machine-crash': undefined,
  pause: undefined,
  suspend: undefined,
  'clock-jump': undefined,
  cut: undefined,
  'one-way-cut': undefined,
  isolate: undefined,
  hang: undefined,
  swizzle: undefined,
  'member-outage': undefined,
  outage: undefined,
  'stale-broker': undefined,
  'partition-leader': undefined,
  'isr-shrunk': undefined,
  'disk-full': undefined,
  'disk-wiped': undefined,
  'bit-flip': undefined,
  'given-up': undefined,
  transfer: undefined,
  membership: undefined,
  'member-replaced': undefined,
  'files-deleted': undefined,
};

function drawMeans(rng: Rng): Swarm['meanMs'] {
  const mean = (): number | undefined => pick(rng, undefined, 15_000, 3000);
  const rare = (): number | undefined => pick(rng, undefined, 40_000, 8000);
  return {
    kill: mean(),
    'kill-at-effect': mean(),
    'machine-crash': mean(),
    pause: mean(),
    suspend: rare(),
    'clock-jump': mean(),
    cut: mean(),
    'one-way-cut': mean(),
    isolate: mean(),
    hang: mean(),
    swizzle: rare(),
    'member-outage': mean(),
    outage: pick(rng, undefined, 20_000, 6000),
    'stale-broker': rare(),
    'partition-leader': mean(),
    'isr-shrunk': rare(),
    'disk-full': rare(),
    'disk-wiped': rare(),
    'bit-flip': rare(),
    transfer: mean(),
    membership: undefined,
    'given-up': undefined,
    'member-replaced': undefined,
    'files-deleted': undefined,
  };
}

function drawAppendFaults(rng: Rng): AppendFaultRates {
  const perMille = (): number => pick(rng, 0, 10, 90);
  return {
    refused: perMille(),
    lost: perMille(),
    'answer-lost': perMille(),
    duplicate: perMille(),
    late: perMille(),
    stray: perMille(),
    slow: perMille(),
    delayMsMax: pick(rng, 50, 500, 5000),
  };
}

function drawPeerFaults(rng: Rng): PeerLinkFaults {
  return {
    delayMsMin: 0,
    delayMsMax: pick(rng, 1, 20, 300),
    lossPerMille: pick(rng, 0, 10, 150),
    duplicationPerMille: pick(rng, 0, 10, 150),
    cut: false,
    clogged: false,
  };
}

function drawAutoCompaction(rng: Rng): AutoCompactionPolicy | undefined {
  const roll = rng.integer(0, 4);
  if (roll === 0) return { mode: 'periodic', retentionMs: rng.integer(200, 5000) };
  return roll === 1 ? { mode: 'revision', retention: rng.integer(1, 60) } : undefined;
}

/** The log is truncated close behind what the disks hold, so that whoever is away for long needs a snapshot. */
function drawTruncation(rng: Rng): Partial<Limits> {
  return {
    durableMs: rng.integer(20, 1000),
    truncateMs: rng.integer(50, 1000),
    truncateSlackRecords: rng.integer(0, 12),
    truncateSlackBytes: rng.integer(0, 2000),
    truncateSlackMs: rng.integer(0, 1000),
    snapshotChunkBytes: rng.integer(200, 4000),
    snapshotBytesPerSecond: rng.integer(5000, 1_000_000),
    snapshotSendsMax: rng.integer(1, 3),
    snapshotIdleMs: rng.integer(500, 5000),
  };
}

/** In one seed of so many slots move between shards. */
const MOVES_EVERY = 5;

/** One seed's own mix. */
export function drawSwarm(rng: Rng): Swarm {
  const swarm = drawMembers(rng);
  // Drawn last: the mixes of earlier versions stay those of their seeds where nothing moves.
  const moves = rng.integer(0, MOVES_EVERY) === 0;
  const drawn = moves && swarm.damage === undefined ? withMoves(swarm, rng) : swarm;
  const stuckPerMille = pick(rng, 0, 5, 30);
  const leaseHolders = oneOf(rng, [0, 1, 3]);
  // A home that has lost its log gives nobody anything back.
  return { ...drawn, stuckPerMille, leaseHolders: swarm.damage === undefined ? leaseHolders : 0 };
}

/** The same with slots that move. */
function withMoves(swarm: Swarm, rng: Rng): Swarm {
  return {
    ...swarm,
    shards: oneOf(rng, [2, 2, 3, 4]),
    movesMeanMs: oneOf(rng, [300, 1000, 3000]),
    limits: { ...swarm.limits, slotHandOverMsMax: oneOf(rng, [300, 800, 5000]) },
  };
}

function drawMembers(rng: Rng): Swarm {
  const swarm = drawTruncated(rng);
  // A disk that is wiped in place would vote as the one it was; a member that can be replaced comes back under a new id instead.
  if (swarm.damage !== undefined || rng.integer(0, 3) > 0) return swarm;
  const members = oneOf(rng, [2, 3, 4, 5]);
  return {
    ...swarm,
    members,
    voters: rng.integer(1, members + 1),
    meanMs: {
      ...swarm.meanMs,
      'disk-wiped': undefined,
      'bit-flip': undefined,
      membership: oneOf(rng, [1000, 3000, 8000]),
      'member-replaced': pick(rng, undefined, 8000, 2500),
      'files-deleted': pick(rng, undefined, 15_000, 5000),
    },
    limits: { ...swarm.limits, learnerLagRecordsMax: oneOf(rng, [1, 8, 256]) },
  };
}

function drawTruncated(rng: Rng): Swarm {
  const swarm = drawFaults(rng);
  // A damaged log is told by what it held: nothing else takes from it then.
  if (swarm.damage !== undefined || rng.integer(0, 2) === 0) return swarm;
  return {
    ...swarm,
    limits: { ...swarm.limits, ...drawTruncation(rng) },
    meanMs: { ...swarm.meanMs, 'given-up': pick(rng, undefined, 20_000, 5000) },
  };
}

function drawFaults(rng: Rng): Swarm {
  return {
    members: oneOf(rng, [1, 3, 3, 3, 5]),
    shards: oneOf(rng, [1, 1, 2, 4]),
    clients: rng.integer(2, 6),
    watchers: rng.integer(1, 4),
    keys: oneOf(rng, [1, 3, 8]),
    safetyMs: rng.integer(6, 17) * 1000,
    appendMsMax: pick(rng, 1, 10, 200),
    replicationMsMax: pick(rng, 0, 5, 100),
    readMsMax: pick(rng, 0, 10, 200),
    storeMsMax: pick(rng, 0, 3, 40),
    driftMax: pick(rng, 0, 1, 100),
    limits: drawLimits(rng),
    appendFaults: drawAppendFaults(rng),
    peerFaults: drawPeerFaults(rng),
    meanMs: drawMeans(rng),
    faultMsMax: pick(rng, 300, 2000, 6000),
    leaderPercent: 50,
    damage: rng.integer(0, 15) === 0 ? oneOf(rng, DAMAGES) : undefined,
    stuckPerMille: 0,
    // Drawn last: the mixes of earlier versions stay those of their seeds.
    autoCompaction: drawAutoCompaction(rng),
  };
}
