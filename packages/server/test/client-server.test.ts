import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { KvError } from '@kvorum/base';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ClientServer, startClientServer } from '../src/http/server.ts';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
let member: OneMember;
let server: ClientServer;
beforeAll(async () => {
  member = await startOneMember(directory.path);
  server = await startClientServer(member.member.host, '127.0.0.1:0');
});
afterAll(async () => {
  await member.stop();
  directory.remove();
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
