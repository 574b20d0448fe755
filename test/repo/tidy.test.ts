import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  files,
  imports,
  linesMatching,
  manifest,
  PACKAGES,
  read,
  withoutComments,
} from './repository.ts';

const LINES_MAX = 500;
/** Longer files, each with the reason that it is one piece. */
const LONG_FILES: Readonly<Record<string, string>> = {};

const CODE = ['packages', 'test', 'bench', 'scripts'].flatMap((folder) =>
  files(folder, '.ts', '.mjs'),
);
const TEXT = files('', '.ts', '.mjs', '.md', '.json', '.yml', '.yaml', '.grit', '.sh').filter(
  (path) => path !== 'package-lock.json',
);
const THIS_FILE = 'test/repo/tidy.test.ts';

function matches(paths: readonly string[], pattern: RegExp): string[] {
  return paths
    .filter((path) => path !== THIS_FILE)
    .flatMap((path) => linesMatching(path, read(path), pattern));
}

it('unfinished work is an issue, not a comment', () => {
  expect(matches(TEXT, /\b(?:TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
});

it(`a file has at most ${LINES_MAX} lines`, () => {
  const long = CODE.filter((path) => read(path).split('\n').length - 1 > LINES_MAX);
  expect(long.filter((path) => !(path in LONG_FILES))).toEqual([]);
  expect(Object.keys(LONG_FILES).filter((path) => !long.includes(path))).toEqual([]);
});

/** One word, one meaning: docs/glossary.md. Kafka's own words stay in the packages that talk to Kafka. */
const BANNED_NAMES: readonly {
  readonly name: RegExp;
  readonly write: string;
  readonly except?: readonly string[];
}[] = [
  {
    name: /\b(?:epoch|leaderEpoch|currentEpoch)\b/,
    write: 'term (or kafkaEpoch)',
    except: ['packages/log-kafka/'],
  },
  {
    name: /\bpartition(?:s|Id|Ids|ed)?\b|\bPartition\b/,
    write: 'shard, topicPartition or networkSplit',
    except: ['packages/log-kafka/'],
  },
  {
    name: /\b(?:nodeId|NodeId|nodeIds)\b/,
    write: 'memberId',
    except: ['packages/log-kafka/'],
  },
  {
    name: /\b(?:regionId|RegionId|regions?)\b/,
    write: 'shard',
    // AWS's own word there.
    except: ['packages/snapshot-store/'],
  },
  {
    name: /\b(?:transactions?|Transaction\w*|transactionId)\b/,
    write: 'txn (Kafka: producerTxn)',
    except: ['packages/log-kafka/'],
  },
  {
    name: /\b[a-z]\w*[a-z]ID\b/,
    write: 'Id, as in memberId',
    // Fields of etcd's messages are called so.
    except: ['packages/server/src/etcd/'],
  },
  {
    name: /\b(?:master|slave|whitelist|blacklist)\w*\b/i,
    write: 'leader, replica, allowed, denied',
  },
  { name: /\b(?:walOffset|raftOffset)\b/, write: 'logIndex' },
  { name: /\bcommittedOffset\b/, write: 'commitIndex' },
];

describe('one word, one meaning', () => {
  it.each(BANNED_NAMES)('not $name: write $write', ({ name, except = [] }) => {
    const found = PACKAGES.flatMap((short) => files(`packages/${short}/src`, '.ts'))
      .filter((path) => !except.some((folder) => path.startsWith(folder)))
      .flatMap((path) => linesMatching(path, names(read(path)), name));
    expect(found).toEqual([]);
  });
});

/** The text with comments, strings and import lines blanked: what is left are names. */
function names(source: string): string {
  return withoutComments(source).replace(/'[^'\n]*'|"[^"\n]*"|`[^`]*`/g, (text) =>
    text.replace(/[^\n]/g, ''),
  );
}

it('no path of a developer’s machine', () => {
  expect(
    matches(TEXT, /(?:^|[\s"'`(=:])(?:\/home\/|\/root\/|\/Users\/|\/work\/|[A-Z]:\\)/),
  ).toEqual([]);
});

it('no package registry: npm and Maven are configured outside the repository', () => {
  const host = /https?:\/\/[^/\s"']*(?:registry|artifactory|jfrog|nexus|mirror)[^/\s"']*/;
  expect(matches([...TEXT, '.npmrc'], host)).toEqual([]);
  expect(matches(['package-lock.json'], /"resolved": "[a-z+]+:/)).toEqual([]);
});

describe.each(PACKAGES)('%s', (name) => {
  it('has no source file that its entry points do not reach', () => {
    const sources = files(`packages/${name}/src`, '.ts').filter((path) => !path.endsWith('.d.ts'));
    const reached = new Set<string>();
    const open = entryPoints(name);
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      if (reached.has(path) || !sources.includes(path)) continue;
      reached.add(path);
      open.push(...relativeTargets(path));
    }
    expect(sources.filter((path) => !reached.has(path))).toEqual([]);
  });

  it('says in its README.md and manifest what it is for', () => {
    expect(files(`packages/${name}`, 'README.md')).toEqual([`packages/${name}/README.md`]);
    expect(manifest(`packages/${name}/package.json`).description).toMatch(/\w/);
  });
});

function entryPoints(name: string): string[] {
  const { bin = {} } = manifest(`packages/${name}/package.json`);
  const mains = Object.values(bin).map((path) =>
    path.replace('./dist/', `packages/${name}/src/`).replace(/\.js$/, '.ts'),
  );
  return [`packages/${name}/src/index.ts`, ...mains];
}

/** Files that `path` imports, or starts as a worker through `new URL('./x.ts', import.meta.url)`. */
function relativeTargets(path: string): string[] {
  const source = read(path);
  const workers = [...source.matchAll(/new URL\(\s*['"](\.[^'"]+)['"]/g)].map(
    ([, target]) => target,
  );
  return [...imports(source), ...workers]
    .filter((specifier) => specifier?.startsWith('.'))
    .map((specifier) => posix.join(posix.dirname(path), specifier ?? '').replace(/\.js$/, '.ts'));
}
