import { KvError } from '@kvorum/base';
import type { StateStore } from '@kvorum/ports';
import type { AcceptedState } from '@kvorum/raft';
import type { SnapshotHeader, SnapshotTrailer } from '@kvorum/wire';
import { decodeSnapshot } from './snapshot-stream.ts';

const NO_SYNC = { sync: false };

export interface LoadedSnapshot {
  readonly header: SnapshotHeader;
  readonly trailer: SnapshotTrailer;
}

/**
 * Puts the rows of a copy into an empty store, whose position row then says where the copy stands.
 *
 * Errors: KV_CORRUPT when the copy is damaged; the store is worthless then.
 */
export async function loadSnapshot(
  store: StateStore,
  content: AsyncIterable<Uint8Array>,
  loaded: (bytes: number) => void = () => undefined,
): Promise<LoadedSnapshot> {
  let header: SnapshotHeader | undefined;
  let trailer: SnapshotTrailer | undefined;
  let bytes = 0;
  for await (const part of decodeSnapshot(content)) {
    if (part.kind === 'header') header = part.header;
    if (part.kind === 'trailer') trailer = part.trailer;
    if (part.kind !== 'rows') continue;
    await store.write((batch) => {
      for (const [key, value] of part.rows) batch.put(key, value);
    }, NO_SYNC);
    bytes += part.rows.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    loaded(bytes);
  }
  // The decoder lets nothing end without both.
  if (header === undefined || trailer === undefined) throw new KvError('KV_CORRUPT', 'no snapshot');
  return { header, trailer };
}

/** The position of a copy as the acceptance filter knows it. */
export function acceptedOf(header: SnapshotHeader): AcceptedState {
  const { leaderId, ...position } = header.position;
  const { generation } = header;
  return { ...position, generation, leaderId: leaderId as AcceptedState['leaderId'] };
}
