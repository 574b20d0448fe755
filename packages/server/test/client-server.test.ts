import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { KvError } from '@kvorum/base';
import { beforeAll, expect, it } from 'vitest';
import { type ClientServer, startClientServer } from '../src/http/server.ts';
import { useOneMember } from './support/use-member.ts';

const member = useOneMember();
let server: ClientServer;
beforeAll(async () => {
  server = await startClientServer(member.member.host, '127.0.0.1:0');
});

it('does not wait at its end for answers whose clients have gone', async () => {
  const request = get(`http://${server.address}/v1/kv/watch?key=a`);
  request.on('error', () => undefined);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  request.destroy();
  await new Promise((resolve) => response.on('close', resolve));
  await server.stop(new KvError('KV_STOPPED'), Number.MAX_SAFE_INTEGER);
  await expect(fetch(`http://${server.address}/livez`)).rejects.toThrow();
});
