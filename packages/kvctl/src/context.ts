import { userInfo } from 'node:os';
import {
  type ConnectOptions,
  type Credentials,
  KvorumClient,
  stateOf,
  type Watch,
} from '@kvorum/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { EXIT, Exit, InputError } from './exit.ts';
import type { Io } from './io.ts';
import { FORMATS, type Look } from './output.ts';

export const DEFAULT_ENDPOINTS =
  'http://127.0.0.1:2379,http://127.0.0.1:2389,http://127.0.0.1:2399';

/**
 * Whoever is there answers in this time; a person waits no longer to read that nobody is, unless a --timeout was asked for or
 * somebody says that it is starting. --dial-timeout names another one.
 */
const DIAL_MS_MAX = 2000;

export interface Globals extends Look {
  readonly endpoints: readonly string[];
  readonly timeoutMs: number;
  /** Somebody named the time: it holds for a watch too. */
  readonly timeoutGiven: boolean;
  /** How long one waits for anybody to answer. */
  readonly dialMs: number;
}

export interface Call {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** What a command works with. */
export interface Context {
  readonly io: Io;
  readonly globals: () => Globals;
  /** Connects, runs, closes; an interrupt ends it with its exit code. */
  readonly withClient: <T>(run: (client: KvorumClient) => Promise<T>) => Promise<T>;
  /** The same without a member that serves: for questions about the members themselves. */
  readonly withMembers: <T>(run: (client: KvorumClient, call: Call) => Promise<T>) => Promise<T>;
  /** From --cacert, --cert and --key. */
  readonly tls: () => ConnectOptions['tls'];
  /** From --user and --password, or --auth-jwt-token. */
  readonly credentials: () => Credentials | undefined;
  /** The same for requests over HTTP. */
  readonly authorization: () => string | undefined;
  /** `signal` and `timeoutMs` for a call. */
  readonly call: () => Call;
  /** Filled with the watches that begin, where somebody wants to know of them. */
  readonly watches?: Set<Watch>;
}

/** `--prev-kv` of `get` is `KVCTL_GET_PREV_KV`; of kvctl itself `KVCTL_PREV_KV`. */
export function environmentName(command: Command, flag: string): string {
  const path: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) path.unshift(at.name());
  return ['KVCTL', ...path, flag].join('_').toUpperCase().replace(/-/g, '_');
}

/** Adds an option that its environment variable can set too. */
export function flag(
  command: Command,
  flags: string,
  description: string,
  more: (option: Option) => Option = (option) => option,
): void {
  const option = more(new Option(flags, description));
  const name = environmentName(command, option.name());
  // A switch is on when its variable is set; `0`, `false` and nothing leave it off.
  const isSwitch = !option.required && !option.optional;
  const switchedOff = isSwitch && ['', '0', 'false'].includes(process.env[name] ?? 'unset');
  command.addOption(switchedOff ? option : option.env(name));
}

/** The longest that a timer of Node waits; a longer one would fire at once. */
const DURATION_MS_MAX = 2 ** 31 - 1;

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const DURATION = /^\d+(\.\d+)?$|^(\d+(\.\d+)?(ms|s|m|h))+$/;

/** Milliseconds of `250ms`, `5s`, `2h30m` or plain seconds; undefined for any other text. */
export function durationOf(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  let ms = 0;
  for (const [, count, unit = 's'] of text.matchAll(/([\d.]+)(ms|s|m|h)?/g)) {
    ms += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return ms;
}

/** Reads `250ms`, `5s`, `2m` or plain seconds; milliseconds. */
export function parseDuration(text: string): number {
  const ms = durationOf(text) ?? 0;
  if (!(ms > 0)) throw new InputError(`"${text}" is not a duration`, 'write 500ms, 5s or 2m');
  if (ms <= DURATION_MS_MAX) return ms;
  throw new InputError(`"${text}" is too long a duration`, 'the longest is 35791m, 24 days');
}

export function parseCount(text: string): number {
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new InputError(`"${text}" is not a whole number`);
  }
  return Number(text);
}

/** One of `names`, in capitals or not. */
export function oneOf(option: Option, names: readonly string[]): Option {
  const parse = (text: string): string => {
    const found = names.find((name) => name.toLowerCase() === text.toLowerCase());
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Allowed choices are ${names.join(', ')}.`);
  };
  return option.choices(names).argParser(parse);
}

export function addGlobals(program: Command): void {
  flag(program, '--endpoints <list>', 'members to talk to, separated by commas', (option) =>
    option.default(DEFAULT_ENDPOINTS),
  );
  flag(program, '--timeout <duration>', 'time for the whole command, retries included', (option) =>
    option.default('5s'),
  );
  flag(program, '--command-timeout <duration>', 'the same, as etcdctl calls it');
  flag(program, '--dial-timeout <duration>', 'give up when nobody answers for so long (2s)');
  flag(program, '-w, --write-out <format>', 'form of the output', (option) =>
    option.choices(FORMATS).default('simple'),
  );
  flag(program, '--hex', 'keys and values as \\xNN');
  flag(program, '--cacert <file>', "CA that signed the members' certificates (PEM)");
  flag(program, '--cert <file>', 'client certificate (PEM)');
  flag(program, '--key <file>', 'key of the client certificate (PEM)');
  flag(program, '--insecure-skip-tls-verify', 'take any certificate of a member: for tests only');
  flag(program, '--user <name>', 'user, or user:password; needed once authorization is enabled');
  flag(program, '--password <password>', 'its password; better in KVCTL_PASSWORD, or asked for');
  flag(program, '--auth-jwt-token <token>', 'a token instead; better in KVCTL_AUTH_JWT_TOKEN');
  flag(program, '--keepalive-time <duration>', 'ask a connection that is silent so long (1s)');
  flag(program, '--keepalive-timeout <duration>', 'give it up so long after that (1.5s)');
  // Scripts for etcdctl give these; nothing here depends on them.
  for (const unused of ['--debug', '--insecure-transport', '--insecure-discovery']) {
    flag(program, unused, 'without effect, as etcdctl has it', (option) => option.hideHelp());
  }
  for (const unused of ['--max-request-bytes <n>', '--max-recv-bytes <n>']) {
    flag(program, unused, 'without effect, as etcdctl has it', (option) => option.hideHelp());
  }
}

type TextOptions = Readonly<Record<string, string | undefined>>;

/** From --user and --password, or --auth-jwt-token. */
function credentialsOf(program: Command): Credentials | undefined {
  const { user, password, authJwtToken: token } = program.opts<TextOptions>();
  if (token !== undefined) return { token };
  if (user === undefined) return undefined;
  if (password !== undefined) return { user, password };
  const at = user.indexOf(':');
  if (at < 0) throw new InputError(`no password of ${user}`, 'set KVCTL_PASSWORD');
  return { user: user.slice(0, at), password: user.slice(at + 1) };
}

/** Asks a person for the password of --user, when there is one to ask. */
export async function askForPassword(program: Command, io: Io): Promise<void> {
  const { user, password, authJwtToken } = program.opts<TextOptions>();
  if (io.askSecret === undefined || user === undefined || user.includes(':')) return;
  if (password !== undefined || authJwtToken !== undefined) return;
  program.setOptionValue('password', await io.askSecret('Password: '));
}

function globalsOf(program: Command): Globals {
  const options = program.opts<TextOptions>();
  const { commandTimeout, dialTimeout } = options;
  const given = (name: string): boolean => program.getOptionValueSource(name) !== 'default';
  return {
    endpoints: (options['endpoints'] ?? '').split(',').filter((text) => text !== ''),
    timeoutMs: parseDuration(commandTimeout ?? options['timeout'] ?? '5s'),
    timeoutGiven: commandTimeout !== undefined || given('timeout'),
    dialMs: dialTimeout === undefined ? DIAL_MS_MAX : parseDuration(dialTimeout),
    format: FORMATS.find((format) => format === options['writeOut']) ?? 'simple',
    hex: program.getOptionValue('hex') === true,
  };
}

export function contextOf(program: Command, io: Io, readFile: (path: string) => string): Context {
  const globals = (): Globals => globalsOf(program);
  /** What connecting took of the time for the whole command. */
  let connectingMs = 0;
  const call: Context['call'] = () => ({
    signal: io.signal,
    timeoutMs: Math.max(1, globals().timeoutMs - connectingMs),
  });
  const connectOptions = (): ConnectOptions & { readonly timeoutMs: number } => ({
    endpoints: globals().endpoints,
    timeoutMs: Math.min(globals().timeoutMs, globals().dialMs),
    name: `kvctl@${userName()}`,
    tls: tlsOf(program, readFile),
    auth: credentialsOf(program),
    ...pingsOf(program),
  });
  const use = async <T>(client: KvorumClient, run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      if (io.signal.aborted) throw new Exit(EXIT.unhealthyOrInterrupted);
      throw error;
    } finally {
      await client.close();
    }
  };
  return {
    io,
    globals,
    call,
    tls: () => tlsOf(program, readFile),
    credentials: () => credentialsOf(program),
    authorization: () => authorizationOf(credentialsOf(program)),
    withClient: async (run) => {
      const client = new KvorumClient(connectOptions());
      return use(client, async () => {
        const startedMs = performance.now();
        await untilServed(client, globals(), io.signal);
        connectingMs = performance.now() - startedMs;
        return run(client);
      });
    },
    withMembers: (run) => {
      const options = connectOptions();
      const client = new KvorumClient(options);
      return use(client, () => run(client, { signal: io.signal, timeoutMs: options.timeoutMs }));
    },
  };
}

/** The HTTP header for whoever asks. */
export function authorizationOf(shown: Credentials | undefined): string | undefined {
  if (shown === undefined) return undefined;
  if ('token' in shown) return `Bearer ${shown.token}`;
  return `Basic ${Buffer.from(`${shown.user}:${shown.password}`).toString('base64')}`;
}

/** Who the audit says it was. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown'; // a container may run under a number that has no name
  }
}

async function untilServed(
  client: KvorumClient,
  { timeoutGiven, timeoutMs, dialMs }: Globals,
  signal: AbortSignal,
): Promise<void> {
  const firstMs = timeoutGiven ? timeoutMs : Math.min(timeoutMs, dialMs);
  try {
    await client.ready({ signal, timeoutMs: firstMs });
  } catch (error) {
    const leftMs = timeoutMs - firstMs;
    if (leftMs <= 0 || stateOf(error) !== 'starting') throw error;
    await client.ready({ signal, timeoutMs: leftMs });
  }
}

function pingsOf(program: Command): Pick<ConnectOptions, 'pingIntervalMs' | 'pingTimeoutMs'> {
  const { keepaliveTime, keepaliveTimeout } = program.opts<TextOptions>();
  return {
    ...(keepaliveTime === undefined ? {} : { pingIntervalMs: parseDuration(keepaliveTime) }),
    ...(keepaliveTimeout === undefined ? {} : { pingTimeoutMs: parseDuration(keepaliveTimeout) }),
  };
}

function tlsOf(program: Command, readFile: (path: string) => string): ConnectOptions['tls'] {
  const { cacert, cert, key } = program.opts<TextOptions>();
  const trusting = program.getOptionValue('insecureSkipTlsVerify') === true;
  if (cacert === undefined && cert === undefined && key === undefined && !trusting) {
    return undefined;
  }
  return {
    ...(cacert === undefined ? {} : { ca: readFile(cacert) }),
    ...(cert === undefined ? {} : { cert: readFile(cert) }),
    ...(key === undefined ? {} : { key: readFile(key) }),
    ...(trusting ? { rejectUnauthorized: false } : {}),
  };
}
