import { KvError } from '@kvorum/base';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { InputError } from '../exit.ts';
import { jsonLine } from '../output.ts';

const NOT_FOUND = 404;

const HELP = `
A development cluster (npm start, kvd dev) runs all its members in one process. These commands take
one of them away as abruptly as that allows, and bring it back; MEMBER is 2 or m2. They work on this
machine only, and on no other kind of cluster.

Examples:
  kvctl dev kill 2
  kvctl put greeting 'still here'
  kvctl status
  kvctl dev start 2`;

type Action = 'kill' | 'start';

const DONE: Readonly<Record<Action, string>> = {
  kill: 'was killed',
  start: 'runs again',
};

interface Answer {
  readonly member?: string;
  readonly error?: { readonly message?: string; readonly details?: { readonly hint?: string } };
}

function urlOf(endpoint: string, member: string, action: Action): string {
  const base = endpoint.includes('://') ? endpoint : `http://${endpoint}`;
  return `${base.replace(/\/$/, '')}/v1/dev/members/${encodeURIComponent(member)}/${action}`;
}

/** undefined: nobody answers there. */
async function ask(url: string, context: Context): Promise<Response | undefined> {
  const { signal, timeoutMs } = context.call();
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    return await fetch(url, { method: 'POST', signal: limit });
  } catch (error) {
    if (error instanceof Error && error.name === 'TimeoutError') {
      throw new KvError('KV_DEADLINE', `${url} did not answer in time`);
    }
    if (signal.aborted) throw error;
    return undefined;
  }
}

async function memberOf(response: Response): Promise<string> {
  if (response.status === NOT_FOUND) {
    throw new InputError('this is no development cluster', 'start one with `npm start`');
  }
  const answer = (await response.json()) as Answer;
  if (answer.member !== undefined) return answer.member;
  const message = (answer.error?.message ?? `HTTP ${response.status}`).replace(/^kv: [^:]*: /, '');
  throw new InputError(message, answer.error?.details?.hint);
}

async function change(context: Context, action: Action, member: string): Promise<void> {
  const { endpoints, format } = context.globals();
  for (const endpoint of endpoints) {
    const response = await ask(urlOf(endpoint, member, action), context);
    if (response === undefined) continue;
    const name = await memberOf(response);
    if (format === 'json') context.io.out(jsonLine({ member: name, running: action === 'start' }));
    else context.io.out(`${name} ${DONE[action]}\n`);
    return;
  }
  throw new KvError('KV_UNAVAILABLE', `nobody answers at ${endpoints.join(', ')}`);
}

export function addDev(program: Command, context: Context): void {
  const dev = program
    .command('dev')
    .description('Kill and restart members of a development cluster')
    .addHelpText('after', HELP);
  dev
    .command('kill')
    .argument('<member>', '2 or m2')
    .description('Let a member die: its connections are cut, nothing is handed over')
    .action((member: string) => change(context, 'kill', member));
  dev
    .command('start')
    .argument('<member>', '2 or m2')
    .description('Start a killed member again on its data')
    .action((member: string) => change(context, 'start', member));
}
