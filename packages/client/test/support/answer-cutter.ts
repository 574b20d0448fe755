import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { FRAME, unpackFrame } from '@kvorum/wire';
import { WebSocket, WebSocketServer } from 'ws';

/** Between a client and a real member: cuts the connection instead of delivering an answer. */
export class AnswerCutter {
  readonly #server: WebSocketServer;
  readonly #member: string;
  #method: string | undefined;
  #isResponseNext = false;
  cuts = 0;

  private constructor(server: WebSocketServer, member: string) {
    this.#server = server;
    this.#member = member;
    server.on('connection', (client) => this.#join(client));
  }

  static async start(memberUrl: string): Promise<AnswerCutter> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    return new AnswerCutter(server, memberUrl.replace('http', 'ws'));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next answer to this method is lost with its connection. */
  cutNext(method: string): void {
    this.#method = method;
  }

  /** The next answer to requests on keys is lost with its connection. */
  cutNextResponse(): void {
    this.#isResponseNext = true;
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client: WebSocket): void {
    const member = new WebSocket(`${this.#member}/v1/session`);
    const early: Buffer[] = [];
    const cut = new Set<unknown>();
    client.on('message', (data: Buffer) => {
      const [type, id, method] = unpackFrame(data) ?? [];
      if (type === FRAME.control && method === this.#method) {
        this.#method = undefined;
        cut.add(id);
      }
      if (member.readyState === WebSocket.OPEN) member.send(data);
      else early.push(data);
    });
    member.on('open', () => {
      for (const data of early) member.send(data);
    });
    member.on('message', (data: Buffer) => {
      const [type, id] = unpackFrame(data) ?? [];
      const isResponse = type === FRAME.responses && this.#isResponseNext;
      if (!isResponse && (type !== FRAME.controlResponse || !cut.has(id))) {
        client.send(data);
        return;
      }
      if (isResponse) this.#isResponseNext = false;
      this.cuts += 1;
      client.terminate();
    });
    client.on('close', () => member.terminate());
    member.on('close', () => client.terminate());
    client.on('error', () => undefined);
    member.on('error', () => undefined);
  }
}
