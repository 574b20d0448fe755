import { Readable } from 'node:stream';
import { decodeSnapshot, encodeSnapshot } from '@kvorum/backup';
import { clusterId, isShardId, KvError, type ShardId } from '@kvorum/base';
import { checkRestoredRow, HEADS } from '@kvorum/mvcc';
import type { Replica } from '@kvorum/replica';
import { shardOfKey } from '@kvorum/shard';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { STATE_BYTES_MAX } from '../auth/auth-admin.ts';
import { AuthOperations } from '../auth/auth-operations.ts';
import type { Host } from '../host.ts';
import { notHere } from '../router/elsewhere.ts';
import { passwordOf } from './rest-access.ts';
import { isForeignPage } from './sessions.ts';

/** One scan of a restore with its headers, at most; the rows of one request are a small snapshot file. */
const PIECE_BYTES_MAX = 16 * 1024 * 1024;
const BARRIER_MS = 5000;

interface ShardParams {
  readonly shard: string;
}

function hosted(host: Host, shard: string): { readonly shard: ShardId; readonly replica: Replica } {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
  const replica = host.replica(shard);
  if (replica === undefined || !isShardId(shard)) throw notHere(host, shard);
  return { shard, replica };
}

/** A copy of a shard with everything that was acknowledged before the request. The view is closed when the stream ends or breaks. */
async function* copyOf(host: Host, replica: Replica): AsyncGenerator<Uint8Array, void, undefined> {
  const source = await replica.snapshotView();
  try {
    yield* encodeSnapshot(source, {
      clusterId: clusterId(BigInt(`0x${host.clusterId}`)),
      createdAtMs: host.clock.wallMs(),
      withStateHash: true,
    });
  } finally {
    await source.close();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

/** The rows of a piece, each sound and at home in this shard. Errors: KV_CORRUPT, KV_WRONG_SHARD, KV_INVALID_ARGUMENT. */
async function rowsOf(host: Host, shard: ShardId, piece: Uint8Array): Promise<Uint8Array[]> {
  const rows: Uint8Array[] = [];
  for await (const part of decodeSnapshot(once(piece))) {
    if (part.kind === 'header' && part.header.shard !== shard) {
      throw new KvError('KV_INVALID_ARGUMENT', `a piece of shard ${part.header.shard}`);
    }
    if (part.kind !== 'rows') continue;
    for (const [storeKey, row] of part.rows) {
      const key = checkRestoredRow(storeKey, row);
      if (shardOfKey(host.map(), key) !== shard) {
        throw new KvError('KV_WRONG_SHARD', undefined, { details: { shard } });
      }
      rows.push(row);
    }
  }
  return rows;
}

/** Rows in runs that each fit a log record. */
function* runs(rows: readonly Uint8Array[], bytesTarget: number): Generator<Uint8Array[]> {
  let run: Uint8Array[] = [];
  let bytes = 0;
  for (const row of rows) {
    if (run.length > 0 && bytes + row.length > bytesTarget) {
      yield run;
      run = [];
      bytes = 0;
    }
    run.push(row);
    bytes += row.length;
  }
  if (run.length > 0) yield run;
}

/** How far the loading of a shard has come: `loaded` = rows of a restore that has not ended lie in it. */
async function restoreState(
  host: Host,
  { shard, replica }: ReturnType<typeof hosted>,
): Promise<object> {
  await replica.barrier(host.clock.nowMs() + BARRIER_MS);
  const source = await replica.snapshotView();
  try {
    const heads = await source.view.scan(HEADS, { limit: 1, bytesMax: 1, keysOnly: true });
    const { revision, compactRevision } = source.meta;
    return { shard, revision, compactRevision, loaded: heads.length > 0 };
  } finally {
    await source.close();
  }
}

function refuseForeign(request: FastifyRequest): void {
  if (isForeignPage(request.raw)) {
    throw new KvError('KV_INVALID_ARGUMENT', 'a page of another site may not do this');
  }
}

/** Copies of shards for backups, and the loading of a backup into an empty cluster. */
export function snapshotRoutes(app: FastifyInstance, host: Host): void {
  const tags = ['operations'];
  app.get(
    '/v1/shard-map',
    { schema: { tags, summary: 'Which shard holds which slots, and where.' } },
    () => host.map(),
  );
  app.get<{ Params: ShardParams }>(
    '/v1/snapshot/:shard',
    { schema: { tags, summary: 'A copy of one shard (docs/backup.md), as of now or later.' } },
    async (request, reply) => {
      const { replica } = hosted(host, request.params.shard);
      await replica.barrier(host.clock.nowMs() + BARRIER_MS);
      const copy = Readable.from(copyOf(host, replica), { objectMode: false });
      return reply.type('application/octet-stream').send(copy);
    },
  );
  app.get<{ Params: ShardParams }>(
    '/v1/restore/:shard',
    { schema: { hide: true } },
    async (request) => restoreState(host, hosted(host, request.params.shard)),
  );
  app.post<{ Params: ShardParams; Body: Uint8Array }>(
    '/v1/restore/:shard',
    { bodyLimit: PIECE_BYTES_MAX, schema: { hide: true } },
    async (request) => {
      refuseForeign(request);
      const { shard, replica } = hosted(host, request.params.shard);
      const rows = await rowsOf(host, shard, request.body);
      for (const run of runs(rows, host.limits.recordBytesTarget)) {
        const deadlineMs = host.clock.nowMs() + host.limits.requestTimeoutMs;
        await replica.restore({ kind: 'rows', rows: run }, deadlineMs);
      }
      return { shard, rows: rows.length };
    },
  );
  app.post<{ Body: Uint8Array }>(
    '/v1/restore/auth',
    { bodyLimit: STATE_BYTES_MAX, schema: { hide: true } },
    async (request) => {
      refuseForeign(request);
      const operations = new AuthOperations(host.auth, () => host.refusal());
      return operations.restore(request.body, passwordOf(request));
    },
  );
  app.post<{ Params: ShardParams; Body: { readonly revision: number } }>(
    '/v1/restore/:shard/finish',
    {
      schema: {
        hide: true,
        body: {
          type: 'object',
          required: ['revision'],
          additionalProperties: false,
          properties: {
            revision: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
          },
        },
      },
    },
    async (request) => {
      refuseForeign(request);
      const { shard, replica } = hosted(host, request.params.shard);
      const { revision } = request.body;
      // Asked again after an answer was lost: done is done.
      const { revision: at, compactRevision } = replica.status();
      if (at !== revision || compactRevision !== revision) {
        const deadlineMs = host.clock.nowMs() + host.limits.requestTimeoutMs;
        await replica.restore({ kind: 'finish', revision }, deadlineMs);
      }
      return { shard, revision };
    },
  );
}
