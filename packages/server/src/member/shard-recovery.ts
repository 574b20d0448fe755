import { isShardId, KvError, META_SHARD, type MemberId, type ShardId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import {
  chooseReplica,
  lossesBy,
  parseRecoveryReport,
  RECOVERY_QUESTION,
  type Recoverable,
  type RecoveryReport,
} from '@kvorum/replica';
import {
  type MemberEntry,
  memberNamed,
  recoverShard,
  type ShardEntry,
  type ShardMap,
  shardEntryOf,
} from '@kvorum/shard';
import type { RecoverParams, RecoveryReplica, RecoveryView } from '@kvorum/wire';
import type { Logger } from '../logger.ts';
import { encodeReplicaRequest } from '../router/forward.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
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
  readonly logger: Logger;
}

type Answer =
  | { readonly member: MemberEntry; readonly report: RecoveryReport }
  | { readonly member: MemberEntry; readonly report?: undefined; readonly error: string };

/**
 * Lets a shard whose log is lost go on: from the state of one replica, in the next generation of the log. The map says which; every
 * member then does its part by itself, also one that was away.
 */
export class ShardRecovery {
  readonly #parts: ShardRecoveryParts;

  constructor(parts: ShardRecoveryParts) {
    this.#parts = parts;
  }

  /** Errors: KV_NOT_FOUND; KV_INVALID_ARGUMENT when it cannot be done, with why; KV_TIMEOUT when the meta group takes no edit. */
  async recover(params: RecoverParams): Promise<RecoveryView> {
    const map = this.#parts.map();
    const entry = dataShard(map, params.shard);
    const answers = await this.#ask(map, entry);
    const found: Recoverable[] = answers.flatMap(({ member, report }) =>
      report === undefined ? [] : [{ member: member.name, report }],
    );
    const choice = chooseReplica(found, entry.voters.length);
    const from = params.from === undefined ? choice?.member : nameOf(map, params.from);
    const chosen = found.find(({ member }) => member === from);
    const refused = refusalOf(entry, found, chosen, from);
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

  async #apply(
    entry: ShardEntry,
    chosen: Recoverable,
    found: readonly Recoverable[],
  ): Promise<Pick<RecoveryView, 'applied' | 'generation' | 'revision'>> {
    const { editor, logger } = this.#parts;
    const { index } = chosen.report;
    const revision = Math.max(...found.map(({ report }) => report.revision)) + REVISION_BUMP;
    await editor.update((map) => {
      const member = memberNamed(map, chosen.member)?.id;
      if (member === undefined) throw new KvError('KV_NOT_FOUND', `no member ${chosen.member}`);
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

function dataShard(map: ShardMap, shard: string): ShardEntry {
  if (shard === META_SHARD) {
    const hint = 'restore the cluster from its copies: docs/operations.md, "A shard is halted"';
    const why = 'the meta shard holds the map that a recovery is written to';
    throw new KvError('KV_INVALID_ARGUMENT', why, { details: { shard, hint } });
  }
  const entry = isShardId(shard) ? shardEntryOf(map, shard) : undefined;
  if (entry === undefined) throw new KvError('KV_NOT_FOUND', `no shard ${shard}`);
  return entry;
}

function nameOf(map: ShardMap, nameOrId: string): string {
  const member = memberNamed(map, nameOrId);
  if (member !== undefined) return member.name;
  const names = map.members.map(({ name }) => name).join(', ');
  throw new KvError('KV_NOT_FOUND', `no member ${nameOrId} (members: ${names})`);
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
