import { KvError } from '@kvorum/base';
import type { FastifyInstance } from 'fastify';
import type { Host } from '../host.ts';
import { isForeignPage } from './sessions.ts';

/** A member that is to die. */
export interface Condemned {
  readonly name: string;
  /** To be called once. As abruptly as one process can: its connections are cut, nothing is handed over. */
  readonly kill: () => Promise<void>;
}

/** Losing and getting back members of a development cluster, all of which run in one process. */
export interface DevControl {
  /**
   * Condemns the member meant by `m2` or `2`: it counts as gone from now on, so that two cannot be the last but one at once.
   * Errors: KV_INVALID_ARGUMENT when there is none, it does not run or is condemned already, or it is the last one that runs.
   */
  condemn(member: string): Condemned;
  /** Resolves with its name once it serves again. Errors: KV_INVALID_ARGUMENT when there is none or it runs. */
  startMember(member: string): Promise<string>;
}

/** POST /v1/dev/members/m2/kill and …/start; `kvd dev` alone has them, and listens on this machine only. */
export function devRoutes(app: FastifyInstance, host: Host, dev: DevControl): void {
  app.post<{ Params: { readonly member: string; readonly action: string } }>(
    '/v1/dev/members/:member/:action',
    { schema: { hide: true } },
    async (request, reply) => {
      const { member, action } = request.params;
      if (isForeignPage(request.raw)) {
        throw new KvError('KV_INVALID_ARGUMENT', 'a page of another site may not do this');
      }
      if (action === 'start') return { member: await dev.startMember(member), running: true };
      if (action !== 'kill') {
        throw new KvError('KV_INVALID_ARGUMENT', `unknown action ${action} (known: kill, start)`);
      }
      const { name, kill } = dev.condemn(member);
      if (name !== host.name) {
        await kill();
      } else {
        // It has to answer before it dies; `close` comes after the answer, and also when nobody waits for it any more.
        reply.raw.once('close', () => {
          kill().catch((error: unknown) => {
            host.logger.error({ err: error }, 'the member could not be killed');
          });
        });
      }
      return { member: name, running: false };
    },
  );
}
