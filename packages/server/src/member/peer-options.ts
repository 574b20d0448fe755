import { readFileSync } from 'node:fs';
import { formatId, KvError } from '@kvorum/base';
import type { PeerTransportOptions } from '@kvorum/peer-tcp';
import { splitAddress } from '../config/address.ts';
import type { KvdConfig, PeerTlsConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import type { Cluster } from './cluster.ts';
import { systemClock, systemRng } from './system.ts';

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KvError('KV_CONFIG', `peerTls: cannot read ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function readTls(tls: PeerTlsConfig): {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
} {
  return { cert: readPem(tls.certFile), key: readPem(tls.keyFile), ca: readPem(tls.caFile) };
}

/** What the peer transport needs to know of this member and the others. */
export function peerOptions(from: {
  readonly config: KvdConfig;
  readonly cluster: Cluster;
  readonly diskId: string;
  readonly logger: Logger;
}): PeerTransportOptions {
  const { config, cluster, diskId, logger } = from;
  const others = cluster.members.filter((member) => member.id !== cluster.self.id);
  return {
    self: cluster.self.id,
    clusterId: cluster.id,
    diskId,
    listen: splitAddress(config.listenPeer),
    peers: others.map((member) => ({ id: member.id, ...splitAddress(member.peer) })),
    ...(config.peerTls === undefined ? {} : { tls: readTls(config.peerTls) }),
    clock: systemClock,
    rng: systemRng,
    limits: config.limits,
    onWarning: ({ peer, message }) =>
      logger.warn(peer === undefined ? {} : { peer: formatId(peer) }, message),
  };
}
