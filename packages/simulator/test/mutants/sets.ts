import { QUIET, type Swarm } from '@kvorum/simulator';

const CALM: Swarm['appendFaults'] = {
  refused: 0,
  lost: 0,
  'answer-lost': 0,
  duplicate: 0,
  late: 0,
  stray: 0,
  slow: 0,
  delayMsMax: 500,
};

/** Nothing goes wrong but what a set adds; small and fast. Everybody votes, no slots move and nobody holds a lease. */
function base({ movesMeanMs: _, voters: __, leaseHolders: ___, ...swarm }: Swarm): Swarm {
  return {
    ...swarm,
    members: 3,
    shards: 1,
    clients: 4,
    watchers: 1,
    keys: 3,
    safetyMs: 8000,
    appendMsMax: 10,
    replicationMsMax: 0,
    readMsMax: 10,
    storeMsMax: 0,
    driftMax: 0,
    limits: {},
    appendFaults: CALM,
    peerFaults: { ...swarm.peerFaults, delayMsMax: 20, lossPerMille: 0, duplicationPerMille: 0 },
    meanMs: QUIET,
    faultMsMax: 3000,
    damage: undefined,
    stuckPerMille: 0,
  };
}

type SwarmSet = (swarm: Swarm) => Swarm;

/** Appends whose outcome is unknown, and failovers in between. */
export const doubtfulAppends: SwarmSet = (swarm) => ({
  ...base(swarm),
  appendFaults: { ...CALM, lost: 40, 'answer-lost': 100, duplicate: 60, late: 80, stray: 60 },
  meanMs: { ...QUIET, kill: 4000, transfer: 2000 },
});

/** Leaders whose appends are still under way when others take over. */
export const deposedWriters: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  appendFaults: { ...CALM, late: 100, stray: 100, slow: 300, delayMsMax: 3000 },
  meanMs: { ...QUIET, isolate: 2000, pause: 3000, transfer: 1500 },
  faultMsMax: 4000,
});

/** Leadership moves all the time, by hand and because links hang. */
export const restlessLeaders: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  peerFaults: { ...swarm.peerFaults, delayMsMax: 300, lossPerMille: 0, duplicationPerMille: 0 },
  meanMs: { ...QUIET, transfer: 500, swizzle: 2000, cut: 2000 },
  faultMsMax: 4000,
});

/** The connections of a leader hang, about as long as it takes to elect another one. */
export const hangingLeaders: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  meanMs: { ...QUIET, hang: 2500 },
  faultMsMax: 2200,
  leaderPercent: 95,
});

/** Leaders are cut off from the others again and again. */
export const lonelyLeaders: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  faultMsMax: 6000,
  meanMs: { ...QUIET, isolate: 1500, swizzle: 3000 },
  leaderPercent: 90,
});

/** Machines die and lose what they had not synced. */
export const dyingMachines: SwarmSet = (swarm) => ({
  ...base(swarm),
  storeMsMax: 10,
  meanMs: { ...QUIET, 'machine-crash': 1000, 'kill-at-effect': 1500, transfer: 3000 },
  faultMsMax: 500,
});

/** Elections without end, over links that double everything. */
export const manyElections: SwarmSet = (swarm) => ({
  ...base(swarm),
  members: 5,
  peerFaults: { ...swarm.peerFaults, delayMsMax: 300, lossPerMille: 100, duplicationPerMille: 300 },
  meanMs: { ...QUIET, kill: 700, isolate: 1500, cut: 1500 },
  faultMsMax: 3000,
});

/** Disks are replaced by empty ones while leadership moves. */
export const lostDisks: SwarmSet = (swarm) => ({
  ...base(swarm),
  appendMsMax: 200,
  meanMs: { ...QUIET, 'disk-wiped': 800, cut: 1500, transfer: 2500 },
  faultMsMax: 300,
});

/** Followers that see the log late. */
export const lateFollowers: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  readMsMax: 200,
  replicationMsMax: 100,
  meanMs: { ...QUIET, 'stale-broker': 2500, 'partition-leader': 3000, transfer: 4000 },
});

/** Machines that are suspended, their clocks with them, while others take over. */
export const sleepingLeaders: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  meanMs: { ...QUIET, suspend: 2500, pause: 4000 },
  faultMsMax: 6000,
  leaderPercent: 95,
});

/** One session table, and reasons to ask again. */
export const retries: SwarmSet = (swarm) => ({
  ...base(swarm),
  appendFaults: { ...CALM, 'answer-lost': 100 },
  meanMs: { ...QUIET, kill: 1500 },
});

/** The log breaks its promises. */
export const brokenLog =
  (damage: Swarm['damage']): SwarmSet =>
  (swarm) => ({ ...base(swarm), meanMs: { ...QUIET, kill: 3000, pause: 4000 }, damage });

/** Nothing goes wrong at all. */
export const fairWeather: SwarmSet = base;

/** The log is truncated at once behind what the disks hold, and members come back without their disks. */
export const shortLogs: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  storeMsMax: 3,
  limits: {
    durableMs: 300,
    truncateMs: 100,
    truncateSlackRecords: 0,
    truncateSlackBytes: 0,
    truncateSlackMs: 0,
    snapshotChunkBytes: 300,
    snapshotBytesPerSecond: 100_000,
    snapshotIdleMs: 1000,
  },
  meanMs: { ...QUIET, 'disk-wiped': 3000, 'given-up': 4000, transfer: 2500, 'machine-crash': 6000 },
  faultMsMax: 1500,
});

/** The map wants other voters all the time, and leaders die over it. */
export const changingMembers: SwarmSet = (swarm) => ({
  ...base(swarm),
  members: 5,
  voters: 3,
  meanMs: { ...QUIET, membership: 1200, kill: 4000, transfer: 4000 },
  faultMsMax: 1500,
});

/** Members lose their disks, or the files of one replica, and come back under new ids. */
export const replacedMembers: SwarmSet = (swarm) => ({
  ...base(swarm),
  members: 3,
  voters: 3,
  meanMs: { ...QUIET, 'files-deleted': 1500, transfer: 1500 },
  faultMsMax: 1500,
});

/** Learners that see the log late, and may be a few records behind only. */
export const lateLearners: SwarmSet = (swarm) => ({
  ...changingMembers(swarm),
  clients: 5,
  readMsMax: 200,
  limits: { learnerLagRecordsMax: 1, logReadBytesMax: 300 },
  meanMs: { ...QUIET, membership: 2000, 'member-replaced': 3000 },
});

/** Slots move all the time, orders are taken back, and leaders die over it. */
export const movingSlots: SwarmSet = (swarm) => ({
  ...base(swarm),
  shards: 3,
  watchers: 4,
  storeMsMax: 3,
  movesMeanMs: 400,
  limits: { slotHandOverMsMax: 800 },
  appendFaults: { ...CALM, 'answer-lost': 30 },
  meanMs: { ...QUIET, kill: 3000, transfer: 3000 },
  faultMsMax: 1500,
});

/** Slots go to and fro between two shards, as fast as they can, while requests are stuck on their way. */
export const restlessSlots: SwarmSet = (swarm) => ({
  ...movingSlots(swarm),
  shards: 2,
  clients: 5,
  safetyMs: 12_000,
  movesMeanMs: 150,
  stuckPerMille: 60,
  meanMs: QUIET,
});

/** A source's leader that is new compacts at once, and those who copy stand still now and then. */
export const overtakenCopies: SwarmSet = (swarm) => ({
  ...movingSlots(swarm),
  shards: 2,
  clients: 5,
  keys: 8,
  safetyMs: 14_000,
  appendMsMax: 200,
  movesMeanMs: 2500,
  autoCompaction: { mode: 'revision', retention: 1 },
  limits: { slotHandOverMsMax: 250 },
  appendFaults: CALM,
  meanMs: { ...QUIET, transfer: 700, pause: 2500 },
  leaderPercent: 90,
});

/** Slots come and go, and histories are compacted, while a follower stands still. */
export const standingFollowers: SwarmSet = (swarm) => ({
  ...movingSlots(swarm),
  shards: 2,
  safetyMs: 14_000,
  movesMeanMs: 1500,
  autoCompaction: { mode: 'revision', retention: 2 },
  limits: { slotHandOverMsMax: 5000 },
  appendFaults: CALM,
  meanMs: { ...QUIET, pause: 1500 },
  faultMsMax: 6000,
  leaderPercent: 0,
});

/** The log loses its end, and when the shard is recovered its replicas hold more or less of it. */
export const contestedRecovery: SwarmSet = (swarm) => ({
  ...base(swarm),
  clients: 5,
  readMsMax: 200,
  replicationMsMax: 100,
  meanMs: { ...QUIET, 'stale-broker': 3000, kill: 3000, pause: 4000 },
  damage: 'tail-rewritten',
});

/** Leases with keys in several shards, whose leaders change. */
export const heldLeases: SwarmSet = (swarm) => ({
  ...base(swarm),
  shards: 3,
  clients: 1,
  leaseHolders: 4,
  safetyMs: 12_000,
  meanMs: { ...QUIET, kill: 4000, transfer: 2000 },
});

/** The same while slots move. */
export const heldLeasesOnMovingSlots: SwarmSet = (swarm) => ({
  ...heldLeases(swarm),
  movesMeanMs: 700,
  meanMs: { ...QUIET, transfer: 4000 },
});
