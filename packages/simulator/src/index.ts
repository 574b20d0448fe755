export { Audit } from './audit.ts';
export {
  type CalledOperation,
  HistoryWriter,
  type OpenOperation,
  parseHistory,
  readHistory,
  writeHistory,
} from './checkers/history-file.ts';
export { checkLinearizable } from './checkers/linearizable.ts';
export { checkOutcomes } from './checkers/outcomes.ts';
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
export { ReplicaChecker } from './checkers/replicas.ts';
export { checkWatch } from './checkers/watches.ts';
export type { Found, Op, OpRecord, Outcome, SeenEvent, WatchRecord } from './history.ts';
export { History } from './history.ts';
export { simulate } from './main.ts';
export { type Alarm, SimMember, sha256, shardUidOf } from './member.ts';
export type { Plant } from './plant.ts';
export { type RunOptions, type RunResult, runSeed } from './run-seed.ts';
export { drawSwarm, type Swarm } from './swarm.ts';
export { type Change, Truth, type Version } from './truth.ts';
export { type Stream, World, type WorldOptions } from './world.ts';
