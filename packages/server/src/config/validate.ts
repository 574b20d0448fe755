import { KvError } from '@kvorum/base';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { nearestName } from './nearest.ts';
import { CONFIG_SCHEMA, type KvdConfig, type Schema } from './schema.ts';

/** A mutable JSON object. */
export type Tree = { [name: string]: unknown };

let compiled: ValidateFunction<KvdConfig> | undefined;

function validator(): ValidateFunction<KvdConfig> {
  compiled ??= new Ajv({ strict: true, allErrors: true, verbose: true }).compile<KvdConfig>(
    CONFIG_SCHEMA,
  );
  return compiled;
}

/** The tree as a typed configuration. Errors: KV_CONFIG listing every problem with the source of the value. */
export function validateConfig(tree: Tree, sources: ReadonlyMap<string, string>): KvdConfig {
  const check = validator();
  if (check(tree)) return tree;
  const problems = (check.errors ?? []).map((error) => explain(error, sources));
  throw new KvError('KV_CONFIG', [...new Set(problems)].join('; '), {
    details: { hint: '`kvd config schema` lists every key and type' },
  });
}

const dotted = (pointer: string): string =>
  pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join('.');

/** The source of a value is known for the leaf it lies in: `members.0.peer` came with `members`. */
function sourceOf(path: string, sources: ReadonlyMap<string, string>): string {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const source = sources.get(at);
    if (source !== undefined) return source;
  }
  return 'the configuration';
}

function explain(error: ErrorObject, sources: ReadonlyMap<string, string>): string {
  const path = dotted(error.instancePath);
  const params = error.params as Readonly<Record<string, unknown>>;
  if (error.keyword === 'additionalProperties') {
    return explainUnknown(path, String(params['additionalProperty']), error, sources);
  }
  const from = sourceOf(path, sources);
  if (error.keyword === 'required') {
    return `${path === '' ? '' : `${path}.`}${String(params['missingProperty'])} is missing (${from})`;
  }
  return `${path} must be ${expected(error)}, found ${show(error.data)} (${from})`;
}

function explainUnknown(
  path: string,
  name: string,
  error: ErrorObject,
  sources: ReadonlyMap<string, string>,
): string {
  const full = path === '' ? name : `${path}.${name}`;
  const known = Object.keys((error.parentSchema as Schema | undefined)?.properties ?? {});
  const near = nearestName(name, known);
  const hint =
    near === undefined ? '' : `; did you mean ${path === '' ? near : `${path}.${near}`}?`;
  return `unknown key ${full}${hint} (${sourceOf(full, sources)})`;
}

function expected(error: ErrorObject): string {
  const params = error.params as Readonly<Record<string, unknown>>;
  switch (error.keyword) {
    case 'type':
      return params['type'] === 'object' ? 'a mapping' : `of type ${String(params['type'])}`;
    case 'enum':
      return `one of ${(params['allowedValues'] as readonly unknown[]).map(String).join(', ')}`;
    case 'minimum':
      return `at least ${String(params['limit'])}`;
    case 'maximum':
      return `at most ${String(params['limit'])}`;
    case 'minLength':
      return 'non-empty';
    case 'pattern':
      return String(params['pattern']).endsWith('[0-9]{1,5}$')
        ? 'host:port'
        : `text matching ${String(params['pattern'])}`;
    default:
      return error.message ?? 'valid';
  }
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
