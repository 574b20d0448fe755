import {
  type ClusterId,
  clusterId,
  err,
  isShardId,
  type MemberId,
  memberId,
  ok,
  type Result,
  type ShardId,
} from '@kvorum/base';
import { plainPackr, unpackPlain } from './plain-msgpack.ts';

/**
 * Frames on the topics `raft-vote` and `raft-leader`: what one member says to others in one turn of the event loop, as one msgpack
 * array `[version, cluster, from, boot, leaving, to, messages]`, `to` = `[[member, boot or null], …]` and `messages` =
 * `[[places in to], shard, payload], …`. A version that is not known is not read: a lost message harms nobody.
 */
export const ELECTION_FRAME_VERSION = 1;

/** A member as one process of it: every start has a boot id of its own. */
export interface Addressee {
  readonly member: MemberId;
  /** The process meant: the newest that the sender has heard; undefined before it heard any. */
  readonly boot: string | undefined;
}

export interface AddressedMessage {
  readonly to: readonly MemberId[];
  readonly shard: ShardId;
  readonly payload: unknown;
}

export interface ElectionFrame {
  readonly cluster: ClusterId;
  readonly from: MemberId;
  /** Of the sender's process, 16 hex digits. */
  readonly boot: string;
  /** The sender's process ends: nothing more comes from it. */
  readonly leaving: boolean;
  /** Every member in some message's `to`, once. */
  readonly addressees: readonly Addressee[];
  readonly messages: readonly AddressedMessage[];
}

export type ElectionFrameError = 'malformed' | 'unknown-version';

const BOOT = /^[0-9a-f]{16}$/;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

export function encodeElectionFrame(frame: ElectionFrame): Uint8Array {
  const places = new Map(frame.addressees.map(({ member }, place) => [member, place]));
  return plainPackr.pack([
    ELECTION_FRAME_VERSION,
    frame.cluster,
    frame.from,
    frame.boot,
    frame.leaving,
    frame.addressees.map(({ member, boot }) => [member, boot ?? null]),
    frame.messages.map(({ to, shard, payload }) => [
      to.flatMap((member) => places.get(member) ?? []),
      shard,
      payload,
    ]),
  ]);
}

const isBoot = (value: unknown): value is string => typeof value === 'string' && BOOT.test(value);

/** msgpackr reads an id below 2^53 as a number when its sender's encoder chose a short form. */
function toId(value: unknown): bigint | undefined {
  const id = Number.isSafeInteger(value) ? BigInt(value as number) : value;
  return typeof id === 'bigint' && id > 0n && id <= U64_MAX ? id : undefined;
}

/** Reads one record of a topic; bytes of any kind. */
export function decodeElectionFrame(bytes: Uint8Array): Result<ElectionFrame, ElectionFrameError> {
  // Of a Buffer msgpackr would make Buffers.
  const items = unpackPlain(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (!Array.isArray(items)) return err('malformed');
  const [version, clusterValue, fromValue, boot, leaving, to, list] = items as readonly unknown[];
  if (version !== ELECTION_FRAME_VERSION) {
    return err(Number.isSafeInteger(version) ? 'unknown-version' : 'malformed');
  }
  const [cluster, from] = [toId(clusterValue), toId(fromValue)];
  if (cluster === undefined || from === undefined) return err('malformed');
  if (!isBoot(boot) || typeof leaving !== 'boolean') return err('malformed');
  const addressees = parseAll(to, parseAddressee);
  if (addressees === undefined) return err('malformed');
  const messages = parseAll(list, (value) => parseMessage(value, addressees));
  if (messages === undefined) return err('malformed');
  return ok({
    cluster: clusterId(cluster),
    from: memberId(from),
    boot,
    leaving,
    addressees,
    messages,
  });
}

function parseAll<T>(
  values: unknown,
  parse: (value: unknown) => T | undefined,
): readonly T[] | undefined {
  if (!Array.isArray(values)) return undefined;
  const parsed: T[] = [];
  for (const value of values) {
    const one = parse(value);
    if (one === undefined) return undefined;
    parsed.push(one);
  }
  return parsed;
}

function parseAddressee(value: unknown): Addressee | undefined {
  if (!Array.isArray(value)) return undefined;
  const [member, boot] = value as readonly unknown[];
  const id = toId(member);
  if (id === undefined) return undefined;
  if (boot === null) return { member: memberId(id), boot: undefined };
  return isBoot(boot) ? { member: memberId(id), boot } : undefined;
}

function parseMessage(
  value: unknown,
  addressees: readonly Addressee[],
): AddressedMessage | undefined {
  if (!Array.isArray(value)) return undefined;
  const [places, shard, payload] = value as readonly unknown[];
  if (!isShardId(shard)) return undefined;
  const to = parseAll(places, (place) =>
    typeof place === 'number' ? addressees[place]?.member : undefined,
  );
  return to === undefined ? undefined : { to, shard, payload };
}
