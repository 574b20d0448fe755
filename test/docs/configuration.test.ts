import { writeFileSync } from 'node:fs';
import {
  type ConfigInput,
  configLeaves,
  EXIT,
  environmentName,
  flagName,
  loadConfig,
} from '@kvorum/server';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROOT, read } from '../repo/repository.ts';

const PAGE = 'docs/configuration.md';
const TABLE = /(?<=<!-- begin keys -->\n)[\s\S]*?(?=<!-- end keys -->)/;
type Leaf = ReturnType<typeof configLeaves>[number];

function typeOf({ schema }: Leaf): string {
  if (schema.enum !== undefined) return schema.enum.join(', ');
  const bound = (value: number | undefined, sign: string): string =>
    value === undefined ? '' : ` ${sign} ${value}`;
  if (schema.type === 'integer') {
    return `integer${bound(schema.minimum, '≥')}${bound(schema.maximum, '≤')}`;
  }
  return schema.type === 'array'
    ? `list of ${schema.items?.type === 'object' ? 'mappings' : 'texts'}`
    : schema.type;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}

function row(leaf: Leaf): string {
  const { path, schema } = leaf;
  const value = schema.default === undefined ? '' : `\`${JSON.stringify(schema.default)}\``;
  const names = `\`${environmentName(path)}\` \`${flagName(path)}\``;
  return `| \`${path}\` | ${typeOf(leaf)} | ${value} | ${names} | ${cell(schema.description)} |`;
}

function table(): string {
  const head = ['| key | type | default | variable, flag | |', '|---|---|---|---|---|'];
  return `${[...head, ...configLeaves().map(row)].join('\n')}\n`;
}

describe(PAGE, () => {
  it('documents every key as the schema has it (KV_REWRITE=1 rewrites the table)', () => {
    if (process.env['KV_REWRITE'] === '1') {
      writeFileSync(ROOT + PAGE, read(PAGE).replace(TABLE, table));
    }
    expect(TABLE.exec(read(PAGE))?.[0]).toBe(table());
  });

  it('names exactly the exit codes of kvd', () => {
    const section = read(PAGE).split('## Exit codes of `kvd`')[1] ?? '';
    const codes = [...section.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    expect(codes).toEqual(Object.values(EXIT));
  });

  it('shows a configuration that is valid', () => {
    const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(read(PAGE)) ?? [];
    expect(load(parse(yaml)).name).toBe('m1');
  });
});

it('docs/examples/three-members.yaml is valid for each of its members', () => {
  const example: unknown = parse(read('docs/examples/three-members.yaml'));
  const brokers = { 'log.brokers': 'k1:9092,k2:9092,k3:9092' };
  for (const name of ['m1', 'm2', 'm3']) {
    expect(load(example, { ...brokers, name }).members).toHaveLength(3);
  }
});

/** The configuration of nested keys, as a file would give them. */
function load(
  nested: unknown,
  flags: ConfigInput['flags'] = {},
): ReturnType<typeof loadConfig>['config'] {
  const preset: Record<string, unknown> = {};
  const collect = (value: unknown, path: string): void => {
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isSection) preset[path] = value;
    else
      for (const [name, child] of Object.entries(value))
        collect(child, path === '' ? name : `${path}.${name}`);
  };
  collect(nested, '');
  return loadConfig({ environment: {}, flags, preset }).config;
}
