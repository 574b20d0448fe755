import { readFileSync } from 'node:fs';
import { compareBytes, concatBytes, isShardId, META_SHARD, utf8 } from '@kvorum/base';
import {
  type ConnectOptions,
  type Credentials,
  type Entry,
  KvorumClient,
  type Watch,
} from '@kvorum/client';
import { nameOfPlace, parseShardMap } from '@kvorum/shard';
import { authorizationOf, type Context, parseCount } from '../context.ts';
import { urlOf } from '../etcd-gateway.ts';
import { advise, InputError, IoError } from '../exit.ts';
import { askJson, type MemberCall } from '../member-http.ts';
import { readMirrorState, writeMirrorState } from '../mirror-state.ts';
import { type Change, MirrorUpdates } from '../mirror-updates.ts';
import { jsonLine } from '../output.ts';
import { entriesOf, pagesOf } from '../pages.ts';
import { paired } from '../paired.ts';
import { showProgress } from '../progress.ts';
import { PutWindow } from '../put-window.ts';
import type { MirrorFlags } from './mirror.ts';
import { parseShardRevisions, timeLimit } from './watch.ts';

const TOTAL_MS = 30_000;

type Revisions = Readonly<Record<string, number>>;

/** From one cluster to another. */
interface Mirror {
  readonly context: Context;
  readonly from: KvorumClient;
  readonly to: KvorumClient;
  readonly prefix: string;
  readonly destPrefix: string;
  readonly flags: MirrorFlags;
  /** Keys put or deleted there. */
  readonly done: { total: number };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new IoError(`cannot read ${path}: ${(error as Error).message}`);
  }
}

function destTls({ destCacert, destCert, destKey }: MirrorFlags): ConnectOptions['tls'] {
  if (destCacert === undefined && destCert === undefined && destKey === undefined) return undefined;
  return {
    ...(destCacert === undefined ? {} : { ca: read(destCacert) }),
    ...(destCert === undefined ? {} : { cert: read(destCert) }),
    ...(destKey === undefined ? {} : { key: read(destKey) }),
  };
}

async function destAuth(context: Context, flags: MirrorFlags): Promise<Credentials | undefined> {
  const { destUser: user, destPassword: password } = flags;
  if (user === undefined) return undefined;
  if (password !== undefined) return { user, password };
  const at = user.indexOf(':');
  if (at >= 0) return { user: user.slice(0, at), password: user.slice(at + 1) };
  const asked = await context.io.askSecret?.('Destination Password: ');
  if (asked !== undefined) return { user, password: asked };
  throw new InputError(`no password of ${user}`, 'set KVCTL_MAKE_MIRROR_DEST_PASSWORD');
}

/** A cluster, and how to ask its members over HTTP. */
interface Target {
  readonly client: KvorumClient;
  readonly http: Pick<MemberCall, 'urls' | 'tls' | 'authorization'>;
}

async function connectTo(
  context: Context,
  destination: string,
  flags: MirrorFlags,
): Promise<Target> {
  const urls = destination
    .split(',')
    .filter((text) => text !== '')
    .map(urlOf);
  const tls = destTls(flags);
  const auth = await destAuth(context, flags);
  const { dialMs, timeoutMs } = context.globals();
  const client = new KvorumClient({ endpoints: urls, timeoutMs, name: 'kvctl-mirror', tls, auth });
  try {
    await client.ready({ signal: context.io.signal, timeoutMs: dialMs });
  } catch (error) {
    await client.close();
    throw error;
  }
  return { client, http: { urls, tls, authorization: authorizationOf(auth) } };
}

/** A mirror of a range into itself would never end: no two clusters have a shard in common. Errors: InputError. */
async function mustNotMeet(mirror: Mirror, there: Target['http']): Promise<void> {
  const { context, prefix, destPrefix } = mirror;
  if (!prefix.startsWith(destPrefix) && !destPrefix.startsWith(prefix)) return;
  const here = {
    urls: context.globals().endpoints.map(urlOf),
    tls: context.tls(),
    authorization: context.authorization(),
  };
  const [own, others] = await Promise.all([shardsOf(context, here), shardsOf(context, there)]);
  if (!own.some((uid) => others.includes(uid))) return;
  throw new InputError(
    'the destination is the same cluster, and the prefixes overlap',
    'another cluster, or a --dest-prefix that is apart from --prefix',
  );
}

async function shardsOf(context: Context, http: Target['http']): Promise<readonly string[]> {
  const { signal } = context.io;
  const map = parseShardMap(await askJson({ ...http, signal, path: '/v1/shard-map' }));
  if (!map.ok) throw new IoError(`a member sent no shard map: ${map.error}`);
  // Those of meta shards follow from the names of clusters, which may be the same.
  return map.value.shards.flatMap(({ id, uid }) => (id === META_SHARD ? [] : [uid]));
}

/** The key there; undefined for the key that is the prefix itself, when nothing is left of it. */
function keyThere({ prefix, destPrefix }: Mirror, key: Uint8Array): Uint8Array | undefined {
  const there = concatBytes(utf8(destPrefix), key.subarray(utf8(prefix).length));
  return there.length === 0 ? undefined : there;
}

async function* renamed(
  mirror: Mirror,
  entries: AsyncIterable<Entry>,
): AsyncGenerator<{ key: Uint8Array; entry: Entry }, undefined> {
  for await (const entry of entries) {
    const key = keyThere(mirror, entry.key);
    if (key !== undefined) yield { key, entry };
  }
}

async function* thereNow(mirror: Mirror): AsyncGenerator<Entry, undefined> {
  yield* entriesOf(mirror.to, { prefix: mirror.destPrefix }, {}, mirror.context.call);
}

/** What each shard's first page stood at, filled while the pages are read. */
async function* noting(
  pages: ReturnType<typeof pagesOf>,
  revisions: Map<string, number>,
): AsyncGenerator<Entry> {
  for await (const page of pages) {
    for (const { shard, revision } of page.shards) {
      if (!revisions.has(shard)) revisions.set(shard, revision);
    }
    yield* page.entries;
  }
}

/**
 * Copies what differs; with --prune, deletes what is not in the source. Answers where the changes after the copy begin, by the names of
 * places, so that it holds while slots move.
 */
async function copy(mirror: Mirror): Promise<Revisions> {
  const { context, from, to, prefix, flags, done } = mirror;
  for (;;) {
    const before = await from.shards(context.call());
    const seen = new Map<string, number>();
    const window = new PutWindow();
    let at = 0;
    const source = noting(pagesOf(from, { prefix }, {}, context.call), seen);
    for await (const [there, wanted] of paired(thereNow(mirror), renamed(mirror, source))) {
      if (wanted === undefined && flags.prune !== true) continue;
      if (there !== undefined && wanted !== undefined && isSame(there, wanted.entry)) continue;
      const key = wanted?.key ?? there?.key ?? new Uint8Array();
      const value = wanted?.entry.value;
      done.total += 1;
      at += 1;
      await window.add(at, {
        key,
        bytes: key.length + (value?.length ?? 0),
        run: () =>
          value === undefined ? to.delete(key, context.call()) : to.put(key, value, context.call()),
      });
    }
    await window.end();
    const after = await from.shards(context.call());
    const placed = (shards: typeof before): string =>
      JSON.stringify(shards.map(({ shard, slots }) => [shard, slots]));
    if (placed(before) === placed(after)) {
      return Object.fromEntries(
        after.flatMap(({ shard, slots }) => {
          const revision = seen.get(shard);
          const isThere = revision !== undefined && isShardId(shard);
          return isThere ? [[nameOfPlace({ shard, slots }), revision + 1]] : [];
        }),
      );
    }
    context.io.err('slots moved meanwhile: the copy is compared once more\n');
  }
}

const isSame = (a: Entry, b: Entry): boolean => compareBytes(a.value, b.value) === 0;

/** Where the changes begin; undefined: a copy comes first. */
function startOf(
  mirror: Mirror,
): { readonly rev?: number; readonly revisions?: Revisions } | undefined {
  const { rev, shardRev, state } = mirror.flags;
  if (rev !== undefined && parseCount(rev) > 0) return { rev: parseCount(rev) };
  if (shardRev !== undefined) return { revisions: parseShardRevisions(shardRev) };
  const kept = state === undefined ? undefined : readMirrorState(state, mirror);
  return kept === undefined ? undefined : { revisions: kept };
}

function changeOf(mirror: Mirror, watched: Watch): AsyncIterable<Change> {
  return {
    async *[Symbol.asyncIterator]() {
      for await (const { type, kv, shard } of watched) {
        const key = keyThere(mirror, kv.key);
        if (key === undefined) continue;
        const value = type === 'put' ? kv.value : undefined;
        yield { shard, revision: kv.modRevision, key, value };
      }
    },
  };
}

/** Every change from `start` on, until the time is over. */
async function follow(
  mirror: Mirror,
  start: { readonly rev?: number; readonly revisions?: Revisions },
): Promise<void> {
  const { context, from, to, prefix, flags, done } = mirror;
  const timed = timeLimit(context);
  const options = { startRevision: start.rev, revisions: start.revisions, signal: timed.signal };
  try {
    const crossShard = advise('KV_CROSS_SHARD', 'kvctl make-mirror --shard-rev 0=17,1=5 …');
    const watched = await from.watch({ prefix }, options).catch(crossShard);
    const updates = new MirrorUpdates(to, {
      opsMax: Math.max(1, parseCount(flags.maxTxnOps)),
      call: context.call,
      done: (changes) => {
        done.total += changes;
      },
    });
    const { state } = flags;
    await updates.follow(changeOf(mirror, watched), () => {
      const resumeAt = watched.resumeAt();
      return () => {
        if (state !== undefined) writeMirrorState(state, mirror, resumeAt);
      };
    });
  } catch (error) {
    if (!timed.isOver()) throw error;
  } finally {
    timed.cancel();
  }
}

export async function makeMirror(
  context: Context,
  destination: string,
  flags: MirrorFlags,
): Promise<void> {
  const { prefix } = flags;
  const destPrefix = flags.destPrefix === false ? '' : (flags.destPrefix ?? prefix);
  if (flags.prune === true && destPrefix === '' && prefix !== '') {
    throw new InputError(
      '--prune would delete everything else of the destination',
      'give a --dest-prefix',
    );
  }
  await context.withClient(async (from) => {
    const { client: to, http } = await connectTo(context, destination, flags);
    const mirror: Mirror = { context, from, to, prefix, destPrefix, flags, done: { total: 0 } };
    const { done } = mirror;
    const print = (): void => {
      const isJson = context.globals().format === 'json';
      context.io.out(isJson ? jsonLine({ total: done.total }) : `${done.total}\n`);
    };
    const timer = setInterval(print, TOTAL_MS);
    const stop = showProgress(context.io, () => `${done.total} keys`);
    try {
      await mustNotMeet(mirror, http);
      await mirrored(mirror);
    } finally {
      clearInterval(timer);
      stop();
      await to.close();
    }
    print();
  });
}

async function mirrored(mirror: Mirror): Promise<void> {
  const { context, flags } = mirror;
  let start = startOf(mirror);
  if (start === undefined) {
    const revisions = await copy(mirror);
    start = { revisions };
    if (flags.state !== undefined) writeMirrorState(flags.state, mirror, revisions);
    if (flags.once !== true) context.io.err('copied: changes follow\n');
  }
  if (flags.once === true) return;
  const again = flags.state === undefined ? '' : `remove ${flags.state}, `;
  const compacted = `${again}kvctl make-mirror … --prune   # copy again, and delete what is gone`;
  await follow(mirror, start).catch(advise('KV_COMPACTED', compacted));
}
