import { KvError } from '@kvorum/base';
import type { FastifyInstance } from 'fastify';
import type { Host } from '../host.ts';
import { isForeignPage } from './sessions.ts';

/** Losing and getting back members of a development cluster, all of which run in one process. */
export interface DevControl {
  /**
   * The member meant by `m2` or `2`, when it may be killed. Errors: KV_INVALID_ARGUMENT when there is none, it does not run, or it
   * is the last one that runs.
   */
  checkKill(member: string): string;
  /** As abruptly as one process can: its connections are cut, nothing is handed over. Errors: as checkKill. */
  killMember(member: string): Promise<void>;
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
      const name = dev.checkKill(member);
      if (name !== host.name) {
        await dev.killMember(name);
      } else {
        // It has to answer before it dies.
        reply.raw.once('finish', () => {
          dev.killMember(name).catch((error: unknown) => {
            host.logger.error({ err: error }, 'the member could not be killed');
          });
        });
      }
      return { member: name, running: false };
    },
  );
}
