import { Etcd3, EtcdLockFailedError, type Watcher } from 'etcd3';

/** The test puts this key after it has taken a member away. */
const KILLED = '{failover}/killed';
const WATCHED = '{failover}/node/';
const WRITES_AFTER = 20;
const CALL_MS_MAX = 3000;
const WATCH_MS_MAX = 60_000;

/**
 * What programs for Node do with etcd, through npm's `etcd3`: keys, transactions, leases, locks, elections, software transactional
 * memory and a watch over a failover. Errors: whatever went wrong.
 * @param onReady - called when a member is to be taken away.
 */
export async function useEtcd3(endpoints: readonly string[], onReady: () => void): Promise<void> {
  const client = new Etcd3({
    hosts: endpoints.map((at) => `http://${at}`),
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + CALL_MS_MAX }),
  });
  try {
    await keys(client);
    await leases(client);
    await locks(client);
    await elections(client);
    await memory(client);
    await failover(client, onReady);
  } finally {
    client.close();
  }
}

async function keys(client: Etcd3): Promise<void> {
  await client.put('node/a').value('1');
  check((await client.get('node/a').string()) === '1', 'get');
  const txn = await client
    .if('node/a', 'Value', '==', '1')
    .then(client.put('node/a').value('2'), client.get('node/a'))
    .else(client.get('node/a'))
    .commit();
  const read = txn.responses[1]?.response_range?.kvs[0]?.value.toString();
  check(txn.succeeded && read === '2', 'txn');
  const deleted = await client.delete().key('node/a').getPrevious();
  check(deleted[0]?.value.toString() === '2', 'delete');
}

async function leases(client: Etcd3): Promise<void> {
  const lease = client.lease(60);
  await lease.put('node/leased').value('x');
  check((await lease.keepaliveOnce()).TTL === '60', 'keep-alive');
  await lease.revoke();
  check((await client.get('node/leased').string()) === null, 'the key of a revoked lease');
}

async function locks(client: Etcd3): Promise<void> {
  const held = await client.lock('node/lock').ttl(20).acquire();
  const refused = await client
    .lock('node/lock')
    .ttl(20)
    .acquire()
    .catch((error: unknown) => error);
  check(refused instanceof EtcdLockFailedError, 'a lock that is held');
  await held.release();
  check((await client.lock('node/lock').do(() => 'done')) === 'done', 'a lock that is free');
}

async function elections(client: Etcd3): Promise<void> {
  const election = client.election('node', 20);
  check((await election.leader()) === undefined, 'no leader yet');
  const first = await election.campaign('me').wait();
  const second = election.campaign('you');
  check((await election.leader()) === 'me', 'leader');
  await first.proclaim('still me');
  check((await election.leader()) === 'still me', 'proclaim');
  await second.getCampaignKey();
  // The library tells of it once: it may have been elected before the answer to the resignation has come.
  const elected = second.wait();
  await first.resign();
  await elected;
  check((await election.leader()) === 'you', 'the next leader');
  await second.resign();
}

async function memory(client: Etcd3): Promise<void> {
  const add = async (): Promise<unknown> =>
    client.stm({ retries: 20 }).transact(async (tx) => {
      await tx.put('node/stm').value(`${(await tx.get('node/stm').string()) ?? ''}x`);
    });
  await Promise.all([add(), add(), add()]);
  check((await client.get('node/stm').string()) === 'xxx', 'stm');
}

/** A watch misses nothing that was acknowledged, and sees it in order, while a member goes away. */
async function failover(client: Etcd3, onReady: () => void): Promise<void> {
  const seen: string[] = [];
  const watcher: Watcher = await client.watch().prefix(WATCHED).create();
  watcher.on('put', ({ key }) => {
    // A write of unknown outcome was sent again.
    if (seen.at(-1) !== key.toString()) seen.push(key.toString());
  });
  onReady();
  const written = await write(client);
  const untilMs = performance.now() + WATCH_MS_MAX;
  while (seen.length < written && performance.now() < untilMs) await pause(50);
  await watcher.cancel();
  const expected = Array.from({ length: written }, (_, i) => keyOf(i));
  check(seen.join() === expected.join(), `the watch saw ${seen.join()}`);
}

/** Writes until the test has taken a member away, and some more. Answers how many. */
async function write(client: Etcd3): Promise<number> {
  let written = 0;
  for (let left = WRITES_AFTER; left > 0; ) {
    const put = await client
      .put(keyOf(written))
      .value('x')
      .then(
        () => true,
        () => false,
      );
    await pause(20);
    if (!put) continue;
    written += 1;
    const killed = await client
      .get(KILLED)
      .string()
      .catch(() => null);
    if (left < WRITES_AFTER || killed !== null) left -= 1;
  }
  return written;
}

const keyOf = (i: number): string => `${WATCHED}${String(i).padStart(4, '0')}`;

async function pause(ms: number): Promise<void> {
  await new Promise((done) => setTimeout(done, ms));
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}
