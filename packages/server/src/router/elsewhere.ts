import { formatId, isShardId, KvError, type MemberId } from '@kvorum/base';
import { shardEntryOf, slotSpansOf } from '@kvorum/shard';
import { type LogPage, parseLogPage, type ShardInfo } from '@kvorum/wire';
import type { Host } from '../host.ts';
import { type MembershipAccount, parseMemberships } from '../member/memberships.ts';
import { accepted, encodeLogQuestion, encodeMembershipsQuestion } from './forward.ts';
import { votersOf } from './place.ts';

const ASK_MS = 1000;
/** A page waits up to a second for records. */
const LOG_MS = 5000;

/** What only a member with a replica of the shard can answer, asked at another one. Names those that can. */
export function notHere(host: Host, shard: string): KvError {
  const known = isShardId(shard) && shardEntryOf(host.map(), shard) !== undefined;
  if (!known) return new KvError('KV_NOT_FOUND', `no shard ${shard}`, { details: { shard } });
  const ids = host.holders(shard).map(formatId);
  const members = ids.map((id) => host.members.find((one) => one.id === id)?.name ?? id);
  const text = `member ${host.name} has no replica of shard ${shard}`;
  const urls = ids.flatMap((id) => host.members.find((one) => one.id === id)?.clientUrls ?? []);
  const hint = `ask ${members.join(', ')} (${urls.join(', ')})`;
  return new KvError('KV_NOT_FOUND', text, { details: { shard, hint } });
}

async function ask(host: Host, member: MemberId, params: unknown): Promise<LogPage> {
  const page = parseLogPage(accepted(await host.ask(member, encodeLogQuestion(params), LOG_MS)));
  if (!page.ok) throw page.error;
  return page.value;
}

/** A page of the log of a shard that is not here, from the first member that has it. Errors: KV_NOT_FOUND, those of the page. */
export async function logPageElsewhere(
  host: Host,
  shard: string,
  params: unknown,
): Promise<LogPage> {
  let failure = notHere(host, shard);
  for (const member of host.holders(shard)) {
    try {
      return await ask(host, member, params);
    } catch (error) {
      if (error instanceof KvError) failure = error;
    }
  }
  throw failure;
}

/** What the leader of each shard that is not here says of it; what nobody says is left at 0. */
export async function shardsElsewhere(host: Host): Promise<readonly ShardInfo[]> {
  const map = host.map();
  const foreign = map.shards.filter(({ id }) => host.replica(id) === undefined);
  if (foreign.length === 0) return [];
  const asked = new Set(foreign.flatMap(({ id }) => host.holders(id)));
  const answers = await Promise.allSettled(
    [...asked].map((member) => host.ask(member, encodeMembershipsQuestion(), ASK_MS)),
  );
  const accounts = answers.flatMap((one) =>
    one.status === 'fulfilled' ? parseMemberships(one.value) : [],
  );
  const leaders = host.leaders();
  return foreign.map(({ id }): ShardInfo => {
    const told: MembershipAccount | undefined =
      accounts.find(({ shard, leads }) => shard === id && leads) ??
      accounts.find(({ shard }) => shard === id);
    const leader = told?.leader ?? leaders[id];
    return {
      shard: id,
      slots: slotSpansOf(map, id),
      voters: votersOf(map, id),
      ...(leader === undefined ? {} : { leader }),
      term: told?.term ?? 0,
      revision: told?.revision ?? 0,
    };
  });
}
