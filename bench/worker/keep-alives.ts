import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  LeaseKeepAliveRequestSchema,
  LeaseKeepAliveResponseSchema,
  LeaseRevokeRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { MessageReceiver, wholeAnswer } from './grpc-answer.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { connectionOf, type StreamRun, type StreamWork } from './stream-run.ts';

const TTL_SECONDS = 60;
/** LeaseKeepAliveResponse ends with field 3, the time to live: it is 0, and so left out, for a lease that is gone. */
const TTL_TAG = 0x18;

interface Held {
  readonly id: bigint;
  readonly connection: GrpcConnection;
  readonly stream: number;
}

/** A lease on each stream, which is kept alive again as soon as it was. */
export const keepAlives: StreamWork = async (connections, spec, run) => {
  const indexes = Array.from({ length: spec.inFlight }, (_, i) => i);
  const held = await Promise.all(
    indexes.map((index) => hold(connectionOf(connections, index), run)),
  );
  return async () => {
    for (const { connection, stream } of held) connection.cancel(stream);
    await Promise.all(
      held.map(({ id, connection }) => {
        const request = create(LeaseRevokeRequestSchema, { ID: id });
        const bytes = toBinary(LeaseRevokeRequestSchema, request);
        return wholeAnswer(connection, '/etcdserverpb.Lease/LeaseRevoke', bytes);
      }),
    );
  };
};

async function hold(connection: GrpcConnection, run: StreamRun): Promise<Held> {
  const grant = create(LeaseGrantRequestSchema, { TTL: BigInt(TTL_SECONDS) });
  const granted = await wholeAnswer(
    connection,
    '/etcdserverpb.Lease/LeaseGrant',
    toBinary(LeaseGrantRequestSchema, grant),
  );
  const id = fromBinary(LeaseGrantResponseSchema, granted).ID;
  const request = create(LeaseKeepAliveRequestSchema, { ID: id });
  const message = toBinary(LeaseKeepAliveRequestSchema, request);
  let startedAt = 0;
  let isFirst = true;
  const receiver = new MessageReceiver(
    (answer) => {
      const now = performance.now();
      run.done(now, startedAt);
      if (isFirst) checkAnswer(answer, id, run);
      isFirst = false;
      if (answer.at(-2) !== TTL_TAG || answer.at(-1) !== TTL_SECONDS) {
        run.fail(new Error('a lease that is kept alive is gone'));
      }
      if (run.stopped) return;
      startedAt = now;
      connection.send(stream ?? 0, message);
    },
    (error) => run.fail(error ?? new Error('a stream of keep-alives ended')),
  );
  const stream = connection.begin('/etcdserverpb.Lease/LeaseKeepAlive', receiver);
  if (stream === undefined) throw new Error('no stream for keep-alives');
  startedAt = performance.now();
  connection.send(stream, message);
  return { id, connection, stream };
}

function checkAnswer(answer: Buffer, id: bigint, run: StreamRun): void {
  const { ID, header } = fromBinary(LeaseKeepAliveResponseSchema, answer);
  if (ID !== id || header === undefined) run.fail(new Error('a keep-alive of another lease'));
}
