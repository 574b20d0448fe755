export type { FencedReason, HaltReport, RaftEffect, Role } from './effect.ts';
export type {
  AcceptedState,
  AppendSettled,
  HardState,
  RaftInput,
  ReadRecord,
  RecordKind,
  UnreadableRecord,
} from './input.ts';
export type { HistoryPoint, RaftMessage } from './message.ts';
export type { PeerStatus, RaftConfig, RaftStatus } from './raft.ts';
