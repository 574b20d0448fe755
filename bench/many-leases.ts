/**
 * What so many leases cost one member: granting them, a key on each, keeping all of them alive, a new leadership with all of them,
 * and all of them expiring at once, with writes of others going on.
 *
 *     npm run build && tsx --conditions=@kvorum/source bench/many-leases.ts [--leases 100000] [--shards 1] [--ttl 300]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { utf8 } from '@kvorum/base';
import {
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  LeaseKeepAliveRequestSchema,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesRequestSchema,
  LeaseLeasesResponseSchema,
  PutRequestSchema,
  PutResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { freePorts } from '../scripts/free-ports.ts';

const KVD = fileURLToPath(new URL('../packages/server/dist/main.js', import.meta.url));
const INFLIGHT = 1024;
const KEEP_ALIVE_STREAMS = 16;
const POLL_MS = 250;
const PUT_EVERY_MS = 20;
const MESSAGE_BYTES = 64 * 1024 * 1024;

const { values } = parseArgs({
  options: {
    leases: { type: 'string', default: '100000' },
    shards: { type: 'string', default: '1' },
    ttl: { type: 'string', default: '300' },
  },
});
const LEASES = Number(values.leases);
const TTL = BigInt(values.ttl);

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
const seconds = (sinceMs: number): number => (performance.now() - sinceMs) / 1000;

/** A member in a process of its own. */
class Member {
  readonly endpoint: string;
  readonly #configPath: string;
  #process: ReturnType<typeof spawn> | undefined;

  private constructor(endpoint: string, configPath: string) {
    this.endpoint = endpoint;
    this.#configPath = configPath;
  }

  static async start(directory: string): Promise<Member> {
    const [client = 0, peer = 0] = await freePorts(2);
    const configPath = join(directory, 'kvd.yaml');
    const config = {
      ...{ name: 'm1', dataDir: join(directory, 'm1'), shards: Number(values.shards) },
      ...{ listenClient: `127.0.0.1:${client}`, listenPeer: `127.0.0.1:${peer}` },
      logLevel: 'warn',
    };
    writeFileSync(configPath, JSON.stringify(config));
    const member = new Member(`127.0.0.1:${client}`, configPath);
    await member.run();
    return member;
  }

  /** Somebody else may have its port for a moment: it is started until it stays. */
  async run(): Promise<void> {
    for (;;) {
      if (this.#process?.exitCode !== null || this.#process.signalCode !== null) this.#spawn();
      const answer = await fetch(`http://${this.endpoint}/readyz`).catch(() => undefined);
      if (answer?.ok === true) return;
      await pause(POLL_MS / 10);
    }
  }

  #spawn(): void {
    this.#process = spawn(process.execPath, [KVD, '--config', this.#configPath], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }

  async kill(): Promise<void> {
    const ended = once(this.#process ?? process, 'exit');
    this.#process?.kill('SIGKILL');
    await ended;
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.endpoint}/metrics`)).text();
    const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))];
    return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  async memory(): Promise<string> {
    return `${Math.round((await this.metric('process_resident_memory_bytes')) / 2 ** 20)} MiB`;
  }
}

/** One call with one answer. */
function unary<I extends DescMessage, O extends DescMessage>(
  client: Client,
  path: string,
  [input, output]: readonly [I, O],
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/etcdserverpb.${path}`,
      (message: MessageShape<I>) => Buffer.from(toBinary(input, message)),
      (bytes: Buffer) => fromBinary(output, bytes),
      create(input, request),
      (error, answer) => {
        if (error === null && answer !== undefined) resolve(answer);
        else reject(error ?? new TypeError('no answer'));
      },
    );
  });
}

const connect = (member: Member): Client =>
  new Client(member.endpoint, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MESSAGE_BYTES,
    'grpc.use_local_subchannel_pool': 1,
  });

/** Each number below `LEASES` once, so many at a time; how many a second. */
async function forEach(act: (i: number) => Promise<unknown>): Promise<string> {
  const startMs = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < LEASES) {
      next += 1;
      await act(next);
    }
  };
  await Promise.all(Array.from({ length: INFLIGHT }, lane));
  const took = seconds(startMs);
  return `${took.toFixed(1)} s, ${Math.round(LEASES / took)} a second`;
}

/** Every lease once, over some streams; resolves when all are answered, with how many were alive. */
async function keepAllAlive(member: Member): Promise<string> {
  const startMs = performance.now();
  const clients = Array.from({ length: KEEP_ALIVE_STREAMS }, () => connect(member));
  const alive = await Promise.all(
    clients.map(
      (client, lane) =>
        new Promise<number>((resolve, reject) => {
          const call = client.makeBidiStreamRequest(
            '/etcdserverpb.Lease/LeaseKeepAlive',
            (id: bigint) =>
              Buffer.from(
                toBinary(
                  LeaseKeepAliveRequestSchema,
                  create(LeaseKeepAliveRequestSchema, { ID: id }),
                ),
              ),
            (bytes: Buffer) => fromBinary(LeaseKeepAliveResponseSchema, bytes).TTL,
          );
          let [sent, answered, living] = [0, 0, 0];
          for (let i = 1 + lane; i <= LEASES; i += KEEP_ALIVE_STREAMS) {
            call.write(BigInt(i));
            sent += 1;
          }
          call.on('data', (ttl: bigint) => {
            answered += 1;
            if (ttl > 0n) living += 1;
            if (answered < sent) return;
            call.cancel();
            resolve(living);
          });
          call.on('error', (error: Error) => {
            if (answered < sent) reject(error);
          });
        }),
    ),
  );
  for (const client of clients) client.close();
  const took = seconds(startMs);
  const living = alive.reduce((sum, one) => sum + one, 0);
  return `${took.toFixed(1)} s, ${Math.round(LEASES / took)} a second, ${living} alive`;
}

/** How long puts of others take, until told to stop. */
function putting(client: Client): { readonly stop: () => Promise<string> } {
  const took: number[] = [];
  let isOver = false;
  const run = async (): Promise<void> => {
    for (let i = 0; !isOver; i += 1) {
      const startMs = performance.now();
      const put = { key: utf8(`other/${i % 100}`), value: utf8('v') };
      await unary(client, 'KV/Put', [PutRequestSchema, PutResponseSchema], put);
      took.push(performance.now() - startMs);
      await pause(PUT_EVERY_MS);
    }
  };
  const done = run();
  return {
    stop: async () => {
      isOver = true;
      await done;
      took.sort((a, b) => a - b);
      const at = (share: number): string =>
        (took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0).toFixed(1);
      return `${took.length} puts of others meanwhile: median ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
    },
  };
}

async function keysLeft(client: Client): Promise<number> {
  const range = { key: utf8('held/'), rangeEnd: utf8('held0'), countOnly: true };
  const schemas = [RangeRequestSchema, RangeResponseSchema] as const;
  return Number((await unary(client, 'KV/Range', schemas, range)).count);
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-leases-'));
  const member = await Member.start(directory);
  const client = connect(member);
  try {
    say(`${LEASES} leases of ${TTL} s, ${values.shards} shard(s); memory ${await member.memory()}`);
    const grant = [LeaseGrantRequestSchema, LeaseGrantResponseSchema] as const;
    const granted = await forEach((i) =>
      unary(client, 'Lease/LeaseGrant', grant, { ID: BigInt(i), TTL }),
    );
    say(`granted: ${granted}; memory ${await member.memory()}`);
    const put = [PutRequestSchema, PutResponseSchema] as const;
    const attached = await forEach((i) => {
      const key = utf8(`held/${i % 1000}/${i}`);
      return unary(client, 'KV/Put', put, { key, value: utf8('v'), lease: BigInt(i) });
    });
    say(`a key on each: ${attached}; memory ${await member.memory()}`);
    for (const _ of [1, 2]) {
      const others = putting(client);
      say(`all kept alive: ${await keepAllAlive(member)}; ${await others.stop()}`);
    }
    say(`memory ${await member.memory()}`);
    const listMs = performance.now();
    const listed = [LeaseLeasesRequestSchema, LeaseLeasesResponseSchema] as const;
    const { leases } = await unary(client, 'Lease/LeaseLeases', listed, {});
    say(`listed: ${leases.length} in ${seconds(listMs).toFixed(2)} s`);
    client.close();
    const killedMs = performance.now();
    await member.kill();
    await member.run();
    say(`killed and started again: ready after ${seconds(killedMs).toFixed(1)} s`);
    const again = connect(member);
    say(`all kept alive: ${await keepAllAlive(member)}; memory ${await member.memory()}`);
    await untilExpired(member, again);
    again.close();
  } finally {
    await member.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Their time begins anew with a keep-alive of all: it ends at about one time. */
async function untilExpired(member: Member, client: Client): Promise<void> {
  const expired = 'etcd_debugging_server_lease_expired_total';
  while ((await member.metric(expired)) === 0) await pause(POLL_MS);
  const startMs = performance.now();
  const others = putting(client);
  while ((await member.metric('kv_leases')) > 0) await pause(POLL_MS);
  const left = await keysLeft(client);
  const took = seconds(startMs);
  const rate = Math.round(LEASES / took);
  say(
    `expired: ${took.toFixed(1)} s from the first to the last, ${rate} a second; ${left} keys left`,
  );
  say(`${await others.stop()}; memory ${await member.memory()}`);
  say(`revisions: ${await member.metric('etcd_debugging_mvcc_current_revision')}`);
}

await main();
