import { isPlain, prefixEnd, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { InputError } from '../exit.ts';
import { askJson } from '../member-http.ts';
import { jsonLine } from '../output.ts';

type Body = Readonly<Record<string, unknown>>;

/** Asks etcd's Auth service through its JSON gateway, as whoever the command line says. */
async function ask(context: Context, path: string, body: Body): Promise<Body> {
  const credentials = context.credentials();
  if (credentials === undefined || path === 'authenticate') return send(context, path, body);
  const { user: name, password } = credentials;
  const { token } = await send(context, 'authenticate', { name, password });
  return send(context, path, body, typeof token === 'string' ? token : '');
}

async function send(context: Context, path: string, body: Body, token?: string): Promise<Body> {
  const { endpoints } = context.globals();
  const answer = await askJson({
    urls: endpoints.map((one) => (one.includes('://') ? one : `http://${one}`)),
    path: `/v3/auth/${path}`,
    tls: context.tls(),
    authorization: token,
    signal: context.io.signal,
    body: { type: 'application/json', bytes: Buffer.from(JSON.stringify(body)) },
  });
  return isPlain(answer) ? answer : {};
}

/** The answer as JSON, or what etcdctl says. */
function print(context: Context, answer: Body, text: string): void {
  context.io.out(context.globals().format === 'json' ? jsonLine(answer) : `${text}\n`);
}

const namesIn = (answer: Body, field: string): readonly string[] => {
  const names = answer[field];
  return Array.isArray(names) ? names.map(String) : [];
};

/** The first line of standard input, so that it stands in no list of processes. */
async function passwordFrom(context: Context): Promise<string> {
  const [line = ''] = Buffer.from(await context.io.stdin())
    .toString('utf8')
    .split('\n');
  if (line === '') throw new InputError('no password', 'give it as a line of standard input');
  return line;
}

export function addAuth(program: Command, context: Context): void {
  const auth = program.command('auth').description('Enable and disable authorization');
  for (const [name, done] of [
    ['enable', 'Authentication Enabled'],
    ['disable', 'Authentication Disabled'],
  ] as const) {
    auth
      .command(name)
      .description(`${name === 'enable' ? 'Enable' : 'Disable'} authorization`)
      .action(async () => print(context, await ask(context, name, {}), done));
  }
  auth
    .command('status')
    .description('Whether it is enabled')
    .action(async () => {
      const answer = await ask(context, 'status', {});
      const { enabled = false, authRevision = '0' } = answer as {
        readonly enabled?: boolean;
        readonly authRevision?: string;
      };
      const text = `Authentication Status: ${enabled}\nAuthRevision: ${authRevision}`;
      print(context, answer, text);
    });
}

export function addUser(program: Command, context: Context): void {
  const user = program.command('user').description('Users');
  const add = user
    .command('add')
    .description('Add a user; the password is a line of standard input')
    .argument('<name>', 'name, or name:password');
  flag(add, '--no-password', 'no password logs this user in');
  add.action(async (given: string, flags: { readonly password: boolean }) => {
    const at = given.indexOf(':');
    const name = at < 0 ? given : given.slice(0, at);
    const inArgument = at < 0 ? undefined : given.slice(at + 1);
    const body = flags.password
      ? { name, password: inArgument ?? (await passwordFrom(context)) }
      : { name, options: { no_password: true } };
    print(context, await ask(context, 'user/add', body), `User ${name} created`);
  });
  user
    .command('passwd')
    .description('Change a password: a line of standard input')
    .argument('<name>')
    .action(async (name: string) => {
      const body = { name, password: await passwordFrom(context) };
      print(context, await ask(context, 'user/changepw', body), 'Password updated');
    });
  user
    .command('delete')
    .description('Delete a user')
    .argument('<name>')
    .action(async (name: string) =>
      print(context, await ask(context, 'user/delete', { name }), `User ${name} deleted`),
    );
  user
    .command('get')
    .description('Show the roles of a user')
    .argument('<name>')
    .action(async (name: string) => {
      const answer = await ask(context, 'user/get', { name });
      print(context, answer, `User: ${name}\nRoles: ${namesIn(answer, 'roles').join(' ')}`);
    });
  user
    .command('list')
    .description('List the users')
    .action(async () => {
      const answer = await ask(context, 'user/list', {});
      print(context, answer, namesIn(answer, 'users').join('\n'));
    });
  addUserRoles(user, context);
}

function addUserRoles(user: Command, context: Context): void {
  user
    .command('grant-role')
    .description('Give a role to a user')
    .argument('<name>')
    .argument('<role>')
    .action(async (name: string, role: string) => {
      const answer = await ask(context, 'user/grant', { user: name, role });
      print(context, answer, `Role ${role} is granted to user ${name}`);
    });
  user
    .command('revoke-role')
    .description('Take a role from a user')
    .argument('<name>')
    .argument('<role>')
    .action(async (name: string, role: string) => {
      const answer = await ask(context, 'user/revoke', { name, role });
      print(context, answer, `Role ${role} is revoked from user ${name}`);
    });
}

export function addRole(program: Command, context: Context): void {
  const role = program.command('role').description('Roles and what they allow');
  for (const [name, field, done] of [
    ['add', 'name', 'created'],
    ['delete', 'role', 'deleted'],
  ] as const) {
    role
      .command(name)
      .description(`${name === 'add' ? 'Add' : 'Delete'} a role`)
      .argument('<role>')
      .action(async (given: string) => {
        const answer = await ask(context, `role/${name}`, { [field]: given });
        print(context, answer, `Role ${given} ${done}`);
      });
  }
  role
    .command('list')
    .description('List the roles')
    .action(async () => {
      const answer = await ask(context, 'role/list', {});
      print(context, answer, namesIn(answer, 'roles').join('\n'));
    });
  role
    .command('get')
    .description('Show what a role allows')
    .argument('<role>')
    .action(async (name: string) => {
      const answer = await ask(context, 'role/get', { role: name });
      const lines = Array.isArray(answer['perm']) ? answer['perm'].map(permissionText) : [];
      print(context, answer, [`Role ${name}`, ...lines].join('\n'));
    });
  addPermissions(role, context);
}

function permissionText(plain: unknown): string {
  const {
    permType = 'READ',
    key = '',
    range_end: end = '',
  } = plain as Readonly<Record<'permType' | 'key' | 'range_end', string | undefined>>;
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');
  if (end === '') return `${permType.toLowerCase()} ${text(key)}`;
  const last = text(end) === '\0' ? '<open ended>' : `${text(end)})`;
  return `${permType.toLowerCase()} [${text(key)}, ${last}`;
}

interface RangeFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
}

function addPermissions(role: Command, context: Context): void {
  const ranged = (command: Command): Command => {
    command.argument('<key>').argument('[rangeEnd]', 'first key behind the range');
    flag(command, '--prefix', 'every key that begins with KEY');
    flag(command, '--from-key', 'every key from KEY on, in byte order');
    return command;
  };
  const bytesOf = (key: string, rangeEnd: string | undefined, flags: RangeFlags): Body => {
    const given = [flags.prefix === true, flags.fromKey === true, rangeEnd !== undefined];
    if (given.filter(Boolean).length > 1) {
      throw new InputError('give at most one of a range end, --prefix and --from-key');
    }
    const end = flags.prefix
      ? prefixEnd(utf8(key))
      : flags.fromKey
        ? RANGE_END_OPEN
        : utf8(rangeEnd ?? '');
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    // The first key there can be, as etcdctl: an empty one is none.
    return { key: base64(key === '' ? RANGE_END_OPEN : utf8(key)), range_end: base64(end) };
  };
  const grant = role.command('grant-permission').description('Allow something');
  ranged(grant.argument('<role>').argument('<kind>', 'read, write or readwrite')).action(
    async (...given: readonly [string, string, string, string | undefined, RangeFlags]) => {
      const [name, kind, key, end, flags] = given;
      if (!['read', 'write', 'readwrite'].includes(kind)) {
        throw new InputError(`"${kind}" is no kind of permission`, 'read, write or readwrite');
      }
      const perm = { permType: kind.toUpperCase(), ...bytesOf(key, end, flags) };
      const answer = await ask(context, 'role/grant', { name, perm });
      print(context, answer, `Role ${name} updated`);
    },
  );
  const revoke = role.command('revoke-permission').description('Allow it no longer');
  ranged(revoke.argument('<role>')).action(
    async (name: string, key: string, end: string | undefined, flags: RangeFlags) => {
      const answer = await ask(context, 'role/revoke', { role: name, ...bytesOf(key, end, flags) });
      print(context, answer, `Permission is revoked from role ${name}`);
    },
  );
}
