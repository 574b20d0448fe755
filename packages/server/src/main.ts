#!/usr/bin/env node
import { KvError } from '@kvorum/base';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { DevOptions } from './cli/dev-cluster.ts';
import { dev } from './cli/dev-command.ts';
import { EXIT, reportFatal } from './cli/exit.ts';
import { serve } from './cli/serve-command.ts';
import { type LoadedConfig, loadConfig } from './config/load.ts';
import { printConfig } from './config/print.ts';
import { configLeaves, environmentName, flagName, schemaText } from './config/schema.ts';
import { compileSooner } from './runtime-flags.ts';
import { serverVersion } from './version.ts';

const AFTER_HELP = `
Configuration: file < environment (KVD_...) < flags. \`kvd config print\` shows every value and where it came from.
Exit codes: 0 stopped, 1 failed, 2 configuration, 3 data directory, 4 log does not answer, 5 log is not safe,
6 halted or corrupt, 70 bug.`;

/** Every configuration value as a flag; limits are left out of --help, `kvd config schema` explains them. */
function addConfigOptions(command: Command): Command {
  command.option('-c, --config <file>', 'YAML configuration file (or KVD_CONFIG)');
  for (const { path, schema } of configLeaves()) {
    const option = new Option(
      `${flagName(path)} <${schema.type}>`,
      `${schema.description} [${environmentName(path)}]`,
    );
    command.addOption(path.startsWith('limits.') ? option.hideHelp() : option);
  }
  return command;
}

/** The command and those around it, outermost first: their options may stand before the command's name. */
function withParents(command: Command): Command[] {
  return command.parent === null ? [command] : [...withParents(command.parent), command];
}

/** Flags given on the command line, by path. */
function givenFlags(command: Command): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    const leaf = configLeaves().find(({ path }) => flagName(path) === option.long);
    if (leaf !== undefined && typeof value === 'string') flags[leaf.path] = value;
  }
  return flags;
}

/** The configuration of a command, from the options before and behind its name; the latter win. */
function load(command: Command): LoadedConfig {
  const commands = withParents(command);
  const given: readonly unknown[] = commands.map((one): unknown => one.getOptionValue('config'));
  const named = given.filter((file) => typeof file === 'string');
  const file = named.at(-1) ?? process.env['KVD_CONFIG'];
  return loadConfig({
    ...(file === undefined ? {} : { file }),
    environment: process.env,
    flags: Object.assign({}, ...commands.map(givenFlags)) as Record<string, string>,
  });
}

/** `kvd dev` has options of its own, some of the same names: those before it would be ignored in silence. */
function refuseBefore(name: string, command: Command): void {
  const before = withParents(command).slice(0, -1);
  const [first] = before.flatMap((one) =>
    one.options.filter((option) => one.getOptionValueSource(option.attributeName()) === 'cli'),
  );
  if (first === undefined) return;
  throw new KvError('KV_CONFIG', `${first.long ?? first.flags} stands before ${name}`, {
    details: { hint: `options of kvd ${name} stand behind it; see kvd ${name} --help` },
  });
}

const integer =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
  };

interface DevFlags {
  readonly members: number;
  readonly shards: number;
  readonly dataDir: string;
  readonly clientPort: number;
  readonly ephemeral?: boolean;
  readonly log: 'local' | 'kafka';
  readonly brokers?: string;
}

function devOptions(flags: DevFlags): DevOptions {
  const brokers = (flags.brokers ?? '').split(',').filter((broker) => broker !== '');
  if (flags.log === 'kafka' && brokers.length === 0) {
    throw new KvError('KV_CONFIG', '--log kafka needs --brokers host:port,host:port');
  }
  return { ...flags, brokers, ephemeral: flags.ephemeral === true };
}

function createProgram(finish: (code: number) => void): Command {
  const program = addConfigOptions(new Command('kvd'))
    // Else the options of kvd would also be taken from behind `dev`, which has some of the same names.
    .enablePositionalOptions()
    .description('Kvorum: a sharded, strongly consistent key-value store on Kafka topics.')
    .addHelpText('after', AFTER_HELP)
    .showHelpAfterError('(kvd --help lists the options)');
  // Before the subcommands, which inherit it.
  program.exitOverride((error) => {
    process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.config);
  });
  addConfigOptions(
    program.command('serve', { isDefault: true }).description('run a member (default)'),
  )
    .addHelpText('after', AFTER_HELP)
    .action(async (_flags: unknown, command: Command) => {
      finish(await serve(load(command)));
    });
  program
    .command('dev')
    .description('a whole cluster in one process, for development')
    .option('--members <n>', 'members', integer(1, 9), 3)
    .option('--shards <n>', 'shards; another number at a later start scales', integer(1, 1024), 4)
    .option('--data-dir <dir>', 'where the data is kept', './kvorum-data')
    .option(
      '--client-port <port>',
      'first client port; member i has port + 10*i',
      integer(1, 65_000),
      2379,
    )
    .option('--ephemeral', 'use a temporary directory and remove it at exit')
    .addOption(
      new Option('--log <kind>', 'the shared log').choices(['local', 'kafka']).default('local'),
    )
    .option('--brokers <list>', 'Kafka brokers, host:port,host:port')
    .action(async (flags: DevFlags, command: Command) => {
      refuseBefore('dev', command);
      finish(await dev(devOptions(flags)));
    });
  const config = addConfigOptions(program.command('config'))
    .enablePositionalOptions()
    .description('show and check the configuration');
  addConfigOptions(
    config.command('print').description('every effective value and its source'),
  ).action((_flags: unknown, command: Command) => {
    process.stdout.write(printConfig(load(command)));
  });
  addConfigOptions(
    config.command('validate').description('check and say nothing when it is right'),
  ).action((_flags: unknown, command: Command) => {
    load(command);
  });
  config
    .command('schema')
    .description('the JSON schema of the file')
    .action(() => {
      process.stdout.write(schemaText());
    });
  program
    .command('version')
    .description('print the version')
    .action(() => {
      process.stdout.write(`${serverVersion()}\n`);
    });
  return program;
}

compileSooner();
process.on('uncaughtException', (error) => {
  process.exit(reportFatal(error, process.stderr));
});

const program = createProgram((code) => {
  // Nothing may keep a stopped server alive: everything worth closing is closed.
  process.exit(code);
});
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFatal(error, process.stderr);
}
