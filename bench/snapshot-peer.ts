/** One side of a snapshot transfer in a process of its own; see snapshot-rate.ts. */
import { hash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import {
  clusterId,
  concatBytes,
  DEFAULT_LIMITS,
  type LogOffset,
  logOffset,
  type MemberId,
  memberId,
} from '@kvorum/base';
import { encodeMeta, headKey, initialMeta, META_KEY, revisionKey } from '@kvorum/mvcc';
import { openPeerTransport, type TcpPeerTransport } from '@kvorum/peer-tcp';
import type { StateStore, StateStores } from '@kvorum/ports';
import { createPaces, SNAPSHOT_FORM, SnapshotInstall, SnapshotSource } from '@kvorum/replica';
import { systemClock, systemRng } from '@kvorum/server';
import { openLevelStores } from '@kvorum/store-level';
import type { PeerAnswer, PeerRequest, Spent } from './snapshot-peer-messages.ts';
import { benchKey } from './worker/load-spec.ts';

const STORE = 'shard-0';
const SHARD_UID = new Uint8Array(16).fill(7);
const CLUSTER = clusterId(1n);
const LOCALHOST = '127.0.0.1';
const FILL_BATCH_KEYS = 2000;
/** As in the store of a replica: what a head and a revision row hold beside the key and the value. */
const HEAD_BYTES = 39;
const ROW_FIXED_BYTES = 57;
/** Any position will do: no log is read here. */
const OFFSET = logOffset(1_000_000);
const SILENT = (): void => undefined;
const LOGGER = { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT };
/** The rate itself is measured, so nothing holds it back; requests may wait long on a busy machine. */
const LIMITS = {
  ...DEFAULT_LIMITS,
  snapshotBytesPerSecond: Number.MAX_SAFE_INTEGER,
  requestTimeoutMs: 60_000,
};

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  const bytes = parts.length === 1 && first !== undefined ? first : concatBytes(...parts);
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}

/** The rows that a replica holds after one put of each key; the order of the keys is not that of the revisions. */
async function fill(store: StateStore, keys: number, valueBytes: number): Promise<void> {
  const head = systemRng.bytes(HEAD_BYTES);
  const rest = systemRng.bytes(ROW_FIXED_BYTES);
  for (let from = 0; from < keys; from += FILL_BATCH_KEYS) {
    const to = Math.min(from + FILL_BATCH_KEYS, keys);
    const values = systemRng.bytes((to - from) * valueBytes);
    await store.write(
      (batch) => {
        for (let i = from; i < to; i += 1) {
          const key = benchKey((i * 7919) % keys);
          const value = values.subarray((i - from) * valueBytes, (i - from + 1) * valueBytes);
          batch.put(headKey(key), head);
          batch.put(revisionKey(i + 1, 0), concatBytes(rest, key, value));
        }
      },
      { sync: false },
    );
  }
  const meta = { ...initialMeta(), offset: OFFSET, lastOffset: OFFSET };
  await store.write((batch) => batch.put(META_KEY, encodeMeta(meta)), { sync: true });
}

/** What source and receiver have in common. */
const OPTIONS = {
  shardUid: SHARD_UID,
  generation: 0,
  clock: systemClock,
  rng: systemRng,
  limits: LIMITS,
  sha256,
  logger: LOGGER,
};

class SnapshotPeer {
  readonly #self: MemberId;
  readonly #stores: StateStores;
  readonly #transport: TcpPeerTransport;
  #store: StateStore | undefined;
  #source: SnapshotSource | undefined;

  private constructor(self: MemberId, directory: string, transport: TcpPeerTransport) {
    this.#self = self;
    this.#stores = openLevelStores({ directory });
    this.#transport = transport;
    transport.onRequest(async (from, payload) => this.#source?.answer(from, payload));
  }

  static async open(self: MemberId, directory: string): Promise<SnapshotPeer> {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    const transport = await openPeerTransport({
      self,
      clusterId: CLUSTER,
      diskId: self.toString(16).padStart(32, '0'),
      listen: { host: LOCALHOST, port: 0 },
      peers: [],
      clock: systemClock,
      rng: systemRng,
      limits: LIMITS,
    });
    return new SnapshotPeer(self, directory, transport);
  }

  get port(): number {
    return this.#transport.address.port;
  }

  async fill(keys: number, valueBytes: number): Promise<void> {
    const store = await this.#stores.open(STORE);
    await fill(store, keys, valueBytes);
    this.#store = store;
    this.#source = new SnapshotSource({
      options: OPTIONS,
      follows: () => true,
      isBegun: () => true,
      acceptedOffset: () => OFFSET,
      image: async () => {
        const { image, view } = await store.image();
        await view.close();
        return { image, meta: { ...initialMeta(), offset: OFFSET } };
      },
      pinned: SILENT,
    });
  }

  /** Takes the whole copy and throws it away: what the source alone can give. */
  async drain(): Promise<number> {
    const source = this.#source;
    const begin = {
      kind: 'snapshot-begin',
      form: SNAPSHOT_FORM,
      shardUid: SHARD_UID,
      generation: 0,
      start: 0,
    };
    const begun = await source?.answer(this.#self, begin);
    if (begun?.kind !== 'snapshot') throw new Error(`no snapshot but ${begun?.kind}`);
    let bytes = 0;
    for (let seq = 0; ; seq += 1) {
      const chunk = await source?.answer(this.#self, { kind: 'snapshot-chunk', id: begun.id, seq });
      if (chunk?.kind !== 'chunk') throw new Error(`no chunk but ${chunk?.kind}`);
      bytes += chunk.bytes.length;
      if (chunk.done) break;
    }
    await source?.answer(this.#self, { kind: 'snapshot-end', id: begun.id });
    return bytes;
  }

  /** From nothing to an open, synced store that holds everything; returns the bytes that came. */
  async install(from: { readonly member: MemberId; readonly port: number }): Promise<number> {
    this.#transport.setPeers([{ id: from.member, host: LOCALHOST, port: from.port }]);
    await this.#stores.remove(STORE);
    const start: LogOffset = logOffset(1);
    const install = new SnapshotInstall({
      options: {
        ...OPTIONS,
        paces: createPaces(),
        place: {
          open: () => this.#stores.open(STORE),
          openSide: () => this.#stores.openSide(STORE),
          receiveSide: (layout, note) => this.#stores.receiveSide(STORE, layout, note),
          resumeSide: () => this.#stores.resumeSide(STORE),
          adoptSide: () => this.#stores.adoptSide(STORE),
          removeSide: () => this.#stores.removeSide(STORE),
        },
        transport: {
          send: SILENT,
          request: (to, payload, options) => this.#transport.request(to, payload, options),
        },
      },
      candidates: () => (this.#transport.isReachable(from.member) ? [from.member] : []),
      start: () => start,
      lost: SILENT,
    });
    if (!(await install.run())) throw new Error('the install was stopped');
    await this.#stores.adoptSide(STORE);
    const store = await this.#stores.open(STORE);
    await store.sync();
    await store.close();
    return install.status.receivedBytes;
  }

  async connect(from: { readonly member: MemberId; readonly port: number }): Promise<void> {
    this.#transport.setPeers([{ id: from.member, host: LOCALHOST, port: from.port }]);
    while (!this.#transport.isReachable(from.member)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async close(): Promise<void> {
    this.#source?.stop();
    await this.#transport.close();
    await this.#store?.close();
    await this.#stores.close();
  }
}

async function spent(work: () => Promise<number>): Promise<Spent> {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  const bytes = await work();
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - startedAt) / 1000;
  return { seconds, bytes, cpuSeconds: (user + system) / 1e6 };
}

let peer: SnapshotPeer | undefined;

async function answer(request: PeerRequest): Promise<PeerAnswer> {
  if (request.kind === 'open') {
    peer = await SnapshotPeer.open(memberId(BigInt(request.member)), request.directory);
    return { kind: 'opened', port: peer.port };
  }
  const opened = peer;
  if (opened === undefined) throw new Error('the process was asked before it was opened');
  switch (request.kind) {
    case 'fill':
      await opened.fill(request.keys, request.valueBytes);
      return { kind: 'done' };
    case 'drain':
      return { kind: 'spent', spent: await spent(() => opened.drain()) };
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return { kind: 'cpu', seconds: (user + system) / 1e6 };
    }
    case 'install': {
      const from = { member: memberId(BigInt(request.from)), port: request.port };
      await opened.connect(from);
      return { kind: 'spent', spent: await spent(() => opened.install(from)) };
    }
    case 'close':
      await opened.close();
      return { kind: 'done' };
  }
}

process.on('message', (request: PeerRequest) => {
  answer(request).then(
    (message) => process.send?.(message),
    (error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.send?.({ kind: 'failed', message: text } satisfies PeerAnswer);
    },
  );
});
process.on('disconnect', () => process.exit(0));
