import { expect, it } from 'vitest';
import { useOneMember } from './support/use-member.ts';

const member = useOneMember({ 'limits.quotaBytes': 200_000 });

function put(n: number): Promise<Response> {
  return fetch(`${member.url}/v1/kv/keys/key-${n}`, {
    method: 'PUT',
    body: JSON.stringify({ value: 'v'.repeat(20_000) }),
    headers: { 'content-type': 'application/json' },
  });
}

it('refuses puts above its quota and goes on with reads and deletes', async () => {
  let answer = await put(0);
  const untilMs = Date.now() + 15_000;
  for (let n = 1; answer.ok && Date.now() < untilMs; n += 1) answer = await put(n);
  expect(answer.status).toBe(429);
  expect(await answer.json()).toMatchObject({ error: { code: 'KV_NO_SPACE', retry: 'operator' } });
  expect((await fetch(`${member.url}/v1/kv/keys/key-0`)).status).toBe(200);
  for (const path of ['/health', '/health?serializable=true']) {
    const health = await fetch(member.url + path);
    expect(health.status).toBe(503);
    expect(await health.json()).toEqual({ health: 'false', reason: 'NOSPACE: ALARM NOSPACE' });
  }
  expect((await fetch(`${member.url}/health?exclude=NOSPACE`)).status).toBe(200);
  expect((await fetch(`${member.url}/readyz`)).status).toBe(200);
  expect((await fetch(`${member.url}/v1/kv/keys/key-0`, { method: 'DELETE' })).status).toBe(200);
});
