import { readFileSync } from 'node:fs';
import { formatId, KvError } from '@kvorum/base';
import type { PeerAddress, PeerMetrics, PeerTls, PeerTransportOptions } from '@kvorum/peer-tcp';
import { splitAddress } from '../config/address.ts';
import type { KvdConfig, PeerTlsConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import type { Cluster } from './cluster.ts';
import { systemClock, systemRng } from './system.ts';

/** The text of a file that a setting names. Errors: KV_CONFIG. */
export function readPem(setting: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KvError('KV_CONFIG', `${setting}: cannot read ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function readTls(tls: PeerTlsConfig): PeerTls {
  const read = (path: string): string => readPem('peerTls', path);
  return { cert: read(tls.certFile), key: read(tls.keyFile), ca: read(tls.caFile) };
}

/** The members' TLS as configured, read from its files. Errors: KV_CONFIG. */
export function peerTls(config: KvdConfig): PeerTls | undefined {
  return config.peerTls === undefined ? undefined : readTls(config.peerTls);
}

/** Where the others of a cluster are. */
export function peerAddresses(cluster: Cluster): readonly PeerAddress[] {
  return cluster.members
    .filter((member) => member.id !== cluster.self.id)
    .map((member) => ({ id: member.id, ...splitAddress(member.peer) }));
}

/** What the peer transport needs to know of this member and the others. */
export function peerOptions(from: {
  readonly config: KvdConfig;
  readonly cluster: Cluster;
  readonly diskId: string;
  readonly admit: NonNullable<PeerTransportOptions['admit']>;
  readonly metrics: PeerMetrics;
  readonly logger: Logger;
}): PeerTransportOptions {
  const { config, cluster, diskId, admit, metrics, logger } = from;
  const tls = peerTls(config);
  return {
    self: cluster.self.id,
    clusterId: cluster.id,
    diskId,
    listen: splitAddress(config.listenPeer),
    peers: peerAddresses(cluster),
    admit,
    ...(tls === undefined ? {} : { tls }),
    clock: systemClock,
    rng: systemRng,
    limits: config.limits,
    metrics,
    onWarning: ({ peer, message }) =>
      logger.warn(peer === undefined ? {} : { peer: formatId(peer) }, message),
  };
}
