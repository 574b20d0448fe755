import type { KvError } from '@kvorum/base';

/** What is looked at of a member. */
export interface ObservedMember {
  readonly name: string;
  readonly host: {
    refusal(): KvError | undefined;
    replicas(): readonly ObservedReplica[];
  };
}

interface ObservedReplica {
  readonly shard: string;
  status(): {
    readonly raft: {
      readonly leader: bigint | undefined;
      readonly halted: { readonly reason: string; readonly detail: string } | undefined;
    };
  };
}

const join = (names: Iterable<string>): string => [...names].join(', ');

/** The members of one shard that are halted, with the first one's reason. */
function haltedLines(members: readonly ObservedMember[]): Map<string, string> {
  const found = new Map<string, { readonly names: string[]; readonly why: string }>();
  for (const member of members) {
    for (const replica of member.host.replicas()) {
      const { halted } = replica.status().raft;
      if (halted === undefined) continue;
      const known = found.get(replica.shard);
      if (known === undefined) {
        const why = `${halted.reason}: ${halted.detail}`;
        found.set(replica.shard, { names: [member.name], why });
      } else {
        known.names.push(member.name);
      }
    }
  }
  return new Map(
    [...found].map(([shard, { names, why }]) => [
      shard,
      `shard ${shard} is halted on ${join(names)} (${why})`,
    ]),
  );
}

/** What of a development cluster does not serve and why, a sentence each; empty when all is well. */
export function troubles(members: readonly ObservedMember[]): readonly string[] {
  const halted = haltedLines(members);
  const starting = members.flatMap(({ name, host }) => {
    const why = host.refusal()?.message.replace(/^kv: [^:]*: /, '');
    return why === undefined ? [] : `${name} does not serve yet (${why})`;
  });
  const replicas = members.flatMap(({ host }) => host.replicas());
  const led = new Set<string>();
  for (const replica of replicas) {
    if (replica.status().raft.leader !== undefined) led.add(replica.shard);
  }
  const shards = new Set(replicas.map(({ shard }) => shard));
  const leaderless = [...shards].filter((shard) => !halted.has(shard) && !led.has(shard));
  return [
    ...halted.values(),
    ...starting,
    ...leaderless.map((shard) => `shard ${shard} has no leader`),
  ];
}
