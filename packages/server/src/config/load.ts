import { readFileSync } from 'node:fs';
import { KvError } from '@kvorum/base';
import { parse as parseYaml } from 'yaml';
import { nearestName } from './nearest.ts';
import {
  CONFIG_SCHEMA,
  type ConfigLeaf,
  configLeaves,
  environmentName,
  flagName,
  type KvdConfig,
  type Schema,
} from './schema.ts';
import { type Tree, validateConfig } from './validate.ts';

export interface ConfigInput {
  /** Path of the YAML file, if any. */
  readonly file?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Leaf path -> text, as given on the command line. */
  readonly flags: Readonly<Record<string, string>>;
  /** Values between the defaults and the file: what a command (kvd dev) sets for itself. */
  readonly preset?: Readonly<Record<string, unknown>>;
  /** Values nothing may override: what a command decides itself. */
  readonly fixed?: Readonly<Record<string, unknown>>;
}

export interface LoadedConfig {
  readonly config: KvdConfig;
  /** Leaf path -> where its value came from, for people. */
  readonly sources: ReadonlyMap<string, string>;
}

const configError = (problem: string, hint?: string): KvError =>
  new KvError('KV_CONFIG', problem, hint === undefined ? {} : { details: { hint } });

/** Variables that steer the process itself and are no configuration values. */
const OTHER_VARIABLES = ['KVD_CONFIG'];

/**
 * The effective configuration: defaults < preset < file < environment (`KVD_…`) < flags.
 *
 * Errors: KV_CONFIG naming the key, what was expected, what was found and where it came from; every problem at once.
 */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const leaves = configLeaves();
  const tree: Tree = {};
  const sources = new Map<string, string>();
  const set = (leaf: ConfigLeaf, value: unknown, source: string): void => {
    setPath(tree, leaf.path, value);
    sources.set(leaf.path, source);
  };
  for (const leaf of leaves) {
    if (leaf.schema.default !== undefined) set(leaf, structuredClone(leaf.schema.default), 'default');
  }
  for (const [path, value] of Object.entries(input.preset ?? {})) {
    setPath(tree, path, value);
    sources.set(path, 'default of this command');
  }
  if (input.file !== undefined) mergeFile(tree, readYaml(input.file), input.file, sources);
  const known = leaves.map((leaf) => environmentName(leaf.path));
  for (const [name, text] of Object.entries(input.environment)) {
    if (!name.startsWith('KVD_') || text === undefined || OTHER_VARIABLES.includes(name)) continue;
    const leaf = leaves.find((candidate) => environmentName(candidate.path) === name);
    if (leaf === undefined) throw unknownName(`environment variable ${name}`, name, known);
    set(leaf, fromText(text, leaf.schema), `environment variable ${name}`);
  }
  for (const [path, text] of Object.entries(input.flags)) {
    const leaf = leaves.find((candidate) => candidate.path === path);
    if (leaf !== undefined) set(leaf, fromText(text, leaf.schema), `flag ${flagName(path)}`);
  }
  for (const [path, value] of Object.entries(input.fixed ?? {})) {
    setPath(tree, path, value);
    sources.set(path, 'this command');
  }
  return { config: checkMeaning(validateConfig(tree, sources), input.fixed !== undefined), sources };
}

function unknownName(what: string, name: string, known: readonly string[]): KvError {
  const near = nearestName(name, known);
  return configError(
    near === undefined ? `unknown ${what}` : `unknown ${what}; did you mean ${near}?`,
    '`kvd config schema` lists every key',
  );
}

function readYaml(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new KvError('KV_CONFIG', `cannot read ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    return parseYaml(text, { strict: true, uniqueKeys: true });
  } catch (error) {
    throw new KvError('KV_CONFIG', `${file} is not YAML: ${(error as Error).message.split('\n')[0]}`, {
      cause: error,
    });
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeFile(
  tree: Tree,
  value: unknown,
  file: string,
  sources: Map<string, string>,
): void {
  if (value === null || value === undefined) return;
  if (!isTree(value)) throw configError(`${file} must hold a mapping of keys to values`);
  mergeSection(tree, value, CONFIG_SCHEMA, '', `file ${file}`, sources);
}

function mergeSection(
  tree: Tree,
  from: Tree,
  schema: Schema,
  prefix: string,
  source: string,
  sources: Map<string, string>,
): void {
  for (const [name, value] of Object.entries(from)) {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    const child = schema.properties?.[name];
    if (child?.type === 'object' && isTree(value)) {
      mergeSection(tree, value, child, path, source, sources);
    } else {
      setPath(tree, path, value);
      sources.set(path, source);
    }
  }
}

function setPath(tree: Tree, path: string, value: unknown): void {
  const parts = path.split('.');
  const last = parts.pop() ?? path;
  let at = tree;
  for (const part of parts) {
    const next = Object.hasOwn(at, part) ? at[part] : undefined;
    if (isTree(next)) {
      at = next;
    } else {
      const created: Tree = {};
      define(at, part, created);
      at = created;
    }
  }
  define(at, last, value);
}

/** Plain assignment would run the setter of a key called `__proto__`. */
function define(tree: Tree, name: string, value: unknown): void {
  Object.defineProperty(tree, name, { value, enumerable: true, writable: true, configurable: true });
}

/** Text of a variable or flag as the schema's type; what does not fit stays text for the validator to refuse. */
function fromText(text: string, schema: Schema): unknown {
  if (schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (schema.type === 'integer') return /^-?[0-9]+$/.test(text) ? Number(text) : text;
  if (schema.type !== 'array') return text;
  if (schema.items?.type === 'string') return text === '' ? [] : text.split(',').map((s) => s.trim());
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text; // the validator says what was expected
  }
}

/** What the schema cannot say. `oneProcess`: all members live in this process (kvd dev). */
function checkMeaning(config: KvdConfig, oneProcess: boolean): KvdConfig {
  const members =
    config.members.length > 0
      ? config.members
      : [{ name: config.name, peer: config.listenPeer, client: config.listenClient }];
  const names = members.map((member) => member.name);
  if (!names.includes(config.name)) {
    throw configError(`name "${config.name}" is not one of members (${names.join(', ')})`);
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw configError(`members names "${twice}" twice`);
  if (config.log.kind === 'kafka' && config.log.brokers.length === 0) {
    throw configError(
      'log.kind is kafka but log.brokers is empty',
      'set log.brokers, KVD_LOG_BROKERS or --log-brokers to host:port,host:port',
    );
  }
  if (config.log.kind === 'local' && members.length > 1 && !oneProcess) {
    throw configError(
      'log.kind local serves one process, but members lists several',
      'use log.kind kafka, or `kvd dev` for several members in one process',
    );
  }
  if (config.replicas !== 0 && config.replicas !== members.length) {
    throw configError(
      `replicas is ${config.replicas}, but this version keeps a copy of every shard on each of the ` +
        `${members.length} members`,
      'set replicas to 0',
    );
  }
  if (config.shards > config.limits.shardsMax) {
    throw configError(`shards is ${config.shards}, above limits.shardsMax ${config.limits.shardsMax}`);
  }
  if (config.limits.electionMsMin > config.limits.electionMsMax) {
    throw configError('limits.electionMsMin is above limits.electionMsMax');
  }
  return { ...config, members };
}
