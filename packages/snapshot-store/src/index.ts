export { openDirectoryStore } from './directory-store.ts';
export { makeDirectory } from './make-directory.ts';
export { openSnapshotStore, type SnapshotStoreSettings } from './open-store.ts';
