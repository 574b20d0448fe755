import { utf8 } from '@kvorum/base';
import { FRAME, OP } from '@kvorum/wire';
import { expect, it } from 'vitest';
import { RawSession } from './support/raw-session.ts';
import { useOneMember } from './support/use-member.ts';

const member = useOneMember();

async function counts(): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(`${member.url}/metrics`)).text();
  const rows = text.matchAll(
    /^kv_client_requests_total\{api="(.*?)",method="(.*?)",code="(.*?)"\} (\d+)$/gm,
  );
  return Object.fromEntries(
    [...rows].map(([, api, method, code, count]) => [`${api} ${method} ${code}`, Number(count)]),
  );
}

it('counts the requests of sessions by method and outcome', async () => {
  const shard = member.member.host.router.shardOf(utf8('k'));
  const session = await RawSession.open(member.url);
  const request = { op: 'range', key: Buffer.from('k') };
  session.requests(shard, [
    session.put(1, 'k', 'v'),
    session.put(2, 'k', 'w'),
    session.put(3, '', 'v'),
    [4, OP.get, Buffer.from('k')],
    [5, OP.request, 0, false, request],
  ]);
  await session.answers(5);
  session.requests('77', [[6, OP.get, Buffer.from('k')]]);
  await session.answers(1);
  session.send([FRAME.control, 1, 'members', null]);
  await session.next(FRAME.controlResponse);
  session.send([FRAME.control, 2, 'nonsense\n', null]);
  await session.next(FRAME.controlResponse);
  session.send([FRAME.watchCreate, 1, shard, { key: Buffer.from('k') }]);
  await session.next(FRAME.watchCreated);
  session.close();
  expect(await counts()).toEqual({
    'session put OK': 2,
    'session put KV_EMPTY_KEY': 1,
    'session get OK': 1,
    'session get KV_WRONG_SHARD': 1,
    'session range OK': 1,
    'session members OK': 1,
    'session other KV_INVALID_ARGUMENT': 1,
    'session watch OK': 1,
  });
});

it('and those of REST, under the same names', async () => {
  const url = `${member.url}/v1/kv`;
  const headers = { 'content-type': 'text/plain' };
  await fetch(`${url}/keys/a`, { method: 'PUT', body: 'v', headers });
  await fetch(`${url}/keys/a`);
  await fetch(`${url}/keys/absent`);
  await fetch(`${url}/keys/a`, { method: 'DELETE' });
  const json = { 'content-type': 'application/json' };
  await fetch(`${url}/range`, { method: 'POST', body: '{"key":"a"}', headers: json });
  await fetch(`${url}/txn`, { method: 'POST', body: '{"nonsense":1}', headers: json });
  const all = Object.entries(await counts()).filter(([name]) => name.startsWith('rest'));
  expect(Object.fromEntries(all)).toEqual({
    'rest put OK': 1,
    'rest get OK': 1,
    'rest get KV_NOT_FOUND': 1,
    'rest delete-range OK': 1,
    'rest range OK': 1,
    'rest txn KV_INVALID_ARGUMENT': 1,
  });
});
