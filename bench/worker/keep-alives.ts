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
  readonly close: () => void;
}

/** Three connections in a row are one to each member. */
const MEMBERS = 3;

/** A lease with a stream to each member, kept alive again as soon as it was, at the next one: so that it does not matter who leads. */
export const keepAlives: StreamWork = async (connections, spec, run) => {
  const indexes = Array.from({ length: spec.inFlight }, (_, i) => i);
  const held = await Promise.all(
    indexes.map((index) => {
      const members = Array.from({ length: MEMBERS }, (_, i) => i);
      return hold(
        members.map((member) => connectionOf(connections, MEMBERS * index + member)),
        run,
      );
    }),
  );
  return async () => {
    await Promise.all(
      held.map(({ id, connection, close }) => {
        close();
        const request = create(LeaseRevokeRequestSchema, { ID: id });
        const bytes = toBinary(LeaseRevokeRequestSchema, request);
        return wholeAnswer(connection, '/etcdserverpb.Lease/LeaseRevoke', bytes);
      }),
    );
  };
};

async function hold(connections: readonly GrpcConnection[], run: StreamRun): Promise<Held> {
  const connection = connectionOf(connections, 0);
  const grant = create(LeaseGrantRequestSchema, { TTL: BigInt(TTL_SECONDS) });
  const granted = await wholeAnswer(
    connection,
    '/etcdserverpb.Lease/LeaseGrant',
    toBinary(LeaseGrantRequestSchema, grant),
  );
  const id = fromBinary(LeaseGrantResponseSchema, granted).ID;
  const request = create(LeaseKeepAliveRequestSchema, { ID: id });
  const message = toBinary(LeaseKeepAliveRequestSchema, request);
  let startedAt = performance.now();
  let turn = 0;
  const next = (): void => {
    const at = turn % connections.length;
    turn += 1;
    connectionOf(connections, at).send(streams[at] ?? 0, message);
  };
  const onAnswer = (answer: Buffer): void => {
    const now = performance.now();
    run.done(now, startedAt);
    if (turn <= connections.length) checkAnswer(answer, id, run);
    if (answer.at(-2) !== TTL_TAG || answer.at(-1) !== TTL_SECONDS) {
      run.fail(new Error('a lease that is kept alive is gone'));
    }
    startedAt = now;
    if (!run.stopped) next();
  };
  const streams = connections.map((one) => {
    const onEnd = (error: Error | undefined): void =>
      run.fail(error ?? new Error('a stream of keep-alives ended'));
    return one.begin('/etcdserverpb.Lease/LeaseKeepAlive', new MessageReceiver(onAnswer, onEnd));
  });
  next();
  const close = (): void => {
    for (const [i, stream] of streams.entries()) connections[i]?.cancel(stream ?? 0);
  };
  return { id, connection, close };
}

function checkAnswer(answer: Buffer, id: bigint, run: StreamRun): void {
  const { ID, header } = fromBinary(LeaseKeepAliveResponseSchema, answer);
  if (ID !== id || header === undefined) run.fail(new Error('a keep-alive of another lease'));
}
