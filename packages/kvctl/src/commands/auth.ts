import { isPlain, prefixEnd, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { askEtcd } from '../etcd-gateway.ts';
import { InputError } from '../exit.ts';
import { jsonLine } from '../output.ts';

type Body = Readonly<Record<string, unknown>>;

/** Asks etcd's Auth service, as whoever the command line says. */
const ask = (context: Context, path: string, body: Body): Promise<Body> =>
  askEtcd(context, { path: `auth/${path}`, body });

/** The answer as JSON, or what etcdctl says. */
function print(context: Context, answer: Body, text: string): void {
  context.io.out(context.globals().format === 'json' ? jsonLine(answer) : `${text}\n`);
}

const namesIn = (answer: Body, field: string): readonly string[] => {
  const names = answer[field];
  return Array.isArray(names) ? names.map(String) : [];
};

interface PasswordFlags {
  readonly interactive: boolean;
}

/**
 * Asked for twice at a terminal; elsewhere, and with --no-interactive, the first line of standard input, so that it stands in no list of
 * processes.
 */
async function passwordFrom(
  context: Context,
  name: string,
  { interactive }: PasswordFlags,
): Promise<string> {
  const { askSecret } = context.io;
  if (interactive && askSecret !== undefined) {
    const password = await askSecret(`Password of ${name}: `);
    const again = await askSecret(`Type password of ${name} again for confirmation: `);
    if (password === again) return password;
    throw new InputError('given passwords are different');
  }
  const [line = ''] = Buffer.from(await context.io.stdin())
    .toString('utf8')
    .split('\n');
  if (line === '') throw new InputError('no password', 'give it as a line of standard input');
  return line;
}

function addInteractive(command: Command): void {
  flag(command, '--interactive', 'ask at the terminal', (option) =>
    option.default(true).hideHelp(),
  );
  flag(
    command,
    '--no-interactive',
    'read standard input, also at a terminal (--interactive=false)',
  );
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
  addUserAdd(user, context);
  const passwd = user
    .command('passwd')
    .description('Change a password: asked for, or a line of standard input')
    .argument('<name>');
  addInteractive(passwd);
  passwd.action(async (name: string, flags: PasswordFlags) => {
    const body = { name, password: await passwordFrom(context, name, flags) };
    print(context, await ask(context, 'user/changepw', body), 'Password updated');
  });
  user
    .command('delete')
    .description('Delete a user')
    .argument('<name>')
    .action(async (name: string) =>
      print(context, await ask(context, 'user/delete', { name }), `User ${name} deleted`),
    );
  addUserGet(user, context);
  user
    .command('list')
    .description('List the users')
    .action(async () => {
      const answer = await ask(context, 'user/list', {});
      print(context, answer, namesIn(answer, 'users').join('\n'));
    });
  addUserRoles(user, context);
}

function addUserAdd(user: Command, context: Context): void {
  const add = user
    .command('add')
    .description('Add a user; the password is asked for, or a line of standard input')
    .argument('<name>', 'name, or name:password');
  flag(add, '--no-password', 'no password logs this user in');
  flag(add, '--new-user-password <password>', 'where others may read it: in the list of processes');
  addInteractive(add);
  interface Flags extends PasswordFlags {
    readonly password: boolean;
    readonly newUserPassword?: string;
  }
  add.action(async (given: string, flags: Flags) => {
    const { newUserPassword } = flags;
    const at = flags.password && newUserPassword === undefined ? given.indexOf(':') : -1;
    const name = at < 0 ? given : given.slice(0, at);
    const inWords = at < 0 ? newUserPassword : given.slice(at + 1);
    const body = flags.password
      ? { name, password: inWords ?? (await passwordFrom(context, name, flags)) }
      : { name, options: { no_password: true } };
    print(context, await ask(context, 'user/add', body), `User ${name} created`);
  });
}

function addUserGet(user: Command, context: Context): void {
  const get = user.command('get').description('Show the roles of a user').argument('<name>');
  flag(get, '--detail', 'and what they allow');
  get.action(async (name: string, flags: { readonly detail?: boolean }) => {
    const answer = await ask(context, 'user/get', { name });
    const roles = namesIn(answer, 'roles');
    if (flags.detail !== true) {
      print(
        context,
        answer,
        ['User: ', name, '\nRoles:', ...roles.map((role) => ` ${role}`)].join(''),
      );
      return;
    }
    const found = await Promise.all(
      roles.map(async (role) => ({ role, ...(await ask(context, 'role/get', { role })) })),
    );
    const lines = found.flatMap((one) => ['', ...roleLines(one.role, one)]);
    print(context, { user: name, roles: found }, [`User: ${name}`, ...lines].join('\n'));
  });
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
      print(context, answer, roleLines(name, answer).join('\n'));
    });
  addPermissions(role, context);
}

const textOf = (base64: unknown): string =>
  typeof base64 === 'string' ? Buffer.from(base64, 'base64').toString('utf8') : '';

const ENDLESS = '\0';

/** `[from, to)`, as etcdctl writes it. */
const rangeText = (key: string, end: string): string =>
  end === ENDLESS ? `[${key}, <open ended>` : `[${key}, ${end})`;

function permissionLine(key: string, end: string): string {
  if (end === '') return `\t${key}`;
  const isPrefix = key !== '' && Buffer.from(prefixEnd(utf8(key))).toString('utf8') === end;
  return `\t${rangeText(key, end)}${isPrefix ? ` (prefix ${key})` : ''}`;
}

/** What a role allows, as etcdctl prints it. */
function roleLines(name: string, answer: Body): readonly string[] {
  const permissions = Array.isArray(answer['perm']) ? answer['perm'].filter(isPlain) : [];
  const everything = name === 'root' && permissions.length === 0;
  const allowing = (kind: string): readonly string[] =>
    everything
      ? [permissionLine('', ENDLESS)]
      : permissions
          .filter(({ permType = 'READ' }) => permType === kind || permType === 'READWRITE')
          .map(({ key, range_end: end }) => permissionLine(textOf(key), textOf(end)));
  return [`Role ${name}`, 'KV Read:', ...allowing('READ'), 'KV Write:', ...allowing('WRITE')];
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
      const range = bytesOf(key, end, flags);
      const answer = await ask(context, 'role/revoke', { role: name, ...range });
      const last = textOf(range['range_end']);
      const what = last === '' ? `key ${key}` : `range ${rangeText(textOf(range['key']), last)}`;
      print(context, answer, `Permission of ${what} is revoked from role ${name}`);
    },
  );
}
