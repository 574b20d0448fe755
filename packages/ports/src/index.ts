export type { Clock } from './clock.ts';
export type { PeerEnvelope, PeerMessages, PeerTransport, RequestSignal } from './peer-transport.ts';
export type { Rng } from './rng.ts';
export type {
  AppendOutcome,
  LogBounds,
  LogEntry,
  LogName,
  LogSpec,
  ReadOutcome,
  SharedLog,
  SharedLogs,
} from './shared-log.ts';
export type { SnapshotInfo, SnapshotStore } from './snapshot-store.ts';
export type {
  ReadView,
  ScanOptions,
  SideImage,
  StateReader,
  StateStore,
  StateStores,
  StoreBatch,
  StoreImage,
  StoreRange,
  StoreRow,
} from './state-store.ts';
