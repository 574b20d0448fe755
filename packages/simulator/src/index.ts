export { Audit } from './audit.ts';
export { checkFile } from './check-main.ts';
export {
  type CheckOptions,
  type CheckReport,
  checkHistory,
  type Verdict,
} from './checkers/check-history.ts';
export type { CheckerName, Finding, Rule } from './checkers/finding.ts';
export { recordSimulation } from './checkers/from-simulation.ts';
export {
  type CalledOperation,
  HistoryWriter,
  type OpenOperation,
  parseHistory,
  readHistory,
  writeHistory,
} from './checkers/history-file.ts';
export type { LogPosition } from './checkers/log-replay.ts';
export {
  collectHistory,
  HISTORY_VERSION,
  type HistoryHeader,
  type HistoryLine,
  type RecordedEvent,
  type RecordedEvents,
  type RecordedHistory,
  type RecordedKeyValue,
  type RecordedLogRecord,
  type RecordedNote,
  type RecordedOperation,
  type RecordedResponse,
  type RecordedResult,
  type RecordedWatch,
  type RecordedWatchEnd,
} from './checkers/recorded-history.ts';
export { renderTimeline } from './checkers/timeline.ts';
export { damageLog } from './fault-actions.ts';
export type { Found, Op, OpRecord, Outcome, SeenEvent, WatchRecord } from './history.ts';
export { History } from './history.ts';
export { checkDamaged } from './invariants/damage.ts';
export { DiskChecker } from './invariants/disks.ts';
export { checkFencing, checkOwnership, checkPast } from './invariants/final.ts';
export { LagChecker } from './invariants/learner-lag.ts';
export { MoveChecker, type MoveCheckerParts } from './invariants/moves.ts';
export {
  INVARIANTS,
  type InvariantName,
  type Problem,
  Problems,
} from './invariants/names.ts';
export { checkOutcomes } from './invariants/outcomes.ts';
export { checkRecovered, stateOf } from './invariants/recovered.ts';
export { ReplicaChecker } from './invariants/replicas.ts';
export { checkLinearizable } from './invariants/revision-order.ts';
export { TruncationChecker } from './invariants/truncations.ts';
export { VoteChecker } from './invariants/votes.ts';
export { checkWatch } from './invariants/watches.ts';
export { LeaseService } from './leases/lease-service.ts';
export { simulate } from './main.ts';
export { type Alarm, SimMember, shardUidOf } from './member.ts';
export { firstMapOf, fixedMapOf, slotSpace, spanOfGroup } from './moves/slot-groups.ts';
export { parseOptions, type SimCommand } from './options.ts';
export type { Plant } from './plant.ts';
export { type RunOptions, type RunResult, runSeed } from './run-seed.ts';
export { sha256 } from './sha256.ts';
export { type Action, type Damage, drawSwarm, QUIET, type Swarm } from './swarm.ts';
export { type Change, Truth, type Version } from './truth.ts';
export { SimWatcher } from './watchers.ts';
export { type Stream, World, type WorldOptions } from './world.ts';
