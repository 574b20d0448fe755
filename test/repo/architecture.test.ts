import { describe, expect, it } from 'vitest';
import {
  files,
  imports,
  linesMatching,
  manifest,
  PACKAGES,
  packageOf,
  read,
  withoutComments,
} from './repository.ts';

interface Row {
  /** Workspace packages it may import; `base` is implied everywhere. */
  readonly workspace: readonly string[];
  /** Libraries it may import. A new one needs a reason, and this line. */
  readonly libraries?: readonly string[];
  /** Declared as development dependencies; only for a package that no product package imports. */
  readonly testLibraries?: readonly string[];
}

/** The whole architecture: package → what it may import. */
const ALLOWED: Readonly<Record<string, Row>> = {
  base: { workspace: [] },
  raft: { workspace: [] },
  mvcc: { workspace: [] },
  shard: { workspace: [] },
  auth: { workspace: [] },
  wire: { workspace: [], libraries: ['msgpackr', '@bufbuild/protobuf'] },
  ports: { workspace: [] },
  'log-local': { workspace: ['ports'], libraries: ['level'] },
  'log-kafka': { workspace: ['ports', 'wire'], libraries: ['kafkajs'] },
  'store-level': { workspace: ['ports'], libraries: ['level'] },
  'peer-tcp': { workspace: ['ports', 'wire'] },
  'snapshot-store': { workspace: ['ports'], libraries: ['@aws-sdk/client-s3'] },
  replica: { workspace: ['raft', 'mvcc', 'shard', 'wire', 'ports'] },
  // ADR 0013: copies of shards as files, for members and for kvctl; over ports, as replica.
  backup: { workspace: ['raft', 'mvcc', 'shard', 'auth', 'wire', 'ports', 'replica'] },
  server: {
    workspace: [
      ...['raft', 'mvcc', 'shard', 'auth', 'wire', 'ports', 'replica', 'backup'],
      ...['log-local', 'log-kafka', 'store-level', 'peer-tcp', 'snapshot-store'],
    ],
    libraries: [
      ...['fastify', '@fastify/swagger', '@fastify/swagger-ui', 'ws', 'pino', 'prom-client'],
      ...['yaml', 'ajv', 'commander', '@bufbuild/protobuf', '@node-rs/bcrypt'],
    ],
  },
  client: { workspace: ['wire', 'shard'], libraries: ['ws'] },
  // The second composition root (ADR 0013): it restores backups where no member runs.
  kvctl: {
    workspace: [
      ...['client', 'shard', 'ports', 'backup'],
      ...['log-local', 'log-kafka', 'store-level', 'snapshot-store'],
    ],
    libraries: ['commander'],
  },
  testkit: { workspace: ['ports'], testLibraries: ['vitest'] },
  simulator: {
    workspace: ['replica', 'testkit', 'raft', 'mvcc', 'shard', 'wire', 'ports'],
  },
};

/** No clock, no randomness, no I/O, no timers, no promises: inputs in, state and effects out. */
const PURE = ['base', 'raft', 'mvcc', 'shard', 'auth'];
const ASYNC = /\b(?:async|await|Promise)\b/;

function allowed(name: string): { workspace: string[]; libraries: string[] } {
  const row = ALLOWED[name] ?? { workspace: [] };
  const implied = name === 'base' ? [] : ['base'];
  return {
    workspace: [...implied, ...row.workspace].map((short) => `@kvorum/${short}`).sort(),
    libraries: [...(row.libraries ?? [])].sort(),
  };
}

function sources(name: string): string[] {
  return files(`packages/${name}/src`, '.ts');
}

/** `path → specifier` of each import in the package's sources that `isBad`. */
function badImports(paths: readonly string[], isBad: (specifier: string) => boolean): string[] {
  return paths.flatMap((path) =>
    imports(read(path))
      .filter(isBad)
      .map((specifier) => `${path} → ${specifier}`),
  );
}

it('packages/ holds exactly the packages of the table', () => {
  expect(PACKAGES).toEqual(Object.keys(ALLOWED).sort());
});

describe.each(PACKAGES)('%s', (name) => {
  const {
    dependencies = {},
    devDependencies = {},
    name: packageName,
  } = manifest(`packages/${name}/package.json`);
  const declared = Object.keys(dependencies);
  const testLibraries = Object.keys(devDependencies);

  it('is called @kvorum/<folder>', () => {
    expect(packageName).toBe(`@kvorum/${name}`);
  });

  it('declares the workspace packages and libraries of its row, and no others', () => {
    const workspace = declared.filter((dependency) => dependency.startsWith('@kvorum/'));
    const libraries = declared.filter((dependency) => !dependency.startsWith('@kvorum/'));
    expect({ workspace: workspace.sort(), libraries: libraries.sort() }).toEqual(allowed(name));
    expect(testLibraries.sort()).toEqual(ALLOWED[name]?.testLibraries ?? []);
  });

  it('pins each dependency to one version', () => {
    expect(
      Object.values(dependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(version)),
    ).toEqual([]);
  });

  it('references in tsconfig.json what it declares', () => {
    const config = JSON.parse(read(`packages/${name}/tsconfig.json`)) as {
      readonly references: readonly { readonly path: string }[];
    };
    const referenced = config.references.map(({ path }) => path.replace('../', '@kvorum/'));
    expect(referenced.sort()).toEqual(allowed(name).workspace);
  });

  it('imports only what it declares', () => {
    const undeclared = (specifier: string): boolean => {
      const dependency = packageOf(specifier);
      return dependency !== undefined && ![...declared, ...testLibraries].includes(dependency);
    };
    expect(badImports(sources(name), undeclared)).toEqual([]);
  });
});

it('nothing reaches into another package: only its public exports', () => {
  const code = ['packages', 'test', 'bench', 'scripts'].flatMap((folder) => files(folder, '.ts'));
  const isDeep = (specifier: string): boolean => /^@kvorum\/[^/]+\/(?!gen\/)/.test(specifier);
  expect(badImports(code, isDeep)).toEqual([]);
  const leaves = (specifier: string): boolean => /^(?:\.\.\/)+[a-z-]+\/src\//.test(specifier);
  expect(badImports(PACKAGES.flatMap(sources), leaves)).toEqual([]);
});

describe.each(PURE)('%s is pure', (name) => {
  it('imports no library and no part of Node', () => {
    const external = (specifier: string): boolean =>
      !specifier.startsWith('.') && !specifier.startsWith('@kvorum/');
    expect(badImports(sources(name), external)).toEqual([]);
  });

  it('gets no host types from the compiler', () => {
    const config = JSON.parse(read(`packages/${name}/tsconfig.json`)) as {
      readonly compilerOptions: { readonly types: readonly string[] };
    };
    expect(config.compilerOptions.types).toEqual([]);
  });

  it('waits for nothing', () => {
    const waiting = sources(name).flatMap((path) =>
      linesMatching(path, withoutStrings(withoutComments(read(path))), ASYNC),
    );
    expect(waiting).toEqual([]);
  });
});

function withoutStrings(code: string): string {
  return code.replace(/'[^'\n]*'|"[^"\n]*"|`[^`\n]*`/g, "''");
}
