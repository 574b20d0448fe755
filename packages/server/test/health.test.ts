import { connect } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { type HealthQuestion, healthAnswer } from '../src/http/health-checks.ts';
import { useOneMember } from './support/use-member.ts';

const CHECKS = [
  { name: 'a', ok: true, detail: 'well' },
  { name: 'b', ok: false, detail: 'shard 1: no leader' },
];
const answer = (question: Partial<HealthQuestion>): string => {
  const plain = { only: undefined, excluded: [], verbose: false };
  const { status, text } = healthAnswer('readyz', CHECKS, { ...plain, ...question });
  return `${status} ${text}`;
};

describe('an answer of /livez or /readyz', () => {
  it('names what failed', () => {
    expect(answer({})).toBe(
      '503 [+]a ok: well\n[-]b failed: shard 1: no leader\nreadyz check failed\n',
    );
    expect(answer({ only: 'b' })).toBe(
      '503 [-]b failed: shard 1: no leader\nreadyz/b check failed\n',
    );
  });

  it('leaves out what shall not count', () => {
    expect(answer({ excluded: ['b'] })).toBe('200 ok\n');
    expect(answer({ excluded: ['b'], verbose: true })).toBe(
      '200 [+]a ok: well\n[+]b excluded: ok\nreadyz check passed\n',
    );
    expect(answer({ excluded: ['b', 'c'], verbose: true })).toContain('no matches for c\n');
  });

  it('is of one check when one is asked for', () => {
    expect(answer({ only: 'a' })).toBe('200 ok\n');
    expect(answer({ only: 'a', verbose: true })).toBe('200 [+]a ok: well\nreadyz/a check passed\n');
    expect(answer({ only: 'c' })).toBe('404 no check c (checks: a, b)\n');
  });
});

describe('a member', () => {
  const member = useOneMember();
  const get = async (path: string): Promise<[number, string]> => {
    const response = await fetch(member.url + path);
    return [response.status, await response.text()];
  };

  it('is alive and ready, check by check', async () => {
    expect(await get('/livez?verbose')).toEqual([
      200,
      '[+]serializable_read ok: every replica reads from its disk\nlivez check passed\n',
    ]);
    const [status, text] = await get('/readyz?verbose');
    expect(status).toBe(200);
    const names = [...text.matchAll(/^\[\+\](\w+) ok: /gm)].map(([, name]) => name);
    for (const name of names) {
      expect(await get(`/readyz/${name}`), name).toEqual([200, 'ok\n']);
    }
    expect(names).toEqual(
      expect.arrayContaining(['data_corruption', 'linearizable_read', 'non_learner']),
    );
    expect((await get('/readyz/nothing'))[0]).toBe(404);
  });

  it('counts what it answered', async () => {
    const well = '{"health":"true","reason":""}';
    expect(await get('/health')).toEqual([200, well]);
    expect(await get('/health?serializable=true')).toEqual([200, well]);
    const [, metrics] = await get('/metrics');
    expect(metrics).toContain('etcd_server_health_success 2\n');
    expect(metrics).toMatch(/^etcd_server_quota_backend_bytes \d+$/m);
    expect(metrics).toContain('etcd_server_healthcheck{type="livez",name="serializable_read"} 1\n');
  });

  it('writes its metrics once for all who ask in one turn', async () => {
    const write = vi.spyOn(member.member.host.metrics.registry, 'metrics');
    const { hostname, port } = new URL(member.url);
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    socket.write('GET /metrics HTTP/1.1\r\nhost: m\r\n\r\n'.repeat(20));
    let answers = '';
    for await (const text of socket) {
      answers += String(text);
      if (answers.split('HTTP/1.1 200 OK').length > 20) break;
    }
    expect(write).toHaveBeenCalledTimes(1);
    write.mockRestore();
  });

  it('says whose interface it has', async () => {
    const [, text] = await get('/version');
    expect(JSON.parse(text)).toMatchObject({
      etcdserver: expect.stringMatching(/^3\.\d+\.\d+$/) as unknown,
      etcdcluster: expect.stringMatching(/^3\.\d+\.0$/) as unknown,
      storage: expect.stringMatching(/^3\.\d+\.0$/) as unknown,
    });
  });
});
