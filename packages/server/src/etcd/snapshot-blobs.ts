import { createHash } from 'node:crypto';
import { encodeSnapshot, type SnapshotOptions } from '@kvorum/backup';
import { clusterId } from '@kvorum/base';
import type { SnapshotView } from '@kvorum/replica';
import type { Host } from '../host.ts';

const BLOB_BYTES = 32 * 1024;
/** etcdctl takes a file for whole when its size is a multiple of this and the checksum behind it. */
const PAGE_BYTES = 512;

/** A piece of the stream; `remaining` does not count the checksum. */
export interface SnapshotBlob {
  readonly blob: Uint8Array;
  readonly remaining: number;
}

/**
 * Copies of shards as etcd's snapshot stream: our snapshot files (wire/snapshot-file.ts) one behind the other, zeros up to a whole page,
 * and the SHA-256 of all that. The rows of a view do not change, so that the size is found by encoding it twice: nothing has to be held.
 */
export async function* snapshotBlobs(
  host: Pick<Host, 'clock' | 'clusterId'>,
  views: readonly SnapshotView[],
): AsyncGenerator<SnapshotBlob, void, undefined> {
  const options = {
    clusterId: clusterId(BigInt(`0x${host.clusterId}`)),
    createdAtMs: host.clock.wallMs(),
    withStateHash: false,
  };
  let size = 0;
  for await (const bytes of encoded(views, options)) size += bytes.length;
  const padding = (PAGE_BYTES - (size % PAGE_BYTES)) % PAGE_BYTES;
  const hash = createHash('sha256');
  let remaining = size + padding;
  for await (const blob of blobsOf(encoded(views, options), padding)) {
    hash.update(blob);
    remaining -= blob.length;
    yield { blob, remaining };
  }
  yield { blob: new Uint8Array(hash.digest()), remaining: 0 };
}

async function* encoded(
  views: readonly SnapshotView[],
  options: SnapshotOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const view of views) yield* encodeSnapshot(view, options);
}

/** The bytes in pieces of one size, the last one smaller. */
async function* blobsOf(
  source: AsyncIterable<Uint8Array>,
  padding: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let blob = new Uint8Array(BLOB_BYTES);
  let filled = 0;
  async function* padded(): AsyncGenerator<Uint8Array, void, undefined> {
    yield* source;
    yield new Uint8Array(padding);
  }
  for await (const bytes of padded()) {
    for (let from = 0; from < bytes.length; ) {
      const part = bytes.subarray(from, from + BLOB_BYTES - filled);
      blob.set(part, filled);
      filled += part.length;
      from += part.length;
      if (filled < BLOB_BYTES) continue;
      yield blob;
      blob = new Uint8Array(BLOB_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield blob.subarray(0, filled);
}
