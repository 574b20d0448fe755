import { isShardId, KvError, META_SHARD, type MemberId, type ShardId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import { quorumSize } from '@kvorum/raft';
import {
  chooseReplica,
  lossesBy,
  parseRecoveryReport,
  RECOVERY_QUESTION,
  type Recoverable,
  type RecoveryReport,
} from '@kvorum/replica';
import {
  knownMember,
  type MemberEntry,
  recoverShard,
  type ShardEntry,
  type ShardMap,
  shardEntryOf,
} from '@kvorum/shard';
import {
  errorFromPlain,
  type RecoverParams,
  type RecoveryReplica,
  type RecoveryView,
} from '@kvorum/wire';
import type { Logger } from '../logger.ts';
import { encodeMetaStep, encodeReplicaRequest } from '../router/forward.ts';
import { type MetaAccount, type MetaStep, parseMetaAccount } from '../router/meta-steps.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import type { MetaGroup } from './meta-group.ts';
import type { ReplicaSet } from './replica-set.ts';

/** The question reads a whole replica for its digest. */
const ASK_TIMEOUT_MS = 30_000;
/** Over every revision that any known replica has shown; what an unknown one may have shown lies within it. */
const REVISION_BUMP = 1_000_000_000;
const HASH_DIGITS = 16;

export interface ShardRecoveryParts {
  readonly self: MemberId;
  readonly replicas: ReplicaSet;
  readonly peers: Pick<PeerTransport, 'request'>;
  readonly map: () => ShardMap;
  readonly editor: MapEditor;
  readonly metaGroup: Pick<MetaGroup, 'serve'>;
  readonly logger: Logger;
}

type Answer =
  | { readonly member: MemberEntry; readonly report: RecoveryReport }
  | { readonly member: MemberEntry; readonly report?: undefined; readonly error: string };

/**
 * Lets a shard whose log is lost go on: from the state of one replica, in the next generation of the log. The map says which; every
 * member then does its part by itself, also one that was away. Of the meta shard, which holds the map, a majority of its voters says it.
 */
export class ShardRecovery {
  readonly #parts: ShardRecoveryParts;

  constructor(parts: ShardRecoveryParts) {
    this.#parts = parts;
  }

  /** Errors: KV_NOT_FOUND; KV_INVALID_ARGUMENT when it cannot be done, with why; KV_TIMEOUT when the meta group takes no edit. */
  async recover(params: RecoverParams): Promise<RecoveryView> {
    const map = this.#parts.map();
    const entry = await this.#entryOf(map, params.shard);
    const answers = await this.#ask(map, entry);
    const found: Recoverable[] = answers.flatMap(({ member, report }) =>
      report === undefined ? [] : [{ member: member.name, report }],
    );
    const choice = chooseReplica(found, entry.voters.length);
    const from = params.from === undefined ? choice?.member : knownMember(map, params.from).name;
    const chosen = found.find(({ member }) => member === from);
    const silent = answers.filter(({ report }) => report === undefined).length;
    const refused = refusalOf(entry, found, chosen, from) ?? minorityRefusal(entry, silent);
    const view: RecoveryView = {
      shard: entry.id,
      generation: entry.generation,
      replicas: answers.map(replicaView),
      ...(choice === undefined ? {} : { choice }),
      losses: chosen === undefined ? [] : lossesBy(chosen, found),
      ...(refused === undefined ? {} : { refused }),
      applied: false,
    };
    if (params.apply !== true) return view;
    if (refused !== undefined || chosen === undefined || params.from === undefined) {
      throw new KvError('KV_INVALID_ARGUMENT', refused ?? 'name the member to go on from');
    }
    return { ...view, ...(await this.#apply(entry, chosen, found)) };
  }

  /** The meta shard's generation does not stand in the map: its members know it. */
  async #entryOf(map: ShardMap, shard: string): Promise<ShardEntry> {
    const entry = isShardId(shard) ? shardEntryOf(map, shard) : undefined;
    if (entry === undefined) throw new KvError('KV_NOT_FOUND', `no shard ${shard}`);
    if (shard !== META_SHARD) return entry;
    const accounts = await Promise.all(
      map.members.map(({ id }) => this.#metaStep(id, { step: 'ask' }).catch(() => undefined)),
    );
    const generation = Math.max(0, ...accounts.map((account) => account?.generation ?? 0));
    return { ...entry, generation };
  }

  /** Errors: KV_UNAVAILABLE for a member that does not answer, or not with an account; what it refuses with. */
  async #metaStep(member: string, step: MetaStep): Promise<MetaAccount> {
    const { metaGroup, peers, self } = this.#parts;
    const id = memberIdOf(member);
    if (id === self) return metaGroup.serve(step);
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    const answer: unknown = await peers.request(id, encodeMetaStep(step), { signal });
    const account = parseMetaAccount(answer);
    if (account !== undefined) return account;
    if (typeof answer === 'object' && answer !== null && 'error' in answer) {
      throw errorFromPlain(answer.error);
    }
    throw new KvError('KV_UNAVAILABLE', `member ${member} is of an older version`);
  }

  async #apply(
    entry: ShardEntry,
    chosen: Recoverable,
    found: readonly Recoverable[],
  ): Promise<Pick<RecoveryView, 'applied' | 'generation' | 'revision'>> {
    const { editor, logger } = this.#parts;
    const { index } = chosen.report;
    const revision = Math.max(...found.map(({ report }) => report.revision)) + REVISION_BUMP;
    if (entry.id === META_SHARD) return this.#applyToMeta(entry, chosen, revision);
    await editor.update((map) => {
      const member = knownMember(map, chosen.member).id;
      const present = shardEntryOf(map, entry.id);
      const { generation: from } = entry;
      const genesis = { member, index, revision };
      // The attempt before this one came about after all.
      const isDone =
        present?.generation === from + 1 &&
        present.genesis?.member === member &&
        present.genesis.revision === revision;
      return isDone ? undefined : recoverShard(map, entry.id, { from, genesis });
    });
    const generation = entry.generation + 1;
    logger.warn({ shard: entry.id, generation, from: chosen.member }, 'shard is recovered');
    return { applied: true, generation, revision };
  }

  /**
   * First everybody leaves the generation before, on disk: once a majority of the voters has, nothing can be decided there any more. Only
   * then the chosen one begins the next generation; should two operators have chosen differently, the first genesis in the log counts.
   */
  async #applyToMeta(
    entry: ShardEntry,
    chosen: Recoverable,
    revision: number,
  ): Promise<Pick<RecoveryView, 'applied' | 'generation' | 'revision'>> {
    const map = this.#parts.map();
    const generation = entry.generation + 1;
    const member = knownMember(map, chosen.member).id;
    const asked = map.members.map(async ({ id }) => {
      const account = await this.#metaStep(id, { step: 'leave', generation });
      return account.generation === generation ? id : undefined;
    });
    const settled = await Promise.allSettled(asked);
    const left = settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
    const count = entry.voters.filter((id) => left.includes(id)).length;
    const needed = quorumSize(entry.voters.length);
    if (count < needed || !left.includes(member)) {
      const failed = settled.find((one) => one.status === 'rejected')?.reason as unknown;
      const why = failed instanceof Error ? `: ${failed.message}` : '';
      const text = `${count} of ${entry.voters.length} voters left generation ${entry.generation}, and ${needed} have to, ${chosen.member} among them${why}`;
      throw new KvError('KV_UNAVAILABLE', text, {
        details: { shard: META_SHARD, hint: 'give the command again once they answer' },
      });
    }
    const genesis = { member, index: chosen.report.index, revision };
    await this.#metaStep(member, { step: 'begin', generation, genesis });
    this.#parts.logger.warn(
      { shard: META_SHARD, generation, from: chosen.member },
      'shard is recovered',
    );
    return { applied: true, generation, revision };
  }

  /** Every member that may hold something of the shard. */
  #ask(map: ShardMap, entry: ShardEntry): Promise<readonly Answer[]> {
    const voters = entry.voters.flatMap((id) => map.members.find((one) => one.id === id) ?? []);
    const others = map.members.filter(({ id }) => !entry.voters.includes(id));
    return Promise.all([...voters, ...others].map((member) => this.#askOne(member, entry.id))).then(
      (answers) =>
        // Who is no voter is of interest only when it has something.
        answers.filter(
          ({ member, report }) => report !== undefined || entry.voters.includes(member.id),
        ),
    );
  }

  async #askOne(member: MemberEntry, shard: ShardId): Promise<Answer> {
    const { peers, replicas, self } = this.#parts;
    const id = memberIdOf(member.id);
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    try {
      const answer: unknown =
        id === self
          ? await replicas.get(shard)?.recoveryReport()
          : await peers.request(id, encodeReplicaRequest(shard, RECOVERY_QUESTION), { signal });
      const report = parseRecoveryReport(answer);
      if (report !== undefined) return { member, report };
      return { member, error: 'has no replica open, or is of an older version' };
    } catch (error) {
      return { member, error: error instanceof Error ? error.message : String(error) };
    }
  }
}

function refusalOf(
  entry: ShardEntry,
  found: readonly Recoverable[],
  chosen: Recoverable | undefined,
  from: string | undefined,
): string | undefined {
  const leader = found.find(({ report }) => report.leads && report.generation === entry.generation);
  if (leader !== undefined) {
    return `shard ${entry.id} is led by ${leader.member}: there is nothing to recover`;
  }
  if (from === undefined) return `no replica of shard ${entry.id} answers`;
  return chosen === undefined ? `${from} does not answer with its replica` : undefined;
}

/** Of the meta shard: nobody else keeps two halves of the members from deciding each for itself. */
function minorityRefusal({ id, voters }: ShardEntry, silent: number): string | undefined {
  if (id !== META_SHARD || voters.length - silent >= quorumSize(voters.length)) return undefined;
  return `${silent} of the ${voters.length} voters of shard ${id} do not answer: they may go on without the others`;
}

function replicaView(answer: Answer): RecoveryReplica {
  const { member, report } = answer;
  if (report === undefined) return { member: member.name, error: answer.error };
  const { chainHash, generation, halted, index, leads, revision, stateHash, term } = report;
  return {
    member: member.name,
    generation,
    index,
    term,
    revision,
    chainHash: chainHash.slice(0, HASH_DIGITS),
    ...(stateHash === undefined ? {} : { stateHash }),
    ...(halted === undefined ? {} : { halted: `${halted.reason}: ${halted.detail}` }),
    ...(leads ? { leads } : {}),
  };
}
