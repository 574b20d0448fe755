import { readFileSync } from 'node:fs';
import { KvError, SESSION_EVICTABLE_IDLE_MS } from '@kvorum/base';
import { parseDocument } from 'yaml';
import { autoCompactionPolicy } from './auto-compaction.ts';
import { nearestName } from './nearest.ts';
import {
  CONFIG_SCHEMA,
  type ConfigLeaf,
  configLeaves,
  environmentName,
  flagName,
  KAFKA_ELECTION_LIMITS,
  type KvdConfig,
  type LogConfig,
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
  const layers = new Layers();
  for (const { path, schema } of LEAVES) {
    if (schema.default !== undefined) layers.set(path, structuredClone(schema.default), 'default');
  }
  layers.setAll(input.preset, 'default of this command');
  if (input.file !== undefined) mergeFile(layers, readYaml(input.file), input.file);
  mergeEnvironment(layers, input.environment);
  for (const { path, schema } of LEAVES) {
    const text = input.flags[path];
    if (text !== undefined) layers.set(path, fromText(text, schema), `flag ${flagName(path)}`);
  }
  layers.setAll(input.fixed, 'this command');
  const first = validateConfig(layers.tree, layers.sources);
  listenAsMember(layers, first);
  waitForKafka(layers, first);
  const config = validateConfig(layers.tree, layers.sources);
  return { config: checkMeaning(config, input.fixed !== undefined), sources: layers.sources };
}

const LEAVES: readonly ConfigLeaf[] = configLeaves();

/** The values so far, the later layer over the earlier, and where each came from. */
class Layers {
  readonly tree: Tree = {};
  readonly sources = new Map<string, string>();

  set(path: string, value: unknown, source: string): void {
    setPath(this.tree, path, value);
    this.sources.set(path, source);
  }

  setAll(values: Readonly<Record<string, unknown>> | undefined, source: string): void {
    for (const [path, value] of Object.entries(values ?? {})) this.set(path, value, source);
  }
}

/** A member that is not told where to listen does so where the others and the clients look for it. */
function listenAsMember(layers: Layers, config: KvdConfig): void {
  const own = config.members.find((member) => member.name === config.name);
  if (own === undefined) return;
  const addresses = {
    listenClient: own.client.replace(/^https?:\/\//, ''),
    listenPeer: own.peer,
  };
  for (const [path, address] of Object.entries(addresses)) {
    if (layers.sources.get(path) === 'default') layers.set(path, address, 'its entry in members');
  }
}

/** Elections over Kafka are slower by default than those of members that hear each other directly. */
function waitForKafka(layers: Layers, config: KvdConfig): void {
  if (config.election !== 'kafka') return;
  for (const [name, value] of Object.entries(KAFKA_ELECTION_LIMITS)) {
    const path = `limits.${name}`;
    if (layers.sources.get(path) === 'default') {
      layers.set(path, value, 'default with election kafka');
    }
  }
}

function mergeEnvironment(layers: Layers, environment: ConfigInput['environment']): void {
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith('KVD_') || text === undefined || OTHER_VARIABLES.includes(name)) continue;
    const leaf = LEAVES.find((candidate) => environmentName(candidate.path) === name);
    if (leaf === undefined) {
      const known = LEAVES.map(({ path }) => environmentName(path));
      throw unknownName(`environment variable ${name}`, name, known);
    }
    layers.set(leaf.path, fromText(text, leaf.schema), `environment variable ${name}`);
  }
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
    // A warning is a mistake too: an unknown tag, say, whose value would be taken for something else.
    const document = parseDocument(text, { strict: true, uniqueKeys: true, logLevel: 'error' });
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw problem;
    return document.toJS();
  } catch (error) {
    throw new KvError(
      'KV_CONFIG',
      `${file} is not YAML: ${(error as Error).message.split('\n')[0]}`,
      { cause: error },
    );
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeFile(layers: Layers, value: unknown, file: string): void {
  if (value === null || value === undefined) return;
  if (!isTree(value)) throw configError(`${file} must hold a mapping of keys to values`);
  mergeSection(value, CONFIG_SCHEMA, '', (path, found) => layers.set(path, found, `file ${file}`));
}

function mergeSection(
  from: Tree,
  schema: Schema,
  prefix: string,
  set: (path: string, value: unknown) => void,
): void {
  for (const [name, value] of Object.entries(from)) {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    const child = schema.properties?.[name];
    if (child?.type === 'object' && isTree(value)) mergeSection(value, child, path, set);
    else set(path, value);
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
  Object.defineProperty(tree, name, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}

/** Text of a variable or flag as the schema's type; what does not fit stays text for the validator to refuse. */
function fromText(text: string, schema: Schema): unknown {
  if (schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (schema.type === 'integer') return /^-?[0-9]+$/.test(text) ? Number(text) : text;
  if (schema.type !== 'array') return text;
  if (schema.items?.type === 'string')
    return text === '' ? [] : text.split(',').map((s) => s.trim());
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
  checkKafka(config.log);
  if (config.election === 'kafka' && config.log.kind !== 'kafka') {
    throw configError(
      `election is kafka but log.kind is ${config.log.kind}: there is no Kafka to hold elections over`,
      'set log.kind to kafka and log.brokers, or election to peer',
    );
  }
  autoCompactionPolicy(config.autoCompaction);
  if (config.auth.token === 'jwt' && config.auth.jwt === undefined) {
    throw configError(
      'auth.token is jwt, but auth.jwt is not set',
      'set auth.jwt.signMethod and auth.jwt.keyFile',
    );
  }
  if (config.log.kind === 'local' && members.length > 1 && !oneProcess) {
    throw configError(
      'log.kind local serves one process, but members lists several',
      'use log.kind kafka, or `kvd dev` for several members in one process',
    );
  }
  if (config.shards > config.limits.shardsMax) {
    throw configError(
      `shards is ${config.shards}, above limits.shardsMax ${config.limits.shardsMax}`,
    );
  }
  if (config.limits.sessionIdleMsMax < SESSION_EVICTABLE_IDLE_MS) {
    throw configError(
      `limits.sessionIdleMsMax is ${config.limits.sessionIdleMsMax}: clients may still repeat a write ` +
        `then (at least ${SESSION_EVICTABLE_IDLE_MS})`,
    );
  }
  if (config.limits.electionMsMin > config.limits.electionMsMax) {
    throw configError('limits.electionMsMin is above limits.electionMsMax');
  }
  return { ...config, members };
}

function checkKafka(log: LogConfig): void {
  if (log.kind !== 'kafka') return;
  if (log.brokers.length === 0) {
    throw configError(
      'log.kind is kafka but log.brokers is empty',
      'set log.brokers, KVD_LOG_BROKERS or --log-brokers to host:port,host:port',
    );
  }
  const { caFile, certFile, keyFile } = log;
  for (const [name, path] of Object.entries({ caFile, certFile, keyFile })) {
    if (path !== undefined && !log.ssl) {
      throw configError(
        `log.${name} is set but log.ssl is false`,
        `set log.ssl to true, or remove log.${name}`,
      );
    }
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const [has, lacks] = keyFile === undefined ? ['certFile', 'keyFile'] : ['keyFile', 'certFile'];
    throw configError(`log.${has} is set but log.${lacks} is not`, 'set both or neither');
  }
}
