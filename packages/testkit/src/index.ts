export {
  describePeerMessagesContract,
  describePeerTransportContract,
  type PeerMessagesFixture,
  type PeerTransportFixture,
} from './contract/peer-transport.ts';
export { describeSharedLogContract, type SharedLogFixture } from './contract/shared-log.ts';
export {
  describeSnapshotStoreContract,
  type SnapshotStoreFixture,
} from './contract/snapshot-store.ts';
export { describeStateStoreContract, type StateStoreFixture } from './contract/state-store.ts';
export { type DataDrivenCommand, runDataDriven } from './datadriven.ts';
export {
  MemoryPeerNetwork,
  type MemoryPeerNetworkOptions,
  type PeerLinkFaults,
} from './memory-peer-network.ts';
export {
  type AppendFault,
  type AppendFaultRates,
  MemoryLogBroker,
  type MemoryLogBrokerOptions,
} from './memory-shared-log.ts';
export { memorySnapshotStore } from './memory-snapshot-store.ts';
export {
  type MemoryStateStores,
  type MemoryStateStoresOptions,
  memoryStateStores,
} from './memory-state-store.ts';
export { seededRng } from './seeded-rng.ts';
export { VirtualClock } from './virtual-clock.ts';
