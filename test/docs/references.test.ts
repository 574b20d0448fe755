import { HALT_REASONS } from '@kvorum/raft';
import { configLeaves, environmentName, flagName } from '@kvorum/server';
import { CLIENT_PROTOCOL_VERSION, CONTROL_METHODS, FRAME, OP } from '@kvorum/wire';
import { describe, expect, it } from 'vitest';
import { files, read } from '../repo/repository.ts';

const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...files('docs', '.md')];

const sources = (...folders: readonly string[]): string =>
  folders.flatMap((folder) => files(folder, '.ts', '.mjs').map(read)).join('\n');

/** What each document says that matches `pattern` and that `known` does not have, with its page. */
function unknown(pattern: RegExp, known: (name: string) => boolean): string[] {
  return DOCUMENTS.flatMap((page) =>
    [...read(page).matchAll(pattern)]
      .map(([, name = '']) => name)
      .filter((name) => !known(name))
      .map((name) => `${page}: ${name}`),
  );
}

describe('names in the documents', () => {
  /** Flags of npm, curl, docker and Kafka's own tools. */
  const OTHERS = [
    ...[
      '--silent',
      '--ignore-scripts',
      '--conditions',
      '--data',
      '--data-binary',
      '--build',
      '--wait',
      '--volumes',
    ],
    ...['--bootstrap-server', '--command-config', '--topic', '--add', '--allow-principal'],
    ...['--resource-pattern-type', '--operation', '--create', '--delete', '--partitions'],
    '--replication-factor',
  ];

  it('are flags that exist', () => {
    const tools = ['bench', 'scripts', 'packages/simulator/src', 'test/chaos', 'test/differential'];
    const code = sources('packages/server/src', 'packages/kvctl/src', ...tools);
    const declared = new Set([...code.matchAll(/--[a-z][a-z-]*/g)].map(([flag]) => flag));
    for (const { path } of configLeaves()) declared.add(flagName(path));
    const flags = /(?<![\w-])(--[a-z][a-z-]*[a-z])/g;
    expect(unknown(flags, (flag) => declared.has(flag) || OTHERS.includes(flag))).toEqual([]);
  });

  it('are KVD_ variables that exist', () => {
    const known = new Set([
      'KVD_CONFIG',
      ...configLeaves().map(({ path }) => environmentName(path)),
    ]);
    expect(unknown(/\b(KVD_[A-Z_]*[A-Z])\b/g, (name) => known.has(name))).toEqual([]);
  });

  it('are KVCTL_ variables that exist', () => {
    const code = sources('packages/kvctl/src');
    const words = new Set([...code.matchAll(/--([a-z][a-z-]*)/g)].map(([, word = '']) => word));
    const isFlag = (name: string): boolean => {
      const rest = name.replace('KVCTL_', '').toLowerCase().replaceAll('_', '-');
      return [...words].some((word) => rest === word || rest.endsWith(`-${word}`));
    };
    const known = (name: string): boolean => code.includes(name) || isFlag(name);
    expect(unknown(/\b(KVCTL_[A-Z_]*[A-Z])\b/g, known)).toEqual([]);
  });

  it('are keys of the configuration that exist', () => {
    const known = new Set(configLeaves().map(({ path }) => path));
    const sections = new Set([...known].map((path) => path.slice(0, path.lastIndexOf('.'))));
    const keys = /`((?:log|limits|routing|peerTls)\.[a-zA-Z.]+)`/g;
    expect(unknown(keys, (key) => known.has(key) || sections.has(key))).toEqual([]);
  });

  it('are limits that exist', () => {
    const known = configLeaves().map(({ path }) => path.split('.').at(-1));
    const limits = /`([a-z]+[A-Z][a-zA-Z]*(?:Max|Min))`/g;
    const ofSdk = ['inflightMax', 'inflightBytesMax'];
    expect(unknown(limits, (name) => known.includes(name) || ofSdk.includes(name))).toEqual([]);
  });
});

describe('docs/protocol.md', () => {
  const page = read('docs/protocol.md');

  it('lists exactly the frame types of the code', () => {
    const rows = [...page.matchAll(/^\| (\d+) \| ([a-z ]+) \| `\[(\d+),/gm)];
    const listed = rows.map(([, type, name = '', first]) => {
      expect(first).toBe(type);
      return [name.replace(/ (\w)/g, (_, letter: string) => letter.toUpperCase()), Number(type)];
    });
    expect(Object.fromEntries(listed)).toEqual(FRAME);
  });

  it('states the item codes and the version', () => {
    const rows = [...page.matchAll(/^\| (\w+) \| `\[id, (\d),/gm)];
    expect(Object.fromEntries(rows.map(([, name = '', op]) => [name, Number(op)]))).toEqual(OP);
    expect(page).toContain(`Protocol version: ${CLIENT_PROTOCOL_VERSION}.`);
  });

  it('lists the control methods', () => {
    const section = /### Control methods\n([\s\S]*?)\n###/.exec(page)?.[1] ?? '';
    const methods = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);
    expect(methods.sort()).toEqual([...CONTROL_METHODS].sort());
  });
});

describe('docs/consensus.md', () => {
  const page = read('docs/consensus.md');

  it('lists exactly the reasons to halt', () => {
    const section = page.split('## Halting')[1] ?? '';
    const rows = [...section.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([a-z-]+)`/g)].map(([, reason = '']) => reason),
    );
    expect(rows.sort()).toEqual([...HALT_REASONS].sort());
  });
});
