import { create, type Message } from '@bufbuild/protobuf';
import { isKvError, prefixEnd, utf8 } from '@kvorum/base';
import { afterAll, beforeAll } from 'vitest';
import { etcdServices } from '../../src/etcd/etcd-services.ts';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import type { Service } from '../../src/etcd/service.ts';
import type { Host } from '../../src/host.ts';
import { Collected, callOf, Pushed } from './etcd-calls.ts';
import { type OneMember, startOneMember, temporaryDirectory } from './one-member.ts';

/** Calls the methods of services as a transport does, by their names. */
export class ServiceCalls {
  readonly #services: readonly Service[];

  constructor(services: readonly Service[]) {
    this.#services = services;
  }

  /** The answer of a method; of a streaming one its first answer, or nothing when it ends without one. */
  async call(
    path: string,
    request: Readonly<Record<string, unknown>> = {},
    token?: string,
  ): Promise<Message | undefined> {
    const [service, name] = path.split('/');
    const method = this.#services
      .find((one) => one.name.endsWith(`.${service ?? ''}`))
      ?.methods.find((one) => one.descriptor.name === name);
    if (method === undefined) throw new TypeError(`no method ${path}`);
    const message = create(method.descriptor.input, request);
    const over = new AbortController();
    const call = callOf(token === undefined ? {} : { token }, over.signal);
    if (method.kind === 'unary') return method.handle(message, call);
    const outgoing = new Collected<Message>();
    const requests = new Pushed<Message>();
    requests.push(message);
    const done =
      method.kind === 'bidi_streaming'
        ? method.handle(requests, outgoing, call)
        : method.handle(message, outgoing, call);
    await Promise.race([done, outgoing.first(1)]);
    over.abort();
    requests.end();
    done.catch(() => undefined);
    return outgoing.messages[0];
  }

  /** `OK`, or the code and status of the refusal. */
  async outcome(
    path: string,
    request: Readonly<Record<string, unknown>> = {},
    token?: string,
  ): Promise<string> {
    try {
      await this.call(path, request, token);
      return 'OK';
    } catch (error) {
      if (isKvError(error)) return error.code;
      if (error instanceof GrpcError) return `${error.status} ${error.message}`;
      throw error;
    }
  }
}

/**
 * A member of its own with authorization enabled: `root`, `app` (reads and writes what begins with `app/`, reads `m`) and `nobody`,
 * whose passwords are `pw-` and their names.
 */
export function authMember() {
  const directory = temporaryDirectory();
  let one: OneMember | undefined;
  const running = (): OneMember => {
    if (one === undefined) throw new TypeError('not started');
    return one;
  };
  const tokens: Record<'root' | 'app' | 'nobody', string> = { root: '', app: '', nobody: '' };
  const member = {
    tokens,
    get host(): Host {
      return running().member.host;
    },
    get url(): string {
      return running().url;
    },
    get log(): readonly string[] {
      return running().log;
    },
    get calls(): ServiceCalls {
      return new ServiceCalls(etcdServices(running().member.host));
    },
    async logIn(name: string): Promise<string> {
      const request = { name, password: `pw-${name}` };
      const answer = await member.calls.call('Auth/Authenticate', request);
      return (answer as Message & { readonly token: string }).token;
    },
  };
  beforeAll(async () => {
    const values = { shards: 1, logLevel: 'trace', 'auth.bcryptCost': 4 };
    one = await startOneMember(directory.path, values);
    const { calls } = member;
    await calls.call('KV/Put', { key: utf8('other'), value: utf8('hidden') });
    for (const name of ['root', 'app', 'nobody']) {
      await calls.call('Auth/UserAdd', { name, password: `pw-${name}` });
    }
    await calls.call('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await calls.call('Auth/RoleAdd', { name: 'app' });
    const below = { permType: 2, key: utf8('app/'), rangeEnd: prefixEnd(utf8('app/')) };
    await calls.call('Auth/RoleGrantPermission', { name: 'app', perm: below });
    const single = { permType: 0, key: utf8('m'), rangeEnd: new Uint8Array(0) };
    await calls.call('Auth/RoleGrantPermission', { name: 'app', perm: single });
    await calls.call('Auth/UserGrantRole', { user: 'app', role: 'app' });
    await calls.call('Auth/AuthEnable');
    for (const name of ['root', 'app', 'nobody'] as const) tokens[name] = await member.logIn(name);
  });
  afterAll(async () => {
    await one?.stop();
    directory.remove();
  });
  return member;
}
