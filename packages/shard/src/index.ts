export { crc16 } from './crc16.ts';
export { type InitialShardMapOptions, initialShardMap } from './initial-shard-map.ts';
export {
  type LeaderLoadInput,
  LeaderLoadPlanner,
  type LeaderPreference,
  preferLeaders,
  relievingPreferences,
  type ShardLoads,
} from './leader-load.ts';
export {
  type LeadershipTransfer,
  leadershipTransfers,
  leaderTargets,
  type PlacementInput,
} from './leader-placement.ts';
export {
  changeMembers,
  knownMember,
  type MemberChange,
  memberNamed,
  moveReplica,
  previewQuorums,
  type QuorumPreview,
  registerDisk,
  wrongDisk,
} from './member-changes.ts';
export {
  type MovePlan,
  type NewUid,
  planMerge,
  planRebalance,
  planScale,
  planSplit,
} from './move-plan.ts';
export { recoverShard } from './recover-shard.ts';
export { placeReplicas, replicaCount } from './replica-placement.ts';
export { crossShardRange, type Route, routeRequest } from './route-request.ts';
export { type RoutingRule, routingPart, SLOT_COUNT, slotOf } from './routing-part.ts';
export {
  type GenesisEntry,
  type MemberEntry,
  type MemberState,
  type MovePhase,
  parseShardMap,
  SHARD_MAP_KEY,
  type ShardEntry,
  type ShardMap,
  type SlotMove,
  type SlotRange,
} from './shard-map.ts';
export {
  shardOfKey,
  shardOfSlot,
  shardsOfRange,
  shardsWithSlots,
  slotOfRange,
} from './shards-of-range.ts';
export { addFigures, NO_FIGURES, type SlotFigures, SlotLoad, type SlotSize } from './slot-load.ts';
export {
  abortMove,
  beginMoves,
  finishMove,
  isLeftOver,
  LEASE_HOME,
  movesOf,
  nextShardIds,
  type PlannedMove,
  retireShard,
  retryMove,
  type SlotSpan,
  slotSpansOf,
  switchMove,
} from './slot-moves.ts';
export { type SlotWeight, slotWeights } from './slot-weights.ts';
export { initialVotersOf, keepInitialVoters, shardEntryOf } from './voters.ts';
export {
  nameOfPlace,
  ownersOfSlots,
  piecesOfRange,
  placesOfWatch,
  type ShardSlots,
  type WatchPlace,
} from './watch-places.ts';
