export { emptyAcceptedState, enterGeneration, HASH_BYTES, ZERO_HASH } from './accepted-state.ts';
export type { Membership } from './conf-change.ts';
export { changedVoterCount, decodeMembership, encodeMembership } from './conf-change.ts';
export type { RaftConfig } from './core.ts';
export type { FencedReason, HaltReport, RaftEffect, Role } from './effect.ts';
export type { FilterContext, Judgement } from './filter.ts';
export { judge } from './filter.ts';
export { decodeGenesis, encodeGenesis, type Genesis } from './genesis.ts';
export { HALT_REASONS, type HaltReason, isHaltReason } from './halt-reason.ts';
export type {
  AcceptedState,
  AppendSettled,
  HardState,
  RaftInput,
  ReadRecord,
  RecordKind,
  UnreadableRecord,
} from './input.ts';
export { LOG_BEGIN, type LogPosition, LogReading, type LogVerdict } from './log-reading.ts';
export type { MemberCondition, MembershipStep, MembershipStepInput } from './membership-step.ts';
export { nextMembershipStep } from './membership-step.ts';
export type { HistoryPoint, RaftMessage } from './message.ts';
export { parseRaftMessage } from './parse-message.ts';
export { isQuorum, quorumSize } from './quorum.ts';
export { Raft } from './raft.ts';
export type { PeerStatus, RaftStatus } from './status.ts';
export { type TruncationFloor, truncationFloor } from './truncation-floor.ts';
