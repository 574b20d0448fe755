import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DEFAULT_LIMITS, isKvError } from '@kvorum/base';
import {
  type ConfigInput,
  configLeaves,
  LIMIT_TEXT,
  type LoadedConfig,
  loadConfig,
  printConfig,
  schemaText,
} from '@kvorum/server';
import { afterAll, describe, expect, it } from 'vitest';
import { autoCompactionPolicy } from '../src/config/auto-compaction.ts';

const directory = mkdtempSync(join(tmpdir(), 'kvorum-config-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function load(input: Partial<ConfigInput> & { readonly yaml?: string }): LoadedConfig {
  const { yaml, ...rest } = input;
  const file = join(directory, 'kvd.yaml');
  if (yaml !== undefined) writeFileSync(file, yaml);
  return loadConfig({
    environment: {},
    flags: {},
    ...(yaml === undefined ? {} : { file }),
    ...rest,
  });
}

function problem(input: Parameters<typeof load>[0]): string {
  try {
    load(input);
  } catch (error) {
    if (isKvError(error) && error.code === 'KV_CONFIG') return error.message;
    throw error;
  }
  return 'no problem';
}

describe('sources', () => {
  it('fills in every default', () => {
    const { config } = load({});
    expect(config).toMatchObject({ name: 'm1', shards: 4, log: { kind: 'local' }, dev: false });
    expect(config.limits).toEqual(DEFAULT_LIMITS);
    expect(config.members).toEqual([
      { name: 'm1', peer: '127.0.0.1:2380', client: '127.0.0.1:2379' },
    ]);
  });

  it('listens where its entry in members says, unless told otherwise', () => {
    const yaml =
      'name: b\nlog: {kind: kafka, brokers: ["k:1"]}\n' +
      'members: [{name: a, peer: "a:1", client: "a:2"}, {name: b, peer: "b:1", client: "http://b:2"}]';
    const { config, sources } = load({ yaml });
    expect([config.listenClient, config.listenPeer]).toEqual(['b:2', 'b:1']);
    expect(sources.get('listenPeer')).toBe('its entry in members');
    const told = load({ yaml, environment: { KVD_LISTEN_CLIENT: '0.0.0.0:2379' } });
    expect(told.config).toMatchObject({ listenClient: '0.0.0.0:2379', listenPeer: 'b:1' });
  });

  it('lets the environment override the file, and flags both', () => {
    const yaml = 'shards: 2\nreplicas: 1\nlog:\n  startupTimeoutMs: 5\n';
    const environment = { KVD_SHARDS: '3', KVD_LOG_STARTUP_TIMEOUT_MS: '6', PATH: '/bin' };
    const { config, sources } = load({ yaml, environment, flags: { 'log.startupTimeoutMs': '7' } });
    expect([config.replicas, config.shards, config.log.startupTimeoutMs]).toEqual([1, 3, 7]);
    expect(sources.get('replicas')).toMatch(/^file .*kvd\.yaml$/);
    expect(sources.get('shards')).toBe('environment variable KVD_SHARDS');
    expect(sources.get('log.startupTimeoutMs')).toBe('flag --log-startup-timeout-ms');
    expect(sources.get('dataDir')).toBe('default');
  });

  it('reads lists, booleans and lists of mappings from text', () => {
    const { config } = load({
      environment: {
        KVD_LOG_KIND: 'kafka',
        KVD_LOG_BROKERS: 'a:9092, b:9092',
        KVD_LOG_SSL: 'true',
        KVD_MEMBERS: '[{"name":"m1","peer":"a:2","client":"http://a:1"}]',
        KVD_LIMITS_TXN_OPS_MAX: '7',
      },
    });
    expect(config.log).toMatchObject({ brokers: ['a:9092', 'b:9092'], ssl: true });
    expect(config.members).toEqual([{ name: 'm1', peer: 'a:2', client: 'http://a:1' }]);
    expect(config.limits.txnOpsMax).toBe(7);
  });

  it('takes the retention of automatic compaction as etcd does', () => {
    const policy = (mode: string, retention: string) =>
      autoCompactionPolicy(
        load({ flags: { 'autoCompaction.mode': mode, 'autoCompaction.retention': retention } })
          .config.autoCompaction,
      );
    expect(autoCompactionPolicy(load({}).config.autoCompaction)).toEqual({
      mode: 'periodic',
      retentionMs: 3_600_000,
    });
    expect(policy('periodic', '2')).toEqual({ mode: 'periodic', retentionMs: 7_200_000 });
    expect(policy('periodic', '1h30m')).toEqual({ mode: 'periodic', retentionMs: 5_400_000 });
    expect(policy('periodic', '250ms')).toEqual({ mode: 'periodic', retentionMs: 250 });
    expect(policy('revision', '1000')).toEqual({ mode: 'revision', retention: 1000 });
    for (const [mode, retention] of [
      ['off', '1h'],
      ['periodic', '0'],
      ['periodic', '0s'],
      ['revision', '0'],
    ] as const) {
      expect(policy(mode, retention)).toBeUndefined();
    }
  });

  it('accepts an empty file', () => {
    expect(load({ yaml: '# nothing\n' }).config.shards).toBe(4);
  });
});

describe('what is refused, with the place it came from', () => {
  it.each([
    ['shard: 4', /unknown key shard; did you mean shards\? \(file .*kvd\.yaml\)/],
    ['log:\n  broker: [a:1]', /unknown key log\.broker; did you mean log\.brokers\?/],
    ['limits:\n  requestBytesmax: 1', /did you mean limits\.requestBytesMax\?/],
    ['zzzzzzzzzz: 1', /unknown key zzzzzzzzzz \(file/],
    ['__proto__: 1', /unknown key __proto__/],
    ['shards: many', /shards must be of type integer, found "many" \(file .*kvd\.yaml\)/],
    ['shards: 0', /shards must be at least 1, found 0/],
    ['log:\n  kind: kafak', /log\.kind must be one of local, kafka, found "kafak"/],
    ['autoCompaction: {mode: revision}', /retention is "1h": mode revision takes a number/],
    ['autoCompaction: {retention: 1d}', /autoCompaction\.retention must be text matching/],
    ['log: 5', /log must be a mapping, found 5/],
    ['dev: "yes"', /dev must be of type boolean, found "yes"/],
    ['listenClient: nowhere', /listenClient must be host:port, found "nowhere"/],
    ['members: [{name: m1, peer: "a:1"}]', /members\.0\.client is missing \(file/],
    ['peerTls:\n  certFile: a', /peerTls\.keyFile is missing/],
    ['- 1', /must hold a mapping/],
    ['a: [', /is not YAML/],
    ['shards: 1\nshards: 2', /is not YAML: Map keys must be unique/],
  ])('%j', (yaml, expected) => {
    expect(problem({ yaml })).toMatch(expected);
  });

  it('names every problem at once', () => {
    const text = problem({ yaml: 'shards: x\ndev: 1\n' });
    expect(text).toContain('shards must be');
    expect(text).toContain('dev must be');
  });

  it.each([
    [{ KVD_SHARD: '4' }, /unknown environment variable KVD_SHARD; did you mean KVD_SHARDS\?/],
    [
      { KVD_SHARDS: '4x' },
      /shards must be of type integer, found "4x" \(environment variable KVD_SHARDS\)/,
    ],
    [{ KVD_LOG_SSL: 'on' }, /log\.ssl must be of type boolean, found "on"/],
    [{ KVD_MEMBERS: 'm1' }, /members must be of type array, found "m1"/],
    [{ KVD_NAME: '' }, /name must be non-empty/],
  ])('%j', (environment, expected) => {
    expect(problem({ environment })).toMatch(expected);
  });

  it('elections over Kafka are slower, unless the configuration says how slow', () => {
    const yaml = 'election: kafka\nlog: {kind: kafka, brokers: ["k:9092"]}';
    const timesOf = (more: string): readonly number[] => {
      const { heartbeatMs, electionMsMin, electionMsMax } = load({ yaml: yaml + more }).config
        .limits;
      return [heartbeatMs, electionMsMin, electionMsMax];
    };
    expect(timesOf('')).toEqual([500, 5000, 10_000]);
    expect(timesOf('\nlimits: {electionMsMin: 9000}')).toEqual([500, 9000, 10_000]);
    expect(load({ yaml }).sources.get('limits.heartbeatMs')).toBe('default with election kafka');
  });

  it.each([
    ['name: m9\nmembers: [{name: m1, peer: "a:1", client: "a:2"}]', /"m9" is not one of members/],
    ['log: {kind: kafka}', /log\.brokers is empty/],
    ['election: kafka', /election is kafka but log\.kind is local: there is no Kafka/],
    [
      'name: a\nmembers: [{name: a, peer: "a:1", client: "a:2"}, {name: b, peer: "b:1", client: "b:2"}]',
      /log\.kind local serves one process/,
    ],
    ['limits: {shardsMax: 3}', /above limits\.shardsMax/],
    ['limits: {electionMsMin: 9000}', /electionMsMin is above/],
    ['limits: {sessionIdleMsMax: 59999}', /sessionIdleMsMax is 59999: .* \(at least 60000\)/],
  ])('what only makes no sense together: %j', (yaml, expected) => {
    expect(problem({ yaml })).toMatch(expected);
  });

  it('an unreadable file', () => {
    expect(problem({ file: join(directory, 'absent.yaml') })).toMatch(/cannot read .*absent\.yaml/);
  });
});

describe('printing', () => {
  it('shows every value with its source and hides secrets', () => {
    const text = printConfig(
      load({ yaml: 'clusterToken: s3cret\n', environment: { KVD_SHARDS: '2' } }),
    );
    expect(text).toMatch(/^shards: 2 +# environment variable KVD_SHARDS$/m);
    expect(text).toMatch(/^limits\.txnOpsMax: 128 +# default$/m);
    expect(text).toMatch(/^clusterToken: "\[redacted\]" +# file/m);
    expect(text).not.toContain('s3cret');
  });

  it('has published its schema in docs', () => {
    const published = resolve(import.meta.dirname, '../../../docs/kvd-config.schema.json');
    expect(readFileSync(published, 'utf8'), 'kvd config schema > docs/kvd-config.schema.json').toBe(
      schemaText(),
    );
  });

  it('explains every limit', () => {
    const limits = configLeaves().filter(({ path }) => path.startsWith('limits.'));
    expect(limits.map(({ path }) => path.slice('limits.'.length)).sort()).toEqual(
      Object.keys(LIMIT_TEXT).sort(),
    );
  });
});
