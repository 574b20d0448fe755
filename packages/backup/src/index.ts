export {
  type BackupFile,
  type BackupManifest,
  backupOf,
  formatManifest,
  MANIFEST_FORMAT,
  manifestName,
  parseManifest,
} from './manifest.ts';
export { type Replayed, type ReplayOptions, type ReplayUntil, replayLog } from './replay.ts';
export {
  BUMP_REVISION_DEFAULT,
  type RestoredShard,
  type RestoreOptions,
  type RestoreReport,
  restoreCluster,
  type TargetState,
} from './restore.ts';
export { listBackups, type Progress, type SaveOptions, saveBackup } from './save.ts';
export { type LoadedSnapshot, loadSnapshot } from './scratch.ts';
export {
  decodeSnapshot,
  encodeSnapshot,
  type SnapshotOptions,
  type SnapshotSource,
  stateHash,
} from './snapshot-stream.ts';
export {
  type ClusterMeta,
  openSource,
  type RestoreSource,
  readHeader,
  type SourceShard,
} from './source.ts';
export { type VerifiedFile, type VerifyOptions, verifyBackup } from './verify.ts';
