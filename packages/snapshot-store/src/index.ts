export { openDirectoryStore } from './directory-store.ts';
export { openSnapshotStore, type SnapshotStoreSettings } from './open-store.ts';
